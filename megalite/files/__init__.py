"""Files: readers that count and locate damage, and outputs that appear whole or not at all. No torch here.

``readers`` turns files into documents. ``whole_file`` and ``whole_folder`` write results, ``own_folder`` manages temporary
folders, ``place`` checks an output before the work begins, ``appended_lines`` and ``json_file`` and ``html_page`` are
formats of results, ``zstd_file`` reads ``.zst``, ``model_folder`` finds the files of a model.
"""

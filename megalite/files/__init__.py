"""Files: read leniently with every damage counted, written whole or not at all. No torch here.

``readers`` turns files into documents. ``whole_file`` and ``whole_folder`` write results, ``own_folder`` marks folders as
ours, ``place`` checks an output before the work, ``zstd_file`` reads ``.zst``, ``model_folder`` finds a model's files.
"""

"""How results reach the disk: whole or not at all, and never over what is not ours. No torch here.

``whole_folder`` (a folder of results), ``work_folder`` (what a long command has done so far, and single files),
``zstd_file`` (reading ``.zst``).
"""

"""Long work that survives kills: on this machine, on a Ray cluster, on Slurm.

``work_folder`` holds what is done so far, ``notes`` reads it back, ``process_pool`` and ``ray_pool`` run tasks.
"""

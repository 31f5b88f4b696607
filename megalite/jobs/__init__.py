"""Long work that survives kills: on this machine, on a Ray cluster, on Slurm.

Read ``job`` (stage, step, task), ``run`` (runs a job in a pool), ``process_pool`` and ``ray_pool`` (the pools), ``slurm``
with ``run_task`` (scripts), ``work_folder`` (what is done so far) and ``notes`` (reading it back). The jobs themselves are
in ``corpus`` and ``data.preprocess``.
"""

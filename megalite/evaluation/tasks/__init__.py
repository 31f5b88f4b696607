"""From the names on the command line to lm-eval task objects.

Read ``request`` (resolves the names), ``load`` (loads and fingerprints a task), ``local_benchmark`` (a benchmark from
local data files, described in ``benchmarks``, found by ``data_files``, converted by ``record_forms``), ``task_file`` with
``checks`` and ``sandbox`` (a task file of the user), and ``hub`` (online or offline). ``shipped`` holds one lm-eval task
file per local benchmark.
"""

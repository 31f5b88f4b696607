"""The loop: batches in, steps, metrics, checkpoints out.

Read in this order: ``loop`` (one screen), ``engine`` (a DeepSpeed engine that takes a step and tells the loss),
``optimizer`` and ``schedule``, ``validation``, ``metrics``, then ``checkpoint`` with ``run_folder``. ``ranks`` and
``shared_memory`` start and clean up the processes.
"""

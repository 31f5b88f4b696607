"""Training: batches in, optimizer steps, metrics and checkpoints out.

Read in this order: ``session`` (from a ``prepared_run`` to a trained model), ``loop``, ``engine`` (optimizer steps with
DeepSpeed) and ``pipeline_engine`` (the same with pipeline stages), ``gradient_norm``, ``schedule``, ``validation``,
``metrics``, ``utilization``. ``save_or_stop`` holds the requests that the ranks vote on at the end of a step.
``optimizers/`` declares the optimizers and their state, ``checkpoint/`` writes and reads checkpoints, ``supervision/`` ends
a job whose ranks die, hang or are stopped. ``run_folder`` and ``run_lock`` own ``runs/NAME``. ``distributed`` and
``shared_memory`` start and clean up the process group, ``deepspeed_values`` checks a DeepSpeed JSON, ``precision`` and
``peak`` look at the device.
"""

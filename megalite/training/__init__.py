"""The loop: batches in, steps, metrics, checkpoints out.

Read in this order: ``session`` (from a checked config to a trained model), ``loop`` (one screen), ``engine`` (a DeepSpeed
engine that takes a step and tells the loss) and ``pipeline_engine`` (the same over stages), ``optimizer``, ``schedule`` and
``gradient_norm``, ``validation``, ``metrics``; then ``run_folder``, ``checkpoint_save``, ``checkpoint_load`` with
``checkpoint_state``, ``tensor_routes``, ``state_access`` and ``tensor_files``. ``ranks`` and ``shared_memory`` start and
clean up the processes, ``progress`` and ``watch`` see to it that none hangs unnoticed.
"""

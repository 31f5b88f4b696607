"""Portable checkpoints: an engine's state on disk, whole or not at all, readable under any layout.

Read in this order: ``save`` and ``load``; ``training_state`` (``state.json``, and what a run may be resumed with) and
``manifest`` (``manifest.json``); ``tensor_files``, ``tensor_routes`` and ``state_access`` (a tensor's way between the files
and the slices on the ranks); ``changes`` (which settings a resumed run has changed).
"""

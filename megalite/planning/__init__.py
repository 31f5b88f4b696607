"""Before anything is launched: how many parameters, floating-point operations, bytes and days.

In: a ``RunConfig`` and a number of devices. Out: a ``Plan`` and its table (``pretrain.py --check``). Read
``compute``, ``memory``, then ``plan`` which puts them together.
"""

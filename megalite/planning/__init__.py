"""Before anything is launched: how many floating-point operations, bytes in memory and on the wire, and days.

In: a ``RunConfig`` and a number of devices. Out: a ``Plan`` and its table (``pretrain.py --check``). Read
``compute``, ``memory``, ``communication``, then ``plan`` which puts them together; ``readiness`` looks whether the run
could start here.
"""

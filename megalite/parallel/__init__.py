"""The mesh of ranks, and the layers that are split over its tensor axis.

In: a process group, or none for a single process. Out: a ``Mesh``, and layers that compute the same function at every
tensor-parallel size. Read ``mesh`` (axes and groups), ``collectives`` (communication with gradients), ``parameter`` with
``slicing`` (which slice of a tensor a rank holds) and ``gradient_groups`` (over which ranks its gradient is summed), then
the layers: ``linear``, ``embedding``, ``cross_entropy``.
"""

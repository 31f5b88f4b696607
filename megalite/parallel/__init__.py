"""Who holds which slice: the mesh of ranks and the layers that are split over its tensor axis.

In: a joined process group (or none: one process). Out: a ``Mesh`` and layers that compute the same function at every
tensor-parallel size. Read ``mesh``, ``collectives`` (the paper's f and g), ``linear``, ``embedding``, ``cross_entropy``,
then ``slicing``, which cuts full tensors into slices and puts them together again.
"""

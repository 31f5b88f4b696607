"""Who holds which slice: the mesh of ranks and the layers that are split over its tensor axis.

In: a joined process group (or none: one process). Out: a ``Mesh`` and layers that compute the same function at every
tensor-parallel size. Read ``mesh`` (the axes), ``collectives`` (what travels forward and backward: the papers' f, g and
g-bar, and the exchange of the context axis), ``linear``, ``embedding``, ``cross_entropy``, then ``slicing``, which cuts full
tensors into slices and puts them together again.
"""

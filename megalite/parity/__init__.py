"""Every layout trains the same model: the matrix that proves it, on this machine's processes.

In: a model, or a run's YAML. Out: a table of every allowed layout's errors against one plain PyTorch process. Read ``case``
(what is run), ``reference`` (one process), ``on_ranks`` (the layout, which compares itself), ``verdict`` (how far is too
far), ``matrix`` (the command); ``launch`` starts ranks, ``wire`` counts the bytes that they send.
"""

"""Checks that every layout trains the same model, with processes on this machine.

In: a run's YAML. Out: a table of every allowed layout's errors against one plain PyTorch process. Read ``case`` (what to
run), ``reference`` (one process), ``on_ranks`` (a layout, which compares itself with it), ``verdict`` (the tolerances),
``matrix`` (the command); ``launch`` starts ranks, ``wire`` counts the bytes that they send.
"""

"""Documents that hold items of evaluation sets, found and removed.

Read ``eval_items`` (the items), ``eval_index`` (their n-grams), ``contamination`` (the comparison), ``stage``, ``command``.
"""

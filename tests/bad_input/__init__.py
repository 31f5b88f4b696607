"""A generator of bad input: every command x kinds of badness, run from a warm parent and judged.

``world`` (healthy inputs), ``commands`` (healthy command lines), ``badness`` (what can be wrong), ``cases`` (all
combinations), ``run_case`` (runs and judges one), ``__main__`` (the whole set by hand).
"""

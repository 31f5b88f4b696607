"""What was kept and dropped, by rule and source, with examples.

Read ``ledger``, then ``page`` (HTML) and ``recount`` (other thresholds on the scores of a dry run).
"""

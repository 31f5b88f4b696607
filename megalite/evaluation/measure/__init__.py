"""Runs a model on tasks and texts.

Read ``lm_eval_run`` (a task through lm-eval), ``journaled_lm`` (the model that lm-eval calls: it resumes from ``journal``
and splits the questions over the ranks of ``data_parallel``), then ``text_task`` (bits per byte of a text).
"""

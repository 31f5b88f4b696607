"""Renders Jinja templates from untrusted files in a sandbox, in a separate process with limited time and memory.

Other rooms call ``render``; ``worker`` is the process. A template of a model or a task is a program that somebody else
wrote: the sandbox protects Python's internals, the process protects the machine's time and memory.
"""

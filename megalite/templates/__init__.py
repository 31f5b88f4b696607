"""Jinja templates that came in a file: rendered in a sandbox, in a process of its own with bounded time and memory.

``render`` is what other rooms call; ``worker`` is the process. A template of a model or a task is a program that somebody
else wrote: the sandbox keeps it from Python's internals, the process from the machine's time and memory.
"""

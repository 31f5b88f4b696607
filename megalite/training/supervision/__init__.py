"""Every rank ends when the job has to end: failures, hangs, signals and the launcher.

``heartbeat`` is what a rank writes while it lives. ``watch`` reads the heartbeats of all ranks and ends the job when one of
them dies or hangs. ``signals`` turns signals and the end of the launcher into requests to stop. ``launcher`` finds the
launcher's processes, ``machine`` tells where a process id is valid.
"""

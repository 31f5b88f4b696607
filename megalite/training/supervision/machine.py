"""Which machine a process runs on, in the sense that counts here: where its process id means something."""

import functools
import socket
from pathlib import Path

BOOT_ID, PID_NAMESPACE = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")


@functools.cache
def boot_id() -> str:
    """Of the running kernel: equal for every container of a machine, another after a restart."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return socket.gethostname()


@functools.cache
def process_space() -> str:
    """Equal for two processes exactly if each can look up the other by its id: one kernel, one PID namespace.

    A host's name does not tell that: containers of one machine often share it.
    """
    try:
        return f"{boot_id()} {PID_NAMESPACE.readlink()}"
    except OSError:
        return boot_id()

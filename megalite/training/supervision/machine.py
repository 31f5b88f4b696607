"""Where a process id is valid: one kernel, one PID namespace."""

import functools
import socket
from pathlib import Path

BOOT_ID, PID_NAMESPACE = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")


@functools.cache
def boot_id() -> str:
    """The kernel's boot id: equal in all containers of a machine, different after a restart."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return socket.gethostname()


@functools.cache
def process_space() -> str:
    """Equal for two processes exactly if each can look up the other by its id.

    A host name does not show that: containers of one machine often share it.
    """
    try:
        return f"{boot_id()} {PID_NAMESPACE.readlink()}"
    except OSError:
        return boot_id()

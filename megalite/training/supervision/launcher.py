"""The launcher's processes that started this rank. The rank must not outlive any of them.

``deepspeed`` has two processes (``runner`` and ``launch``), torchrun and ``accelerate launch`` have one, and ``srun`` and
``mpirun`` keep one on every machine; with ssh there is a session in between. A killed launcher cannot end its ranks.
"""

import ctypes
import os
import signal
from pathlib import Path

import psutil

PROGRAMS = {
    *("deepspeed", "ds", "deepspeed.pt", "torchrun", "accelerate", "accelerate-launch", "pdsh"),
    *("mpirun", "mpiexec", "mpiexec.hydra", "orterun", "prterun", "orted", "prted", "hydra_pmi_proxy", "slurmstepd:"),
    *("deepspeed.launcher.runner", "deepspeed.launcher.launch", "torch.distributed.run", "torch.distributed.launch"),
    "accelerate.commands.launch",
}
"""Names of commands, and of modules after ``python -m``."""
PR_SET_PDEATHSIG = 1
"""``linux/prctl.h``."""
SSH_SESSION = {"sshd:", "sshd-session:"}


def launcher_processes() -> list[psutil.Process]:
    """The ancestors up to the first launcher of the job, or none. Raises: ProcessLookupError if one has ended."""
    if "RANK" not in os.environ:
        return []
    ancestors = psutil.Process().parents()
    launchers = [number for number, process in enumerate(ancestors) if _is_launcher(process)]
    if launchers:
        first = ancestors[launchers[-1]]
        if _was_adopted(first, ancestors[launchers[-1] + 1 :]):
            raise ProcessLookupError
        return [process for process in ancestors[: launchers[-1] + 1] if process.pid != 1]
    started_by_python = "TORCHELASTIC_RUN_ID" in os.environ or "CROSS_RANK" in os.environ
    if started_by_python and not any("python" in _name(process) for process in ancestors):
        raise ProcessLookupError  # it ended before this process looked
    return [process for process in ancestors[:1] if process.pid != 1 and not _is_interactive(process)]


def end_with_parent() -> None:
    """Let the kernel kill this process when its parent ends. For workers that have nothing to save."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended in between
        os._exit(1)


def _is_launcher(process: psutil.Process) -> bool:
    across_machines = os.environ.get("CROSS_SIZE", "1") != "1"  # set by deepspeed's launcher
    return _program(process) in (PROGRAMS | SSH_SESSION if across_machines else PROGRAMS)


def _program(process: psutil.Process) -> str:
    """The command that a process runs; for an interpreter, its script or module."""
    try:
        command = process.cmdline()
    except psutil.Error:
        return ""
    name = Path((command or [""])[0].split(" ")[0]).name
    if name.startswith("python"):
        name = next((Path(word).name for word in command[1:] if not word.startswith("-")), name)
    return name


def _was_adopted(first: psutil.Process, above: list[psutil.Process]) -> bool:
    """Whether the ``deepspeed`` command above its ``launch`` process has ended, so that init is the parent."""
    if _program(first) != "deepspeed.launcher.launch" or os.environ.get("CROSS_SIZE", "1") != "1":
        return False
    init = not above or above[0].pid == 1 or _name(above[0]) == "systemd"
    try:
        return init and os.getsid(first.pid) not in (first.pid, *(process.pid for process in above[:1]))
    except OSError:
        return True


def _is_interactive(process: psutil.Process) -> bool:
    """Whether this is the shell of a terminal; it may be closed before its background jobs end."""
    try:
        return process.terminal() is not None and os.getsid(process.pid) == process.pid
    except (OSError, psutil.Error):
        return False


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.Error:
        return ""

"""Run a command in a fork of this process, which has the heavy libraries loaded, and judge what it did."""

import contextlib
import hashlib
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

MEMORY = 12 << 30
"""Address space of a case: loaded libraries reserve 4 GiB of it."""
FILE_SIZE = 256 << 20
SECONDS = 100.0
"""Until a case counts as hanging; healthy ones take two on an idle machine."""
BEGAN = "began"
UNFINISHED = (".work", ".partial", ".merging")


@dataclass(frozen=True)
class Case:
    """One spoiled command."""

    name: str
    argv: Sequence[str]
    spoil: Callable[[Path], None] = lambda world: None
    """Changes the copy of the world before the command runs."""
    must_refuse: bool = True
    """False where the input may be good enough after all: then only crashes, hangs and losses are faults."""
    environment: dict[str, str] = field(default_factory=dict)
    stdin: str = ""
    interrupt_after: float | None = None
    """Seconds until SIGINT."""


@dataclass(frozen=True)
class Ended:
    """What became of a case."""

    case: Case
    code: int | None
    """None: it had to be killed. Negative: a signal."""
    stderr: str
    stdout: str
    faults: tuple[str, ...]


def warm_up() -> None:
    """Import what the commands import, once; nothing here may start a thread, for a fork loses it."""
    import importlib

    from megalite.cli import VERBS

    for name in ("torch", "transformers", "datasets", "lm_eval.evaluator", "lm_eval.tasks", "trl", "peft", "deepspeed"):
        importlib.import_module(name)
    for module, _ in VERBS.values():
        importlib.import_module(module)


def run_cases(
    cases: Sequence[Case],
    world: Path,
    folder: Path,
    at_once: int = 2,
    command: Callable[[], None] | None = None,
    seconds: float = SECONDS,
) -> Iterator[Ended]:
    """Every case in a copy of ``world`` under ``folder``, ``at_once`` of them at a time.

    Args:
        command: what reads ``sys.argv``; by default ``megalite.cli.main``.
        seconds: after which a case hangs.
    """
    if command is None:
        from megalite.cli import main as command
    waiting, running = list(reversed(cases)), {}
    interrupted: set[int] = set()
    while waiting or running:
        while waiting and len(running) < at_once:
            case = waiting.pop()
            place = folder / f"case-{len(waiting):05d}"
            shutil.copytree(world, place / "world", symlinks=True)
            case.spoil(place / "world")
            before = snapshot(place / "world")
            running[_start(case, place, command)] = (case, place, before, time.monotonic())
        time.sleep(0.01)
        for pid in list(running):
            case, place, before, began = running[pid]
            passed = time.monotonic() - began
            ended, status = os.waitpid(pid, os.WNOHANG)
            due = case.interrupt_after is not None and _runs_for(place) > case.interrupt_after
            if due and not ended and pid not in interrupted:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGINT)
                interrupted.add(pid)
            if not ended and passed < seconds:
                continue
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            if not ended:
                os.waitpid(pid, 0)
            del running[pid]
            yield _judge(case, place, before, os.waitstatus_to_exitcode(status) if ended else None)
            shutil.rmtree(place)


def _start(case: Case, place: Path, command: Callable[[], None]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setsid()
        (place / "stdin").write_text(case.stdin)
        for number, name, flags in ((0, "stdin", os.O_RDONLY), (1, "stdout", os.O_WRONLY), (2, "stderr", os.O_WRONLY)):
            os.dup2(os.open(place / name, flags | os.O_CREAT, 0o600), number)
        os.chdir(place / "world")
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_SIZE, FILE_SIZE))
        os.environ.update(case.environment | {"HF_HUB_OFFLINE": "1", "TMPDIR": str(place)})
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
        sys.stdout, sys.stderr = (open(number, "w", closefd=False, buffering=1) for number in (1, 2))  # noqa: SIM115
        sys.argv = ["megalite", *case.argv]
        tempfile.tempdir = str(place)  # reports of unforeseen errors
        (place / BEGAN).touch()
        try:
            command()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _runs_for(place: Path) -> float:
    """Seconds since the command itself began."""
    began = place / BEGAN
    return time.time() - began.stat().st_mtime if began.exists() else 0.0


def snapshot(world: Path) -> dict[str, str]:
    """Path -> digest of a file, target of a link, kind of anything else."""
    found = {}
    for path in world.rglob("*"):
        if path.is_symlink():
            found[str(path.relative_to(world))] = f"-> {path.readlink()}"
        elif path.is_file():
            found[str(path.relative_to(world))] = hashlib.md5(path.read_bytes()).hexdigest()
        else:
            found[str(path.relative_to(world))] = "other"
    return found


def _judge(case: Case, place: Path, before: dict[str, str], code: int | None) -> Ended:
    stderr = (place / "stderr").read_text(errors="replace")
    stdout = (place / "stdout").read_text(errors="replace")
    faults = []
    if code is None:
        faults.append("hangs")
    elif code < 0:
        faults.append(f"died by signal {-code}")
    elif code not in (0, 2, 130):
        faults.append(f"exit {code}")
    elif code == 0 and case.must_refuse:
        faults.append("accepted")
    if "Traceback" in stderr + stdout:
        faults.append("traceback")
    told = [line for line in stderr.splitlines() if line.startswith("megalite: error:")]
    if code in (2, 130) and (len(told) != 1 or len(told[0]) > 1500):
        faults.append(f"not one line: {len(told)} of error in {len(stderr)} bytes")
    after = snapshot(place / "world")
    lost = [name for name, content in before.items() if after.get(name) != content]
    if lost:
        faults.append(f"changed: {', '.join(lost[:3])}")
    if code != 0 and case.interrupt_after is None:  # a command may have finished just before Ctrl-C
        new = [name for name in after if name not in before and not any(part in name for part in UNFINISHED)]
        if new:
            faults.append(f"left: {', '.join(new[:3])}")
    return Ended(case, code, stderr, stdout, tuple(faults))

"""The command line of every training program: two config files, ``--resume``, ``--check``, overrides."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from megalite.config.command_line import CommandParser


@dataclass(frozen=True)
class RunArguments:
    config: Path | None
    ds_config: Path | None
    resume: str | None
    """None without the option, empty for the newest checkpoint, else a checkpoint folder."""
    check: bool
    overrides: list[str]


def parse_run_arguments(
    description: str, example: str, needs_config: bool, arguments: Sequence[str] | None = None
) -> RunArguments:
    """Parse ``arguments``, by default the process's own.

    Args:
        example: overrides that the help shows.
    """
    parser = CommandParser(
        description=description, epilog=f"section.key=value overrides a key of the configuration: {example}"
    )
    parser.add_argument(
        "--config", type=Path, required=needs_config, help="YAML of the run: model, data, optimizer, length"
    )
    parser.add_argument("--ds_config", type=Path, help="DeepSpeed JSON: ZeRO stage, offload, buckets, monitors")
    parser.add_argument(
        "--resume", nargs="?", const="", metavar="CHECKPOINT", help="resume from the newest or the given checkpoint"
    )
    parser.add_argument(
        "--check", action="store_true", help="check everything that a start needs, print the plan, and exit"
    )
    parser.add_argument("--local_rank", help=argparse.SUPPRESS)  # the DeepSpeed launcher appends it
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="keys of the configuration to change")
    found = parser.parse_args(arguments)
    resume, overrides = found.resume, found.overrides
    if resume and "=" in resume and not Path(resume).exists():  # --resume took the override that follows it
        resume, overrides = "", [resume, *overrides]
    return RunArguments(found.config, found.ds_config, resume, found.check, overrides)

"""Every command with every kind of badness: some thousands of cases, in a fixed order."""

import itertools
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from bad_input import badness
from bad_input.commands import COMMANDS, Command, case_id, files_of
from bad_input.hostile import HOSTILE
from bad_input.run_case import Case

RUBBISH = {
    "empty",
    "one byte",
    "zeros",
    "noise",
    "null",
    "list",
    "text",
    "number",
    "deep",
    "utf-16",
    "one endless line",
}
CUT = {"first half", "without its end", "second half", "twice"}
FREE_TEXT = (".txt", ".jinja", ".md")
OPTIONAL = ("generation_config.json", "tokenizer_config.json", "special_tokens_map.json")
SEED = 20_26


def all_cases(world: Path) -> list[Case]:
    """All of them, those of one command beside each other."""
    made = (case for command in COMMANDS for kind in KINDS for case in kind(command, world) if _ends(command, case))
    return list(made)


def sample(cases: Sequence[Case], count: int, seed: int = SEED) -> list[Case]:
    """``count`` of them, spread over all commands and kinds; the same seed gives the same."""
    return random.Random(seed).sample(cases, min(count, len(cases)))


def path_cases(command: Command, world: Path) -> Iterator[Case]:
    """Another path in the place of every input."""
    for name in command.inputs:
        for kind, instead, spoil in badness.bad_paths(name):
            yield Case(f"{case_id(command)}: {name} is {kind}", command.words({name: instead}), spoil)
    for name in command.files:
        for file in files_of(world, name):
            if not _may_be_absent(file):
                yield Case(
                    f"{case_id(command)}: {file} removed", command.words(), badness.remove(file), _reads(command, file)
                )
            yield Case(
                f"{case_id(command)}: {file} is a folder",
                command.words(),
                badness.folder_instead(file),
                _reads(command, file),
            )


def output_cases(command: Command, world: Path) -> Iterator[Case]:
    """Outputs that cannot be, or that would take something from the user."""
    if command.output is None:
        return
    first = command.inputs[0] if command.inputs else None
    for kind, instead, spoil in badness.bad_outputs(command.output, first):
        words = command.words({command.output: instead})
        # A prefix may be a folder's name: its files stand beside the folder. So may be what is foreign and not ours.
        free = kind.startswith("foreign .") or kind in ("parent", "folder of inputs")
        refuses = not free and not (command.verb in ("preprocess-data", "merge-datasets") and kind == "foreign folder")
        yield Case(f"{case_id(command)}: output, {kind}", words, spoil, refuses)
        if not kind.startswith("foreign .") and "--overwrite" in _options(command.verb):
            yield Case(f"{case_id(command)}: output, {kind}, --overwrite", [*words, "--overwrite"], spoil, refuses)


def file_cases(command: Command, world: Path) -> Iterator[Case]:
    """Damaged content in every file that is read."""
    for file in (file for name in command.files for file in files_of(world, name)):
        for kind, change in badness.BYTES.items():
            refuses = _reads(command, file) and _surely_broken(file, kind)
            yield Case(f"{case_id(command)}: {file}, {kind}", command.words(), badness.rewrite(file, change), refuses)


def line_cases(command: Command, world: Path) -> Iterator[Case]:
    """Records of the wrong form: one among good ones, or all."""
    for file in command.files:
        if file.endswith(".jsonl"):
            for (kind, change), every in itertools.product(badness.LINES.items(), (False, True)):
                spoil = badness.rewrite_lines(file, change, every)
                yield Case(
                    f"{case_id(command)}: {file}, {kind}, {'all' if every else 'one'}", command.words(), spoil, False
                )


def key_cases(command: Command, world: Path) -> Iterator[Case]:
    """Every key of the configs, of a model's ``config.json`` and of a manifest: other values, deleted, unknown."""
    described = [
        file
        for name in command.files
        for file in files_of(world, name)
        if file.endswith(("config.json", "manifest.json")) and not case_id(command).endswith("#2")
    ]
    for file in (*command.configs, *described):
        text = (world / file).read_text()
        values = yaml.safe_load(text) if file.endswith(".yaml") else json.loads(text)
        for path, old in badness.keys_of(values):
            dotted = ".".join(map(str, path))
            for kind, value in badness.VALUES.items():
                if file.endswith(".json") and value != value:
                    continue
                number = isinstance(old, (int, float)) and not isinstance(old, bool)
                refuses = file in command.configs and number and kind in badness.NEVER_A_NUMBER
                spoil = badness.change_key(file, path, value)
                yield Case(f"{case_id(command)}: {file}: {dotted} is {kind}", command.words(), spoil, refuses)
            spoil = badness.change_key(file, path, None, delete=True)
            yield Case(f"{case_id(command)}: {file}: {dotted} deleted", command.words(), spoil, False)
        if file in command.configs:
            spoil = badness.change_key(file, ("moon",), 1)
            yield Case(f"{case_id(command)}: {file}: unknown key", command.words(), spoil, file != "task.yaml")


def number_cases(command: Command, world: Path) -> Iterator[Case]:
    """Numbers that cannot be, for every option that takes one."""
    if "#" in case_id(command):
        return
    for option, kind in _options(command.verb).items():
        if kind in (int, float) or (callable(kind) and kind is not Path and "str" not in str(kind)):
            for number in badness.NUMBERS:
                refuses = number in ("abc", "", "nan", "inf", "1e400", "0x10") or not command.runs
                if not command.runs and number not in ("abc", "", "nan"):
                    continue
                yield Case(
                    f"{case_id(command)}: {option} {number[:12]}",
                    [*command.words(), option, number],
                    must_refuse=refuses,
                )


def word_cases(command: Command, world: Path) -> Iterator[Case]:
    """Command lines that are wrong by themselves."""
    words = command.words()
    yield Case(f"{case_id(command)}: unknown option", [*words, "--moon"])
    yield Case(f"{case_id(command)}: unknown option with a value", [*words, "--training.steps=5"])
    yield Case(
        f"{case_id(command)}: nothing given",
        words[:1],
        must_refuse=command.verb not in ("parity", "pretrain", "make-chat-rows"),
    )
    yield Case(
        f"{case_id(command)}: option without a value",
        [*words, next(iter(o for o in words if o.startswith("--")), "--x")],
    )
    if command.verb in ("pretrain", "sft", "preferences"):
        for word in (
            "moon=1",
            "=",
            "a.b",
            "optimizer.lr=",
            "optimizer.lr=[",
            "optimizer=3",
            "1=1",
            "optimizer.lr.x=1",
            "..=1",
        ):
            yield Case(f"{case_id(command)}: override {word}", [*words, word], must_refuse=word != "optimizer.lr=")


def environment_cases(command: Command, world: Path) -> Iterator[Case]:
    """Launcher variables that are no numbers, or contradict each other."""
    if command.verb not in ("pretrain", "sft", "preferences", "evaluate"):
        return
    words = command.words()
    for name, value in itertools.product(("WORLD_SIZE", "RANK", "LOCAL_RANK"), ("moon", "-1", "1.5", "", "9" * 5000)):
        given = {name: value}
        yield Case(f"{case_id(command)}: {name}={value[:8]}", words, environment=given, must_refuse=value == "moon")
    given = {"RANK": "3", "WORLD_SIZE": "2"}
    yield Case(f"{case_id(command)}: RANK 3 of 2", words, environment=given, must_refuse=False)


def signal_cases(command: Command, world: Path) -> Iterator[Case]:
    """Ctrl-C at several moments."""
    for seconds in (0.02, 0.1, 0.3, 0.9):
        name = f"{case_id(command)}: interrupted after {seconds:g} s"
        yield Case(name, command.words(), must_refuse=not command.runs, interrupt_after=seconds)


def _ends(command: Command, case: Case) -> bool:
    """A command that serves or computes for long is run only where it must be refused, or is interrupted."""
    return command.runs or case.must_refuse or case.interrupt_after is not None


def _may_be_absent(file: str) -> bool:
    return file.endswith((*OPTIONAL, *FREE_TEXT)) or file.startswith(("dry/", "step/"))


def _reads(command: Command, file: str) -> bool:
    """Whether the command cannot do without the file."""
    if file.startswith("dry/") or file.endswith((*FREE_TEXT, *OPTIONAL)):
        return False
    if file.startswith("model/"):
        return file.endswith("tokenizer.json") or command.reads_weights
    return True


def _surely_broken(file: str, kind: str) -> bool:
    """Whether such a change leaves nothing that could be meant."""
    if file.startswith("step/"):
        return True
    if file.endswith((".safetensors", ".idx")):
        return kind != "twice" or file.endswith(".safetensors")
    if file.endswith(".bin"):
        return kind != "flipped bytes"
    if file.endswith(".zst"):
        return kind not in ("twice", "without its end", "flipped bytes", "second half")
    if file.endswith(".json"):
        return kind in RUBBISH | CUT
    if file.endswith(".yaml"):
        return kind in RUBBISH | {"twice"}
    if file.endswith(".jsonl"):
        return kind in RUBBISH | {"object"}
    return kind == "empty" and not file.endswith(FREE_TEXT)


_parsers: dict[str, dict[str, Any]] = {}


def _options(verb: str) -> dict[str, Any]:
    """Option -> type, read off the command's own parser."""
    if verb not in _parsers:
        import sys

        from megalite.cli import main
        from megalite.config.command_line import CommandParser

        seen: dict[str, Any] = {}

        class ParsedError(BaseException):
            pass

        def stop(parser: CommandParser, *given: Any, **more: Any) -> None:
            for action in parser._actions:
                seen.update(
                    dict.fromkeys(action.option_strings[:1], action.type) if action.nargs in (None, "?") else {}
                )
                if "--overwrite" in action.option_strings:
                    seen["--overwrite"] = None
            raise ParsedError

        real, sys_argv = CommandParser.parse_args, sys.argv
        CommandParser.parse_args = stop  # type: ignore[method-assign,assignment]
        sys.argv = ["megalite", verb]
        try:
            main()
        except ParsedError:
            pass
        finally:
            CommandParser.parse_args, sys.argv = real, sys_argv  # type: ignore[method-assign]
        _parsers[verb] = {option: kind for option, kind in seen.items() if kind is not None or option == "--overwrite"}
    return _parsers[verb]


def chosen(cases: Sequence[Case], words: str) -> list[Case]:
    """Those whose names hold one of the comma-separated ``words``."""
    return [case for case in cases if any(word in case.name for word in words.split(","))]


KINDS = (
    path_cases,
    output_cases,
    file_cases,
    line_cases,
    key_cases,
    number_cases,
    word_cases,
    environment_cases,
    signal_cases,
    *HOSTILE,
)

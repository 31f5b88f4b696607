"""Input by somebody who means harm, or means well and is wrong: code, bombs, damaged weights, impossible counts."""

import gzip
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import damage
import zstandard

from bad_input.badness import Spoil, change_key, rewrite
from bad_input.commands import Command, case_id, files_of
from bad_input.run_case import Case

BOMB = 400 << 20
"""Bytes in one line."""
EMPTY_LINES = 16 << 20
CODE = "import pathlib\npathlib.Path('docs.txt').write_text('taken')\n"
ESCAPE = "{{ cycler.__init__.__globals__.os.system('echo taken > docs.txt') }}"
TEMPLATES = {
    "escape": ESCAPE,
    "escape by a class": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "endless loop": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "endless text": "{{ 'a' * 10000000000 }}",
    "long text": "{% for i in range(99999) %}{{ 'a' * 9999 }}{% endfor %}",
    "endless number": "{{ 9 ** (9 ** 9) }}",
    "endless macro": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "cut": "{% for m in messages %}{{ m",
    "unknown filter": "{{ 'a' | moon }}",
    "division by zero": "{{ 1 / 0 }}",
    "its own error": "{{ raise_exception('no') }}",
    "file": "{% include '/etc/hostname' %}",
    "attribute of nothing": "{{ moon.shine.bright }}",
}
YAMLS: dict[str, Callable[[str], str]] = {
    "alias bomb": lambda text: (
        "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
        + text
    ),
    "alias of itself": lambda text: text + "moon: &moon [*moon]\n",
    "repeated section": lambda text: text + text.splitlines()[0] + "\n",
    "object": lambda text: text + "moon: !!python/object/apply:os.system ['echo taken > docs.txt']\n",
    "two documents": lambda text: text + "---\n" + text,
    "version 9": lambda text: "%YAML 9.9\n---\n" + text,
    "tabs": lambda text: text.replace("  ", "\t", 1) + "\tmoon: 1\n",
    "comments alone": lambda text: "".join(f"# {line}\n" for line in text.splitlines()),
    "a list as a key": lambda text: text + "? [1, 2]\n: 3\n",
    "unclosed quote": lambda text: text + 'moon: "1\n',
    "merge of nothing": lambda text: text + "<<: *nothing\n",
    "control character": lambda text: text + "moon: \x07\n",
}
TENSORS: dict[str, damage.Damage] = {
    "tensor missing": damage.change_tensors(lambda tensors: tensors.pop(damage.LAYER)),
    "tensor extra": damage.change_tensors(lambda tensors: tensors.update(moon=tensors[damage.LAYER].clone())),
    "tensor misshapen": damage.change_tensors(
        lambda tensors: tensors.update({damage.LAYER: tensors[damage.LAYER].T.contiguous()})
    ),
    "tensor of whole numbers": damage.change_tensors(
        lambda tensors: tensors.update({damage.LAYER: tensors[damage.LAYER].int()})
    ),
    "weight that is NaN": damage.change_tensors(lambda tensors: tensors[damage.LAYER][0].fill_(float("nan"))),
    "weight that is infinite": damage.change_tensors(lambda tensors: tensors[damage.LAYER][1].fill_(float("inf"))),
    "no tensor": damage.change_tensors(lambda tensors: tensors.clear()),
    "unknown dtype": damage.change_header(lambda header: header[damage.LAYER].update(dtype="F7")),
    "negative shape": damage.change_header(lambda header: header[damage.LAYER].update(shape=[-1, 8])),
    "shape of billions": damage.change_header(lambda header: header[damage.LAYER].update(shape=[1 << 40, 1 << 40])),
    "offsets past the end": damage.change_header(lambda header: header[damage.LAYER].update(data_offsets=[0, 1 << 50])),
    "offsets in words": damage.change_header(lambda header: header[damage.LAYER].update(data_offsets=["0", "9"])),
    "header of lists": damage.change_header(lambda header: header.update({damage.LAYER: []})),
    "header of 9 EiB": lambda folder: _first_bytes(folder / damage.WEIGHTS, (1 << 63).to_bytes(8, "little")),
    "pickle beside": damage.write("pytorch_model.bin", b"cos\nsystem\n(S'echo taken > docs.txt'\ntR."),
    "adapter": damage.write("adapter_config.json", b"{}"),
    "shard missing": damage.sharded_then(lambda folder, index: (folder / "model-00001-of-00002.safetensors").unlink()),
    "shard outside": damage.sharded_then(
        lambda folder, index: index["weight_map"].update({damage.LAYER: "../../../etc/hostname"})
    ),
    "index of numbers": damage.sharded_then(lambda folder, index: index["weight_map"].update({damage.LAYER: 1})),
}
COUNTS = (-1, 0, 0.5, 10**15, "9", True, None)
SPECIAL = ("<|endoftext|>", "<|im_start|>assistant\n", "<|im_end|>", "<|pad|>")


def template_cases(command: Command, world: Path) -> Iterator[Case]:
    """Templates of a task and of a model's folder."""
    words, name = command.words(), case_id(command)
    if "task.yaml" in command.inputs:
        for (kind, template), key in itertools.product(
            TEMPLATES.items(), ("doc_to_text", "doc_to_choice", "doc_to_target", "description")
        ):
            # A description without an example is text; the rest of these is what a template may give.
            harmless = key == "description" or kind in ("attribute of nothing", "its own error")
            spoil = change_key("task.yaml", (key,), template)
            yield Case(f"{name}: task.yaml: {key}, {kind}", words, spoil, not harmless)
    if command.verb in ("sft", "preferences", "chat") or "--chat" in words:
        for kind, template in TEMPLATES.items():
            spoil = rewrite("model/chat_template.jinja", lambda _, template=template: template.encode())
            yield Case(f"{name}: chat template, {kind}", words, spoil, kind != "attribute of nothing")


def code_cases(command: Command, world: Path) -> Iterator[Case]:
    """A model that brings code, and somebody who answers every question with yes."""
    if "model" not in command.files:
        return
    maps = {
        "config.json": {"AutoConfig": "mine.Config", "AutoModelForCausalLM": "mine.Model"},
        "tokenizer_config.json": {"AutoTokenizer": ["mine.Tokenizer", "mine.Tokenizer"]},
    }
    for file, value in maps.items():
        for instead in (False, True):

            def spoil(world: Path, file: str = file, value: Any = value, instead: bool = instead) -> None:
                (world / "model" / "mine.py").write_text(CODE)
                change_key(f"model/{file}", ("auto_map",), value)(world)
                if instead:
                    kind = "model_type" if file == "config.json" else "tokenizer_class"
                    change_key(f"model/{file}", (kind,), "mine")(world)

            named = ", unknown class" if instead else ""
            yield Case(
                f"{case_id(command)}: model/{file}: auto_map{named}",
                command.words(),
                spoil,
                command.reads_weights,  # the others read the vocabulary alone, and run nothing
                stdin="y\n" * 9,
            )


def tensor_cases(command: Command, world: Path) -> Iterator[Case]:
    """Weights that are not those of the config."""
    if "model" in command.files and command.reads_weights:
        for kind, spoil in TENSORS.items():
            yield Case(
                f"{case_id(command)}: model/, {kind}",
                command.words(),
                lambda world, spoil=spoil: spoil(world / "model"),
                # --check reads what the tensors are, not their values; the run itself refuses those.
                must_refuse=kind != "pickle beside" and not ("--check" in command.argv and "weight that" in kind),
            )


def bomb_cases(command: Command, world: Path) -> Iterator[Case]:
    """Little files that unfold: one line of 400 MB, and millions of empty lines."""
    for file in command.files:
        if ".jsonl" not in file or case_id(command).endswith("#3"):
            continue
        for suffix, kind in itertools.product((".zst", ".gz"), ("line", "text", "empty lines")):
            target = file.removesuffix(".zst") + suffix
            spoil = _bomb(target, kind, command.configs if file in command.also else (), file)
            words = command.words({file: target})
            yield Case(f"{case_id(command)}: {target}, bomb, {kind}", words, spoil, must_refuse=kind == "line")


def yaml_cases(command: Command, world: Path) -> Iterator[Case]:
    """YAML with more in it than keys and values, and files with a byte-order mark."""
    for file in command.configs:
        for kind, change in YAMLS.items() if file.endswith(".yaml") else ():
            spoil = rewrite(file, lambda content, change=change: change(content.decode()).encode())
            yield Case(f"{case_id(command)}: {file}, {kind}", command.words(), spoil)
        if file.endswith(".json"):
            spoil = rewrite(file, lambda content: content.replace(b"{", b'{"zero_optimization": {}, ', 1))
            yield Case(f"{case_id(command)}: {file}, repeated key", command.words(), spoil)
    for file in (file for name in command.files for file in files_of(world, name)):
        if file.endswith((".json", ".jsonl", ".yaml", ".txt")):
            spoil = rewrite(file, lambda content: b"\xef\xbb\xbf" + content)
            yield Case(f"{case_id(command)}: {file}, byte-order mark", command.words(), spoil, False)


def count_cases(command: Command, world: Path) -> Iterator[Case]:
    """Manifests whose counts cannot be."""
    for file in (file for name in command.files for file in files_of(world, name)):
        if not file.endswith("manifest.json"):
            continue
        for key, old in json.loads((world / file).read_text()).items():
            if isinstance(old, int) and not isinstance(old, bool):
                for value in (*COUNTS, old + 1, old * 1000):
                    spoil = change_key(file, (key,), value)
                    said = repr(value) if value != old + 1 else "one more"
                    yield Case(
                        f"{case_id(command)}: {file}: {key} counts {said}",
                        command.words(),
                        spoil,
                        key in ("documents", "sequences", "tokens") or value in (-1, 0.5, "9"),
                    )


def text_cases(command: Command, world: Path) -> Iterator[Case]:
    """Text that spells special tokens is text; a folder of Slurm scripts beside the output is somebody's."""
    for file, token in itertools.product(command.files, SPECIAL):
        if file.endswith((".jsonl", ".txt")):
            spoil = rewrite(
                file, lambda content, token=token: content.replace(b"the", json.dumps(token)[1:-1].encode())
            )
            yield Case(f"{case_id(command)}: {file} spells {token.strip()}", command.words(), spoil, False)
    if command.verb == "prepare-corpus":

        def beside(world: Path) -> None:
            (world / "out.slurm").mkdir()
            (world / "out.slurm" / "diary.txt").write_text("dear diary")

        words = [*command.words(), "--engine", "slurm"]
        yield Case(f"{case_id(command)}: output, foreign .slurm", words, beside, "--dry_run" not in words)
        yield Case(f"{case_id(command)}: output, foreign .slurm, --overwrite", [*words, "--overwrite"], beside)


def _first_bytes(path: Path, begin: bytes) -> None:
    path.write_bytes(begin + path.read_bytes()[len(begin) :])


def _bomb(name: str, kind: str, configs: Sequence[str] = (), good: str = "") -> Spoil:
    """A compressed file of ``BOMB`` bytes, named in ``configs`` in the place of the ``good`` one."""
    piece, size = (b"\n" * (1 << 20), EMPTY_LINES) if kind == "empty lines" else (b"a" * (1 << 20), BOMB)
    begin, end = (b'{"text": "', b'"}\n') if kind == "text" else (b"", b"")

    def spoil(world: Path) -> None:
        opener: Any = zstandard.open if name.endswith(".zst") else gzip.open
        with opener(world / name, "wb") as file:
            file.write(begin)
            for _ in range(size // len(piece)):
                file.write(piece)
            file.write(end)
        for config in configs:
            (world / config).write_text((world / config).read_text().replace(good, name))

    return spoil


HOSTILE = (
    template_cases,
    code_cases,
    tensor_cases,
    bomb_cases,
    yaml_cases,
    count_cases,
    text_cases,
)

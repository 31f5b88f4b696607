"""A model's own code is never run, whatever its folder contains and whatever is typed on standard input."""

import ast
import functools
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from chats import conversation, run_values, write_model, write_rows
from damage import change_json, copied
from eval_records import hub_records, write_jsonl

import megalite
from megalite.evaluation import bits_per_byte, evaluate
from megalite.generation import chat, generate, quantize
from megalite.posttraining import preferences, sft

PACKAGE = Path(megalite.__file__).parent
CALLS = ("from_pretrained", "from_config")
MINE = "open({mark!r}, 'w').close()\nfrom transformers import {names}\n{classes}"


@functools.cache
def _calls() -> list[tuple[str, ast.Call]]:
    return [
        (f"{path.relative_to(PACKAGE)}:{node.lineno}", node)
        for path in sorted(PACKAGE.rglob("*.py"))
        if any(f".{name}(" in path.read_text() for name in CALLS)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CALLS
        if node.func.attr == "from_pretrained" or "Auto" in ast.unparse(node.func)  # not our own from_config
    ]


def test_every_call_says_that_remote_code_is_not_trusted() -> None:
    found = _calls()
    assert len(found) > 4
    for place, call in found:
        if ast.unparse(call.func) == "peft.PeftModel.from_pretrained":  # an adapter written by the same run
            continue
        given = {word.arg: word.value for word in call.keywords}
        assert ast.unparse(given.get("trust_remote_code", ast.Constant(None))) == "False", f"{place}: say so"


def test_models_are_opened_in_one_place() -> None:
    opened = {place.partition(":")[0] for place, call in _calls() if "from_pretrained" in ast.unparse(call.func)}
    assert opened <= {"huggingface/load.py", "posttraining/run/export.py"} | {
        f"tokenizer/{n}.py" for n in ("load", "export")
    }


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("sound") / "hf")


def _hostile(folder: Path, mark: Path, config: bool) -> None:
    """Adds code for the model, or for the tokenizer alone."""
    classes = "class C(LlamaConfig): model_type = 'mine'\nclass M(LlamaForCausalLM): config_class = C\n"
    text = f"open({str(mark)!r}, 'w').close()\nfrom transformers import LlamaConfig, LlamaForCausalLM\n{classes}"
    (folder / "mine.py").write_text(text)
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate/generate.py").write_text(
        f"open({str(mark)!r}, 'w').close()\ndef generate(*a, **k): 1 / 0\n"
    )
    maps = {"AutoConfig": "mine.C", "AutoModelForCausalLM": "mine.M"}
    if config:
        change_json("config.json", auto_map=maps, model_type="mine")(folder)
    else:
        change_json("tokenizer_config.json", auto_map={"AutoTokenizer": ["mine.T", None]}, tokenizer_class="T")(folder)


def _commands(folder: Path, place: Path) -> dict[str, tuple[Callable[[], object], list[str]]]:
    rows = write_rows(place / "rows.jsonl", [{"messages": conversation(n)} for n in range(20)])
    pairs = [{"prompt": "a", "chosen": "the cat", "rejected": "old trees"} for _ in range(20)]
    write_jsonl(place / "data/copa_val.jsonl", hub_records("copa", 3))
    (place / "sft.yaml").write_text(yaml.safe_dump(run_values(place, folder, rows)))
    (place / "dpo.yaml").write_text(yaml.safe_dump(run_values(place, folder, write_rows(place / "pairs.jsonl", pairs))))
    text = str(write_rows(place / "text.jsonl", [{"text": "the cat"}]))
    return {
        "generate": (generate.main, [str(folder), "--chat"]),
        "draft": (generate.main, [str(folder.parent / "sound"), "a", "--draft", str(folder)]),
        "chat": (chat.main, [str(folder), "--port", "0"]),
        "evaluate": (evaluate.main, [str(folder), "--tasks", "copa", "--data", str(place / "data")]),
        "bits_per_byte": (bits_per_byte.main, [str(folder), "--input", text]),
        "int8": (quantize.main, [str(folder), "--output", str(place / "out"), "--format", "int8"]),
        "gguf": (quantize.main, [str(folder), "--output", str(place / "out.gguf"), "--format", "gguf-f16"]),
        "sft": (sft.main, ["--config", str(place / "sft.yaml")]),
        "preferences": (preferences.main, ["--config", str(place / "dpo.yaml")]),
    }


COMMANDS = ("generate", "draft", "chat", "evaluate", "bits_per_byte", "int8", "gguf", "sft", "preferences")


def _refused(
    words: tuple[Callable[[], object], list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    main, arguments = words
    monkeypatch.setattr(sys, "argv", ["command", *arguments])
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n" * 20))
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main()
    lines = capsys.readouterr().err.strip().splitlines()
    assert end.value.code == 2 and len(lines) == 1, lines
    return lines[0]


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_runs_a_models_code_or_accepts_a_partial_one(
    command: str, sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if command == "int8":
        pytest.importorskip("torchao")
    mark = tmp_path / "mark"
    copied(sound, tmp_path / "sound", lambda folder: None)
    for name, with_config in (("model", True), ("tokenizer", False)):
        folder = copied(sound, tmp_path / name, lambda path, c=with_config: _hostile(path, mark, c))
        told = _refused(_commands(folder, tmp_path)[command], monkeypatch, capsys)
        assert "needs Python code from the folder ('auto_map'), which is never run; remove the key" in told
        assert not mark.exists()
    from damage import change_tensors

    gone = "model.layers.1.mlp.up_proj.weight"
    broken = copied(sound, tmp_path / "broken", change_tensors(lambda tensors: tensors.pop(gone)))
    assert f"needs tensor '{gone}', which the weights lack" in _refused(
        _commands(broken, tmp_path)[command], monkeypatch, capsys
    )
    assert json.loads((broken / "config.json").read_text())["model_type"] == "llama"

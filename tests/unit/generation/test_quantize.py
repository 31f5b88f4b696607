"""``megalite quantize``: int8 folders and GGUF files, measured before and after, all or nothing."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from chats import write_model

from megalite.evaluation.bits_per_byte import bits_per_byte
from megalite.generation import quantize
from megalite.huggingface.load import load_model

STORY = "Once upon a time, there was a little girl named Lily. She loved to play outside in the park with her dog."


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.jsonl"
    path.write_text(json.dumps({"text": STORY}) + "\n")
    return path


def run(monkeypatch: pytest.MonkeyPatch, model: object, output: object, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", ["quantize", str(model), "--output", str(output), *map(str, words)])
    quantize.main()


def weights(loaded: Any) -> torch.Tensor:
    return loaded.model.layers[0].mlp.gate_proj.weight


@pytest.mark.parametrize("form", ["int8", "int8-dynamic"])
def test_int8_is_smaller_loads_again_and_is_measured(
    stories_folder: Path, text: Path, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torchao")
    out, table = tmp_path / "out", tmp_path / "table.json"
    run(monkeypatch, stories_folder, out, "--format", form, "--text", text, "--json", table)
    found = json.loads(table.read_text())
    model, tokenizer = load_model(str(out))
    original = load_model(str(stories_folder))[0]
    exact = weights(original)
    scale = exact.abs().amax(1, keepdim=True) / 127.5
    assert type(weights(model)).__name__ == "Int8Tensor"
    difference = (weights(model).dequantize() - exact).abs()
    assert difference.max() > 0 and bool((difference <= 1.02 * scale).all())
    assert torch.equal(model.model.embed_tokens.weight, original.model.embed_tokens.weight)
    assert found["after"]["score"]["bits_per_byte"] == bits_per_byte(model, tokenizer, [STORY]).bits_per_byte
    assert found["before"]["score"]["bits_per_byte"] == bits_per_byte(original, tokenizer, [STORY]).bits_per_byte
    assert found["after"]["weight_bytes"] == (out / "model.safetensors").stat().st_size
    assert found["after"]["weight_bytes"] < 0.5 * found["before"]["weight_bytes"]
    assert abs(found["after"]["score"]["bits_per_byte"] - found["before"]["score"]["bits_per_byte"]) < 0.05
    assert not [path for path in out.iterdir() if path.suffix in (".bin", ".pt", ".pkl")]
    assert f"{form}: " in (out / "README.md").read_text() and (out / "tokenizer.json").is_file()
    with pytest.raises(SystemExit):
        run(monkeypatch, out, tmp_path / "again", "--format", form)


def test_gguf_is_measured_by_what_was_written(
    stories_folder: Path,
    text: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("gguf")
    for form in ("gguf-f32", "gguf-q8-0"):
        run(
            monkeypatch,
            stories_folder,
            tmp_path / f"{form}.gguf",
            "--format",
            form,
            "--text",
            text,
            "--json",
            tmp_path / form,
        )
    exact, small = (json.loads((tmp_path / form).read_text()) for form in ("gguf-f32", "gguf-q8-0"))
    before = exact["before"]["score"]["bits_per_byte"]
    assert exact["after"]["score"]["bits_per_byte"] == pytest.approx(before, abs=1e-6)
    assert 0 < abs(small["after"]["score"]["bits_per_byte"] - before) < 0.02
    assert small["after"]["weight_bytes"] == (tmp_path / "gguf-q8-0.gguf").stat().st_size
    assert len(small["f16_instead"]) == 5 and "5 matrices are f16" in capsys.readouterr().out


def test_an_interrupted_run_leaves_nothing(
    stories_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torchao")
    import transformers

    def broken(self: Any, *arguments: Any, **more: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(transformers.PreTrainedModel, "save_pretrained", broken)
    with pytest.raises(SystemExit, match="130"):
        run(monkeypatch, stories_folder, tmp_path / "out", "--format", "int8")
    assert list(tmp_path.iterdir()) == []


def test_impossible_requests_are_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_model(tmp_path / "model" / "hf")
    (tmp_path / "there").mkdir()
    (tmp_path / "none").mkdir()
    cases: list[tuple[tuple[Any, ...], str]] = [
        (
            (model, tmp_path / "o", "--format", "int4"),
            "--format int4: unknown; choose one of int8, int8-dynamic, gguf-f32",
        ),
        ((tmp_path / "nowhere", tmp_path / "o", "--format", "int8"), "no such model folder"),
        ((tmp_path / "none", tmp_path / "o", "--format", "int8"), "is not a model folder"),
        ((model, tmp_path / "there", "--format", "int8"), "exists; choose another --output"),
        ((model, tmp_path / "o", "--format", "gguf-f32"), "give a name ending in .gguf"),
        ((model, tmp_path / "no" / "o.gguf", "--format", "gguf-f32"), "its folder does not exist"),
        ((model, tmp_path / "o", "--format", "int8", "--max_documents", 0), "--max_documents 0: give at least 1"),
    ]
    for words, message in cases:
        with pytest.raises(SystemExit) as exit_:
            run(monkeypatch, *words)
        assert exit_.value.code == 2
        told = capsys.readouterr().err.strip().splitlines()
        assert len(told) == 1 and message in told[0]
    with monkeypatch.context() as patch:
        patch.setattr("megalite.generation.int8_weights.find_spec", lambda _: None)
        with pytest.raises(SystemExit):
            run(patch, model, tmp_path / "o", "--format", "int8")
    assert "needs the package torchao" in capsys.readouterr().err

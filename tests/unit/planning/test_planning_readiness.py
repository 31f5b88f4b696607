"""``pretrain.py --check`` passes exactly what a start would take."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from megalite import pretrain
from megalite.data.manifest import Manifest, Source, SourcePiece, file_facts
from megalite.planning import readiness
from megalite.tokenizer.load import load_tokenizer
from runs import VOCAB, run_config, write_data

REPOSITORY = Path(__file__).parents[3]
Check = Callable[..., tuple[int, str, str]]


def manifest(folder: Path, **facts: Any) -> Manifest:
    whole: dict[str, Any] = {
        "documents": 100,
        "sequences": 100,
        "tokens": 5000,
        "text_bytes": 15000,
        "dtype": "uint16" if VOCAB > 255 else "uint8",
        "vocab_size": VOCAB,
        "tokenizer_fingerprint": load_tokenizer(folder / "tokenizer").fingerprint,
        "eod_id": 1,
        "text_key": "text",
        "keys": ("text",),
        "level": "document",
        "malformed": 0,
        "empty": 0,
        "plan": "plan",
        "sources": (Source("a.jsonl", bytes=15000, documents=100, malformed=0, empty=0),),
        "pieces": (SourcePiece(source=0, start=0, end=None, size=15000, before=0, documents=100),),
        "bin": file_facts(folder / "train.bin"),
        "idx": file_facts(folder / "train.idx"),
    }
    return Manifest(**whole | facts)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder with data, tokenizer and ``my.yaml`` of a run on one CPU."""
    from megalite.data.index_file import token_dtype

    write_data(tmp_path)
    (tmp_path / "tokenizer/tokenizer_config.json").write_text("{}")
    made = manifest(tmp_path, dtype=token_dtype(VOCAB).name)
    (tmp_path / "train.manifest.json").write_text(made.to_json())
    values = run_config(tmp_path).model_dump(mode="json")
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(values))
    return tmp_path


@pytest.fixture
def check(run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Check:
    """Runs ``pretrain.py --check`` in this process: exit code, what it printed, its error."""

    def checked(*words: str, ds_config: dict[str, Any] | None = None) -> tuple[int, str, str]:
        (run / "ds.json").write_text(json.dumps(ds_config or {"zero_optimization": {"stage": 1}}))
        command = ["pretrain.py", "--check", "--config", str(run / "my.yaml"), "--ds_config", str(run / "ds.json")]
        monkeypatch.setattr(sys, "argv", [*command, *words])
        before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
        code = 0
        try:
            pretrain.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before, "--check changed something"
        said = capsys.readouterr()
        return code, " ".join(said.out.split()), said.err

    return checked


def test_a_run_that_could_start_passes_and_says_what_it_found(check: Check) -> None:
    code, said, error = check()
    assert (code, error) == (0, "")
    for words in ("61 ids", "compatible with model and tokenizer", "new run", "no validation data", "GiB free"):
        assert words in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model.vocab_size=32"], "was tokenized with a vocabulary of 61, model.vocab_size=32 is smaller"),
        (["data.tokenizer=no/such"], "no/such: no such tokenizer"),
        (["data.train=no/such"], "no/such.bin: missing"),
        (["data.valid=no/such"], "no/such.bin: missing"),
        (["training.steps=1000000"], "epochs, and max_epochs=4 allows"),
        (["--resume"], "no such run folder"),
        (["--resume", "no/such"], "not a checkpoint"),
        (["hardware.memory_gib=0.001", "model.hidden_size=1024"], "but a device has 1.0 MiB"),
        (["model.hidden_size=1048576", "model.intermediate_size=4194304"], "a checkpoint needs"),
    ],
)
def test_what_a_start_would_refuse_is_refused(check: Check, words: list[str], message: str) -> None:
    code, said, error = check(*words)
    assert code == 2 and message in error and error.count("\n") == 1, (said, error)


def test_a_run_folder_that_exists_is_refused(check: Check, run: Path) -> None:
    (run / "test" / "step-000003").mkdir(parents=True)
    (run / "test" / "step-000003" / "manifest.json").touch()
    code, said, error = check()
    assert code == 2 and "run folder" in error and "--resume" in error
    assert "plan of" in said, "the plan is shown all the same"


def test_files_that_do_not_belong_together_are_refused(check: Check, run: Path) -> None:
    with (run / "train.bin").open("ab") as file:
        file.write(b"\0" * 100)
    code, _, error = check()
    assert code == 2 and "train" in error


def test_another_tokenizer_is_refused(check: Check, run: Path) -> None:
    shutil.rmtree(run / "tokenizer")
    from tokenizers import Tokenizer, models

    (run / "tokenizer").mkdir()
    words = {f"other{number}": number for number in range(VOCAB)}
    Tokenizer(models.WordLevel(words, unk_token="other0")).save(str(run / "tokenizer/tokenizer.json"))
    code, _, error = check()
    assert code == 2 and "was made with another tokenizer" in error


def test_a_full_disk_is_refused_before_the_first_checkpoint(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    real = shutil.disk_usage
    monkeypatch.setattr(readiness.shutil, "disk_usage", lambda path: real(path)._replace(free=1000))
    code, _, error = check()
    assert code == 2 and "a checkpoint needs" in error and "are free" in error
    assert check("hardware.world_size=1")[0] == 0, "a plan for other machines does not look at this disk"


def test_the_check_refuses_impossible_deepspeed_values(check: Check) -> None:
    code, _, error = check(ds_config={"zero_optimization": {"stage": 3, "offload_optimizer": {"device": "moon"}}})
    assert code == 2 and "ds.json: zero_optimization.offload_optimizer.device='moon'" in error


def test_a_model_that_fits_by_offloading_is_let_through(check: Check) -> None:
    offload = {"zero_optimization": {"stage": 3, "offload_optimizer": {"device": "cpu"}}}
    words = ("hardware.memory_gib=0.001", "model.hidden_size=1024")
    assert check(*words, ds_config=offload)[0] == 0


def test_missing_data_with_a_recipe_will_be_prepared(check: Check, run: Path) -> None:
    recipe = run / "corpus.yaml"
    recipe.write_text("sources: [{kind: installed_docs}]\ntokenize: {train: {vocab_size: 61}}\n")
    words = (f"data.prepare={{recipe: {recipe}, corpus_dir: {run / 'corpus'}}}", f"data.train={run / 'new'}")
    code, said, error = check(*words)
    assert (code, error) == (0, "") and "will be prepared by" in said
    recipe.write_text("sources: [{kind: installed_docs}]\ntokenize: {train: {vocab_size: 8192}}\n")
    assert "tokenize.train.vocab_size=8192 is more than model.vocab_size=61" in check(*words)[2]
    recipe.write_text(f"sources: [{{kind: files, paths: [{run / 'none'}/*.jsonl]}}]\n")
    assert check(*words)[0] == 2
    recipe.write_text("sources: [{kind: flies}]\n")
    assert "'flies' is no kind; did you mean 'files'?" in check(*words)[2]
    recipe.unlink()
    assert check(*words)[0] == 2

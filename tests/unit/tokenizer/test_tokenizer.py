import json
from pathlib import Path

import pytest
from rich.console import Console
from transformers import AutoTokenizer

from megalite.config.errors import ConfigError, DataError
from megalite.corpus.sources.installed_docs import installed_documents
from megalite.tokenizer.export import export_tokenizer
from megalite.tokenizer.learn.design import Design
from megalite.tokenizer.load import load_tokenizer
from megalite.tokenizer.train import train_tokenizer

QUIET = Console(quiet=True)
HARD = "Hello world, café 你好 — it's 2026!\n\tdef f(x):  return x\r\n  🦊 e\u0301 <|endoftext|>"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "text.jsonl"
    with path.open("w") as file:
        for document in installed_documents(400_000):
            file.write(json.dumps({"text": document.text, "meta": document.meta}) + "\n")
    return path


@pytest.fixture(scope="module")
def folder(corpus: Path) -> Path:
    train_tokenizer([str(corpus)], corpus.parent / "tokenizer", 600, QUIET)
    return corpus.parent / "tokenizer"


def test_auto_tokenizer_gives_the_same_ids_and_a_round_trip(folder: Path) -> None:
    auto, own = AutoTokenizer.from_pretrained(folder), load_tokenizer(folder)
    ids = auto(HARD, split_special_tokens=True)["input_ids"]
    assert ids == own.tokenizer.encode(HARD).ids
    assert auto.decode(ids) == HARD
    assert len(auto) == own.vocab_size == 600


def test_special_tokens_have_fixed_ids_and_roles(folder: Path) -> None:
    auto, own = AutoTokenizer.from_pretrained(folder), load_tokenizer(folder)
    assert auto.convert_tokens_to_ids(["<|pad|>", "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|reserved_0|>"]) == [
        0,
        1,
        2,
        3,
        4,
    ]
    assert (auto.pad_token_id, auto.eos_token_id, auto.bos_token_id) == (0, 1, 1)
    assert (own.pad_id, own.eos_id, own.bos_id) == (0, 1, 1)
    assert auto("x")["input_ids"] == own.tokenizer.encode("x").ids  # nothing is added by itself


def test_the_chat_template_marks_the_assistants_tokens(folder: Path) -> None:
    auto = AutoTokenizer.from_pretrained(folder)
    messages = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "four"}]
    encoded = auto.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
    marked = [i for i, own in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True) if own]
    assert auto.decode(marked) == "four<|im_end|>"
    text = auto.apply_chat_template(messages[:1], tokenize=False, add_generation_prompt=True)
    assert text == "<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n"


def test_training_is_reproducible_and_reports_on_its_design(corpus: Path, folder: Path, tmp_path: Path) -> None:
    train_tokenizer([str(corpus)], tmp_path / "again", 600, QUIET)
    assert (tmp_path / "again/tokenizer.json").read_bytes() == (folder / "tokenizer.json").read_bytes()
    report = json.loads((folder / "design_report.json").read_text())
    assert report["vocab_size"] == 600
    assert report["round_trip_failures"] == 0
    assert 1.5 < report["bytes_per_token"] < 5
    assert all(1.0 < part["bytes_per_token"] < 6 for part in report["by_source"].values())
    assert report["by_language"]
    page = (folder / "design_report.html").read_text()
    assert "600 ids" in page and not any(f"<{tag}" in page for tag in ("script", "link", "img", "iframe"))


def test_what_cannot_be_trained_is_refused(corpus: Path, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--vocab_size 271: 256 bytes and 16 special tokens"):
        train_tokenizer([str(corpus)], tmp_path / "x", 271, QUIET)
    with pytest.raises(DataError, match="exists"):
        train_tokenizer([str(corpus)], folder, 600, QUIET)
    with pytest.raises(ConfigError, match="--reserved -1, --pad_to_multiple 1: give at least"):
        train_tokenizer([str(corpus)], tmp_path / "x", Design(600, reserved=-1), QUIET)
    with pytest.raises(DataError, match="is the input"):
        train_tokenizer([str(corpus)], corpus, 600, QUIET, overwrite=True)
    small = tmp_path / "small.txt"
    small.write_text("a b c")
    with pytest.raises(DataError, match=r"--vocab_size 5000: the text gives only 27\d tokens"):
        train_tokenizer([str(small)], tmp_path / "x", 5000, QUIET)
    assert not list(tmp_path.glob("x*"))


def test_what_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such tokenizer"):
        load_tokenizer(tmp_path / "none")
    with pytest.raises(DataError, match=r"no tokenizer\.json"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match="not a tokenizer"):
        load_tokenizer(tmp_path)


def test_a_broken_tokenizer_config_is_one_line(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(DataError, match=r"tokenizer_config\.json: not readable as JSON"):
        load_tokenizer(tmp_path)


def test_the_fingerprint_tells_tokenizers_apart(corpus: Path, folder: Path, tmp_path: Path) -> None:
    train_tokenizer([str(corpus)], tmp_path / "other", 601, QUIET)
    assert load_tokenizer(folder).fingerprint == load_tokenizer(folder / "tokenizer.json").fingerprint
    assert load_tokenizer(folder).fingerprint != load_tokenizer(tmp_path / "other").fingerprint


@pytest.mark.parametrize(
    ("name", "vocab_size", "eos", "ids"),
    [
        ("gpt2", 50257, 50256, [15496, 995, 11, 40304]),
        ("gpt-neox-20b", 50277, 0, None),
        ("mistral-v1", 32000, 2, [22557, 1526, 28725, 28345]),
    ],
)
def test_other_peoples_tokenizers_load(
    shared_data: Path, name: str, vocab_size: int, eos: int, ids: list[int] | None
) -> None:
    loaded = load_tokenizer(shared_data / "tokenizers" / name)
    assert (loaded.vocab_size, loaded.eos_id) == (vocab_size, eos)
    got = loaded.tokenizer.encode("Hello world, café", add_special_tokens=False).ids
    assert ids is None or got[: len(ids)] == ids


@pytest.mark.parametrize("name", ["gpt2", "gpt-neox-20b", "mistral-v1"])
def test_an_exported_tokenizer_gives_the_training_ids(shared_data: Path, tmp_path: Path, name: str) -> None:
    loaded, written = export_tokenizer(shared_data / "tokenizers" / name, tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "architectures": ["LlamaForCausalLM"]}))
    auto = AutoTokenizer.from_pretrained(tmp_path)
    assert {path.name for path in written} >= {"tokenizer.json", "tokenizer_config.json"}
    assert auto.eos_token_id == loaded.eos_id
    text = HARD.replace("<|endoftext|>", "")
    assert (
        auto(text, add_special_tokens=False)["input_ids"] == loaded.tokenizer.encode(text, add_special_tokens=False).ids
    )


def test_a_bare_tokenizer_json_is_exported_with_its_end_of_text(folder: Path, tmp_path: Path) -> None:
    loaded, written = export_tokenizer(folder / "tokenizer.json", tmp_path)
    assert [path.name for path in written] == ["tokenizer.json", "tokenizer_config.json"]
    auto = AutoTokenizer.from_pretrained(tmp_path)
    assert auto(HARD, split_special_tokens=True)["input_ids"] == loaded.tokenizer.encode(HARD).ids

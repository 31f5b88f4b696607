"""The command: roles, reserved slots, padding, templates, sweep, and mistakes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from transformers import AutoTokenizer

from megalite.config.errors import ConfigError, DataError
from megalite.corpus.sources.installed_docs import installed_documents
from megalite.tokenizer.formats.byte_level import SPLITS
from megalite.tokenizer.learn.design import Design
from megalite.tokenizer.load import load_tokenizer
from megalite.tokenizer.report.embedding import embedding_shares, model_shapes
from megalite.tokenizer.special_tokens import SpecialTokens
from megalite.tokenizer.train import ReportOptions, main, train_tokenizer

QUIET = Console(quiet=True)
TOOL = Path(__file__).parents[3] / "tools/train_tokenizer.py"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "text.jsonl"
    with path.open("w") as file:
        for number, document in enumerate(installed_documents(200_000)):
            lang = {"lang": "en"} if number % 2 else {}
            file.write(json.dumps({"text": document.text, "meta": {**document.meta, **lang}}) + "\n")
    return path


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(TOOL), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=TOOL.parents[1])


def test_the_command_sets_token_names_and_pads_the_vocabulary(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "chat.jinja").write_text("{% for m in messages %}[U]{{ m['content'] }}</s>{% endfor %}")
    options = ["--bos_token", "<s>", "--eos_token", "</s>", "--unk_token", "<unk>", "--pad_token", "<pad>"]
    options += ["--special_tokens", "user=[U]", "<|fim|>", "--reserved", "5"]
    options += ["--chat_template", str(tmp_path / "chat.jinja")]
    options += ["--vocab_size", "500", "--pad_to_multiple", "64", "--sweep", "400", "600", "--check_corpus"]
    done = run("--input", corpus, "--output", tmp_path / "out", *options)
    assert done.returncode == 0, done.stderr
    auto = AutoTokenizer.from_pretrained(tmp_path / "out")
    named = ["<pad>", "<s>", "</s>", "<unk>", "[U]", "<|fim|>", "<|reserved_0|>"]
    assert auto.convert_tokens_to_ids(named) == list(range(7))
    assert (auto.pad_token, auto.bos_token, auto.eos_token, auto.unk_token) == ("<pad>", "<s>", "</s>", "<unk>")
    assert auto.user == "[U]"
    assert len(auto) == load_tokenizer(tmp_path / "out").vocab_size == 512
    assert None not in [auto.convert_ids_to_tokens(number) for number in range(512)]
    assert auto.convert_tokens_to_ids("<|reserved_16|>") == 4 + 2 + 5 + 12 - 1
    ids = auto.apply_chat_template([{"role": "user", "content": "hi"}], return_dict=False)
    assert auto.decode(ids) == "[U]hi</s>"
    assert (ids[0], ids[-1]) == (4, 2)
    report = json.loads((tmp_path / "out/design_report.json").read_text())
    assert report["corpus_round_trip"]["changed"] == 0 < report["corpus_round_trip"]["documents"]
    assert [size["vocab_size"] for size in report["sweep"]] == [448, 640]
    assert report["sweep"][0]["bytes_per_token"] < report["bytes_per_token"] < report["sweep"][1]["bytes_per_token"]
    assert report["by_language"]["en"]["documents"] > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["chat.jinja", "out"]


def test_the_measured_rates_are_those_of_the_tokenizer(corpus: Path, tmp_path: Path) -> None:
    train_tokenizer([str(corpus)], tmp_path / "out", 600, QUIET)
    report = json.loads((tmp_path / "out/design_report.json").read_text())
    assert report["sample"][0]["held_out_documents"] == 0  # the sample is the whole corpus: the report's text is of it
    train_tokenizer([str(corpus)], tmp_path / "more", 700, QUIET, options=ReportOptions(sweep=[600]))
    swept = json.loads((tmp_path / "more/design_report.json").read_text())["sweep"][0]
    assert (
        swept["bytes_per_token"] == report["bytes_per_token"]
    )  # the beginning of the larger vocabulary is the smaller
    parts = report["by_source"].values()
    assert sum(part["tokens"] for part in parts) == report["tokens"]
    assert sum(part["bytes"] for part in report["by_language"].values()) == report["bytes"]
    seen = {"unused": report["unused"]["count"], "used": report["tokens_used"]}
    assert seen["unused"] + seen["used"] >= 600 - len(report["special_tokens"])


def test_a_special_token_in_the_text_is_counted(corpus: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.jsonl"
    text.write_text(
        "".join(corpus.read_text().splitlines(True)[:9]) + json.dumps({"text": "stop <|endoftext|> here"}) + "\n"
    )
    train_tokenizer([str(text)], tmp_path / "out", 300, QUIET, options=ReportOptions(check_corpus=True))
    report = json.loads((tmp_path / "out/design_report.json").read_text())
    assert report["documents_with_special_tokens"] == 1
    assert report["corpus_round_trip"] == {"documents": 10, "changed": 0, "places": []}


def test_the_embeddings_share_is_that_of_the_parameter_count(tmp_path: Path) -> None:
    config = tmp_path / "model.yaml"
    shape = (
        "{vocab_size: 9, hidden_size: 128, intermediate_size: 344, num_hidden_layers: 3, num_attention_heads: 4, TIED}"
    )
    for tied, tables in (("tie_word_embeddings: true", 1), ("tie_word_embeddings: false", 2)):
        config.write_text("model: " + shape.replace("TIED", tied))
        shapes = model_shapes(None, config)
        (row,) = embedding_shares(shapes, 1000)
        assert row["parameters"] == tables * 1000 * 128
        assert row["total"] == row["parameters"] + 593_792  # 3 layers and the final norm
    assert [name for name, _ in model_shapes([256], None)] == ["H 256, 8 layers"]
    with pytest.raises(ConfigError, match="--hidden_size 100: give a multiple of 64"):
        model_shapes([100], None)


def test_the_splits_are_exactly_those_of_fast_encoders() -> None:
    words = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    assert SPLITS["single"] == words
    assert SPLITS["triple"] == words.replace(r"\p{N}|", r"\p{N}{1,3}|", 1)


def test_impossible_designs_are_refused(corpus: Path, tmp_path: Path) -> None:
    for design, message in (
        (Design(260), "--vocab_size 260: 256 bytes and 16 special tokens already need 272"),
        (Design(600, special=SpecialTokens(pad="<|endoftext|>")), "'<|endoftext|>': is given twice"),
        (Design(600, special=SpecialTokens(others=("a=[A]", "[A]"))), r"'\[A\]': is given twice"),
        (Design(600, special=SpecialTokens(pad="<|reserved_3|>")), "'<|reserved_3|>': is given twice"),
        (Design(600, special=SpecialTokens(pad=" ")), "must be visible text"),
        (Design(600, pad_to_multiple=0), "--pad_to_multiple 0: give at least"),
        (Design(600, trainer="gigatoken"), "--trainer gigatoken: only splits words as GPT-2 does"),
        (Design(600, chat_template="{% for %}"), "--chat_template: line 1"),
    ):
        with pytest.raises(ConfigError, match=message.replace("|", r"\|")):
            train_tokenizer([str(corpus)], tmp_path / "x", design, QUIET)
    with pytest.raises(ConfigError, match="special token 'in': also occurs as a token of the text"):
        train_tokenizer([str(corpus)], tmp_path / "x", Design(600, special=SpecialTokens(pad="in")), QUIET)
    with pytest.raises(DataError, match=r"work: is in use|exists|contains the input"):
        train_tokenizer([str(corpus)], corpus.parent, 600, QUIET)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--weights", "1", "2"], "--weights: 2 for 1 inputs"),
        (["--mix", "mix.yaml"], "--input, --mix: give one of the two"),
        (["--sample_bytes", "0"], "--sample_bytes 0"),
        (["--sweep", "10"], "--vocab_size 10: 256 bytes and"),
        (["--chat_template", "none.jinja"], "none.jinja: No such file"),
        (["--config", "none.yaml"], "none.yaml: no such config file"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    arguments = ["--input", corpus, "--vocab_size", "600", "--output", tmp_path / "x", *options]
    monkeypatch.setattr("sys.argv", ["train_tokenizer", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    said = capfd.readouterr().err
    assert message in said
    assert len(said.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())

import json
import math
from pathlib import Path

import pytest
import torch
import yaml
from eval_records import evaluate
from rich.console import Console
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from megalite.config.errors import ConfigError, DataError
from megalite.corpus.sources.installed_docs import installed_documents
from megalite.evaluation import cloze
from megalite.evaluation.bits_per_byte import bits_per_byte, document_nats
from megalite.evaluation.cloze import make_items, task_files
from megalite.evaluation.tasks.request import check_task_names
from megalite.evaluation.tasks.task_file import read_task
from megalite.files.json_file import check_json_output, write_json
from megalite.generation import generate
from megalite.huggingface.check_folder import check_model_folder
from megalite.huggingface.load import load_model, start_of_text
from megalite.tokenizer.train import train_tokenizer


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return [document.text[:3000] for document in installed_documents(300_000)]


@pytest.fixture(scope="module")
def folder(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama with a tokenizer of its own."""
    path = tmp_path_factory.mktemp("model")
    (path / "text.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    train_tokenizer([str(path / "text.jsonl")], path / "hf", 500, Console(quiet=True))
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = LlamaConfig(vocab_size=500, max_position_embeddings=512, initializer_range=0.2, eos_token_id=1, **shape)
    LlamaForCausalLM(config).save_pretrained(path / "hf")
    return path / "hf"


@pytest.mark.parametrize(("window", "stride"), [(8, 3), (8, 8), (16, 1), (64, 32), (1000, 500)])
def test_windows_predict_each_token_once_with_their_context(folder: Path, window: int, stride: int) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder)
    ids = torch.randint(0, 500, (41,), generator=torch.Generator().manual_seed(1)).tolist()
    expected, begin, last_end = 0.0, 0, 1
    while last_end < len(ids):  # one token at a time, each with the context of its window
        end = min(len(ids), last_end + (window if last_end == 1 else stride))
        begin = max(0, end - 1 - window)
        for place in range(last_end, end):
            with torch.no_grad():
                logits = model(torch.tensor([ids[begin:place]])).logits[0, -1]
            expected -= float(logits.log_softmax(-1)[ids[place]])
        last_end = end
    assert document_nats(model, ids, window, stride) == pytest.approx(expected, rel=1e-4)


def test_bits_per_byte_are_nats_over_ln_2_and_bytes(folder: Path) -> None:
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    text = "Café and tea."
    ids = torch.tensor([[1, *tokenizer(text)["input_ids"]]])
    with torch.no_grad():
        loss = float(model(ids, labels=ids).loss)
    result = bits_per_byte(model, tokenizer, [text])
    assert result.nats_per_token == pytest.approx(loss, rel=1e-5)
    assert result.bytes == 14
    assert result.bits_per_byte == pytest.approx(loss * (ids.shape[1] - 1) / math.log(2) / 14, rel=1e-5)
    with pytest.raises(DataError, match="no text to score"):
        bits_per_byte(model, tokenizer, [])
    for window, stride, message in (
        (8, 9, "--stride 9"),
        (8, 0, "--stride 0"),
        (0, 1, "--window 0"),
        (513, 1, "1 to 512"),
    ):
        with pytest.raises(ConfigError, match=message):
            bits_per_byte(model, tokenizer, [text], window, stride)


def test_a_document_begins_after_bos_or_else_eos(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert start_of_text(tokenizer) == tokenizer.bos_token_id == 1
    tokenizer.bos_token = None
    assert start_of_text(tokenizer) == tokenizer.eos_token_id
    tokenizer.eos_token = None
    with pytest.raises(DataError, match="neither a bos nor an eos"):
        start_of_text(tokenizer)


def test_a_cloze_items_gold_choice_is_the_true_continuation(texts: list[str]) -> None:
    items = make_items(texts, 8)
    long = [text.split() for text in texts if len(text.split()) >= 80]
    assert [item["gold"] for item in items] == [0, 1, 2, 3, 0, 1, 2, 3]
    for item, words in zip(items, long, strict=False):
        assert item["context"] == " ".join(words[:60])
        assert item["choices"][item["gold"]] == " ".join(words[60:80])
        assert len(item["choices"]) == 4
    with pytest.raises(DataError, match="0 of 1 documents"):
        make_items(["short"], 8)


def test_results_equal_a_count_by_hand_and_lm_evals_own_command(
    folder: Path, texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import lm_eval
    from lm_eval.tasks import TaskManager

    items = make_items(texts, 6)
    for name, text in task_files(items).items():
        (tmp_path / name).write_text(text)
    results = evaluate(folder, tmp_path / "cloze.yaml")
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    right = 0
    for item in items:
        scores = []
        for choice in item["choices"]:
            context = tokenizer(item["context"])["input_ids"]
            whole = tokenizer(f"{item['context']} {choice}")["input_ids"]
            row = torch.tensor([whole])
            with torch.no_grad():
                logs = model(row[:, :-1]).logits[0].log_softmax(-1)
            count = len(whole) - len(context)
            picked = logs.gather(-1, row[0, 1:, None])[-count:]
            scores.append(float(picked.sum()))
        right += scores.index(max(scores)) == item["gold"]
    assert results["cloze"]["acc,none"] == pytest.approx(right / len(items))
    monkeypatch.setattr("lm_eval.evaluator.add_env_info", lambda results: None)  # takes seconds
    theirs = lm_eval.simple_evaluate(
        model="hf",
        model_args=f"pretrained={folder},dtype=float32",
        tasks=[read_task(tmp_path / "cloze.yaml")],
        bootstrap_iters=0,
        device="cpu",
        task_manager=TaskManager(include_defaults=False),
    )
    assert results["cloze"]["acc,none"] == theirs["results"]["cloze"]["acc,none"]
    assert results["cloze"]["acc_norm,none"] == theirs["results"]["cloze"]["acc_norm,none"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"--max_new_tokens": "0"}, "--max_new_tokens 0: give at least 1"),
        ({"--temperature": "-1"}, "--temperature -1.0: give 0"),
        ({"--repetition_penalty": "0"}, "--repetition_penalty 0.0: give 0.01 to 100"),
    ],
)
def test_generation_refuses_impossible_settings(
    folder: Path,
    options: dict[str, str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(
        "sys.argv", ["generate", str(folder), "x", *(word for pair in options.items() for word in pair)]
    )
    with pytest.raises(SystemExit) as exit_:
        generate.main()
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("prompt", ["def f", ""])
def test_generation_continues_greedily_also_from_nothing(
    folder: Path, prompt: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["generate", str(folder), prompt, "--max_new_tokens", "5"])
    generate.main()
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(prompt)["input_ids"] or [1]
    for _ in range(5):
        with torch.no_grad():
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] == tokenizer.eos_token_id:
            break
    assert capsys.readouterr().out == tokenizer.decode(ids) + "\n"


def test_a_cloze_task_is_recognized_and_never_silently_replaced(
    texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "held_out.jsonl"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))

    def make(*more: str) -> str:
        words = ["make_cloze_task", "--input", str(source), "--output", str(tmp_path / "task"), *more]
        monkeypatch.setattr("sys.argv", words)
        cloze.main()
        return capsys.readouterr().out

    assert "6 items of 4 choices" in make("--max_items", "6")
    assert "nothing to do" in make("--max_items", "6")
    with pytest.raises(SystemExit):
        make("--max_items", "5")
    assert len((tmp_path / "task/cloze.jsonl").read_text().splitlines()) == 6
    assert "5 items" in make("--max_items", "5", "--overwrite")
    with pytest.raises(SystemExit):
        make("--max_items", "0", "--overwrite")
    assert "give at least 1" in capsys.readouterr().err


def test_an_output_is_checked_before_the_work(tmp_path: Path) -> None:
    check_json_output(None)
    check_json_output(tmp_path / "new.json")
    with pytest.raises(ConfigError, match="its folder does not exist"):
        check_json_output(tmp_path / "none/new.json")
    write_json(tmp_path / "new.json", {"a": "é"})
    assert json.loads((tmp_path / "new.json").read_text()) == {"a": "é"}
    with pytest.raises(ConfigError, match="exists"):
        check_json_output(tmp_path / "new.json")
    assert [path.name for path in tmp_path.iterdir()] == ["new.json"]


def test_data_files_are_found_beside_the_task_in_every_form(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text("{}\n")
    a, b = str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")
    for given, expected in (
        ("a.jsonl", a),
        (["a.jsonl", "b.jsonl"], [a, b]),
        ({"test": "a.jsonl", "train": ["b.jsonl"]}, {"test": a, "train": [b]}),
    ):
        (tmp_path / "t.yaml").write_text(yaml.safe_dump({"task": "t", "dataset_kwargs": {"data_files": given}}))
        assert read_task(tmp_path / "t.yaml")["dataset_kwargs"]["data_files"] == expected
    for given, message in ((5, "data_files: 5 is not a file name"), ("empty.jsonl", "is empty; there is nothing")):
        (tmp_path / "empty.jsonl").touch()
        (tmp_path / "t.yaml").write_text(yaml.safe_dump({"task": "t", "dataset_kwargs": {"data_files": given}}))
        with pytest.raises(DataError, match=message):
            read_task(tmp_path / "t.yaml")


def test_an_unknown_task_name_is_refused_with_the_nearest(tmp_path: Path) -> None:
    from types import SimpleNamespace

    manager = SimpleNamespace(all_tasks=["arc_easy", "blimp"])
    check_task_names(["blimp"], manager)
    with pytest.raises(DataError, match="--tasks arc_esay: lm-eval has no such task; did you mean 'arc_easy'"):
        check_task_names(["arc_esay"], manager)


def test_a_folder_that_transformers_cannot_load_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(DataError, match="set the model's type"):
        load_model(str(tmp_path))


def test_a_folder_or_file_of_something_else_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such model folder"):
        check_model_folder(str(tmp_path / "none"))
    with pytest.raises(DataError, match="is not a model folder"):
        check_model_folder(str(tmp_path))
    with pytest.raises(DataError, match=f"did you mean {folder}"):
        check_model_folder(str(folder.parent))
    with pytest.raises(FileNotFoundError, match="no such task file"):
        evaluate(folder, tmp_path / "x.yaml")
    (tmp_path / "x.yaml").write_text("a: 1")
    with pytest.raises(DataError, match="is not an lm-eval task"):
        read_task(tmp_path / "x.yaml")
    (tmp_path / "x.yaml").write_text(yaml.safe_dump({"task": "x", "dataset_kwargs": {"data_files": {"test": "y"}}}))
    with pytest.raises(FileNotFoundError, match=r"data_files\.test: .*y does not exist"):
        read_task(tmp_path / "x.yaml")

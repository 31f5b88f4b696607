"""Cloze tasks made from held-out documents, and their figures through lm-eval."""

import json
from pathlib import Path

import pytest
import torch
from eval_records import evaluate
from transformers import AutoModelForCausalLM, AutoTokenizer

from megalite.config.errors import DataError
from megalite.evaluation import cloze
from megalite.evaluation.cloze import make_items, task_files
from megalite.evaluation.tasks.task_file import read_task


def test_a_cloze_items_gold_choice_is_the_true_continuation(held_out_texts: list[str]) -> None:
    items = make_items(held_out_texts, 8)
    long = [text.split() for text in held_out_texts if len(text.split()) >= 80]
    assert [item["gold"] for item in items] == [0, 1, 2, 3, 0, 1, 2, 3]
    for item, words in zip(items, long, strict=False):
        assert item["context"] == " ".join(words[:60])
        assert item["choices"][item["gold"]] == " ".join(words[60:80])
        assert len(item["choices"]) == 4
    with pytest.raises(DataError, match="0 of 1 documents"):
        make_items(["short"], 8)


def test_a_cloze_task_is_recognized_and_never_silently_replaced(
    held_out_texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "held_out.jsonl"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in held_out_texts))

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


def test_results_equal_a_count_by_hand_and_lm_evals_own_command(
    model_folder: Path, held_out_texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import lm_eval
    from lm_eval.tasks import TaskManager

    items = make_items(held_out_texts, 6)
    for name, text in task_files(items).items():
        (tmp_path / name).write_text(text)
    results = evaluate(model_folder, tmp_path / "cloze.yaml")
    model, tokenizer = AutoModelForCausalLM.from_pretrained(model_folder), AutoTokenizer.from_pretrained(model_folder)
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
        model_args=f"pretrained={model_folder},dtype=float32",
        tasks=[read_task(tmp_path / "cloze.yaml")],
        bootstrap_iters=0,
        device="cpu",
        task_manager=TaskManager(include_defaults=False),
    )
    assert results["cloze"]["acc,none"] == theirs["results"]["cloze"]["acc,none"]
    assert results["cloze"]["acc_norm,none"] == theirs["results"]["cloze"]["acc_norm,none"]

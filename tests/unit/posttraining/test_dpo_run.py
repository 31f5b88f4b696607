"""A whole DPO run, its reward accuracy recomputed by hand."""

from pathlib import Path
from typing import Any

import pytest
import torch
from chats import conversation, run_values, write_rows

from megalite.posttraining.preferences import tune
from megalite.posttraining.schema import PreferenceRun
from megalite.posttraining.settings import Settings

pytest.importorskip("trl")

BETA = 0.3


def pair(seed: int) -> dict[str, Any]:
    prompt, *_ = turns = conversation(seed, rounds=1)
    return {"prompt": [prompt], "chosen": turns[1:], "rejected": conversation(seed + 1000, rounds=1)[1:]}


def sum_of_log_probabilities(model: torch.nn.Module, tokenizer: Any, row: dict[str, Any], answer: str) -> torch.Tensor:
    """log p(answer | prompt), from the first token behind the generation prompt to the end of the text."""
    head = tokenizer.apply_chat_template(row["prompt"], tokenize=False, add_generation_prompt=True)
    text = tokenizer.apply_chat_template(row["prompt"] + row[answer], tokenize=False)
    ids = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])
    begin = len(tokenizer(head, add_special_tokens=False)["input_ids"])
    with torch.no_grad():
        logs = model(ids).logits.log_softmax(-1)
    return logs[0, begin - 1 : -1].gather(1, ids[0, begin:, None]).sum()


def test_reward_accuracy_equals_a_recomputation_by_hand(chat_model: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    held_out = [pair(seed) for seed in range(100, 120)]
    train = write_rows(tmp_path / "train.jsonl", [pair(seed) for seed in range(32)])
    valid = write_rows(tmp_path / "valid.jsonl", held_out)
    values = run_values(tmp_path, chat_model, train, data={"valid": str(valid)}, preference={"beta": BETA})
    reporter = tune(Settings(PreferenceRun.model_validate(values), "run.yaml", None, "none", None, False, 1))

    tokenizer = AutoTokenizer.from_pretrained(chat_model)
    policy, reference = (AutoModelForCausalLM.from_pretrained(path) for path in (tmp_path / "test/hf", chat_model))
    margins = []
    for row in held_out:
        gains = [
            sum_of_log_probabilities(policy, tokenizer, row, answer)
            - sum_of_log_probabilities(reference, tokenizer, row, answer)
            for answer in ("chosen", "rejected")
        ]
        margins.append(BETA * float(gains[0] - gains[1]))
    accuracy = sum(margin > 0 for margin in margins) / len(margins)
    assert 0 < accuracy < 1, "an accuracy that could be wrong"
    assert reporter.last["rewards/accuracies"] == pytest.approx(accuracy)
    assert reporter.last["rewards/margins"] == pytest.approx(sum(margins) / len(margins), rel=1e-3, abs=1e-4)
    loss = -torch.nn.functional.logsigmoid(torch.tensor(margins)).mean()
    assert reporter.last["loss"] == pytest.approx(float(loss), rel=1e-4)
    assert reporter.losses[1] == pytest.approx(0.693147, rel=1e-4)  # log 2: nothing is learned yet

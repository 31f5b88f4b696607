"""Whole preference runs; DPO's reward accuracy and KTO's margin are recomputed by hand."""

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


TRAIN, HELD_OUT = [pair(seed) for seed in range(32)], [pair(seed) for seed in range(100, 120)]


def tuned(folder: Path, model: Path, train: list[Any], valid: list[Any], **sections: Any) -> Any:
    files = [write_rows(folder / f"{name}.jsonl", rows) for name, rows in (("train", train), ("valid", valid))]
    values = run_values(folder, model, files[0], **sections)
    values["data"] |= {"valid": str(files[1])}
    return tune(Settings(PreferenceRun.model_validate(values), "run.yaml", None, "none", None, False, 1))


def sum_of_log_probabilities(model: torch.nn.Module, tokenizer: Any, row: dict[str, Any], answer: str) -> torch.Tensor:
    """log p(answer | prompt), from the first token behind the generation prompt to the end of the text."""
    head = tokenizer.apply_chat_template(row["prompt"], tokenize=False, add_generation_prompt=True)
    text = tokenizer.apply_chat_template(row["prompt"] + row[answer], tokenize=False)
    ids = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])
    begin = len(tokenizer(head, add_special_tokens=False)["input_ids"])
    with torch.no_grad():
        logs = model(ids).logits.log_softmax(-1)
    return logs[0, begin - 1 : -1].gather(1, ids[0, begin:, None]).sum()


def rewards_by_hand(policy_folder: Path, reference_folder: Path) -> list[tuple[float, float]]:
    """beta * log(policy / reference) of each held-out pair's chosen and rejected answer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(reference_folder)
    policy, reference = (AutoModelForCausalLM.from_pretrained(path) for path in (policy_folder, reference_folder))
    found = []
    for row in HELD_OUT:
        gains = [
            sum_of_log_probabilities(policy, tokenizer, row, answer)
            - sum_of_log_probabilities(reference, tokenizer, row, answer)
            for answer in ("chosen", "rejected")
        ]
        found.append((BETA * float(gains[0]), BETA * float(gains[1])))
    return found


def test_dpo_reward_accuracy_equals_a_recomputation_by_hand(chat_model: Path, tmp_path: Path) -> None:
    reporter = tuned(tmp_path, chat_model, TRAIN, HELD_OUT, preference={"beta": BETA})
    margins = [chosen - rejected for chosen, rejected in rewards_by_hand(tmp_path / "test/hf", chat_model)]
    accuracy = sum(margin > 0 for margin in margins) / len(margins)
    assert 0 < accuracy < 1, "an accuracy that could be wrong"
    assert reporter.last["rewards/accuracies"] == pytest.approx(accuracy)
    assert reporter.last["rewards/margins"] == pytest.approx(sum(margins) / len(margins), rel=1e-3, abs=1e-4)
    loss = -torch.nn.functional.logsigmoid(torch.tensor(margins)).mean()
    assert reporter.last["loss"] == pytest.approx(float(loss), rel=1e-4)
    assert reporter.losses[1] == pytest.approx(0.693147, rel=1e-4)  # log 2: nothing is learned yet


@pytest.mark.parametrize("lora", [None, {"rank": 4}], ids=["full", "lora"])
def test_kto_rewards_equal_a_recomputation_by_hand(
    chat_model: Path, tmp_path: Path, lora: dict[str, Any] | None
) -> None:
    kto = {"method": "kto", "beta": BETA}
    reporter = tuned(tmp_path, chat_model, TRAIN, HELD_OUT, preference=kto, **({"lora": lora} if lora else {}))
    chosen, rejected = zip(*rewards_by_hand(tmp_path / "test/hf", chat_model), strict=True)
    assert reporter.last["rewards/chosen"] == pytest.approx(sum(chosen) / len(chosen), rel=1e-3, abs=1e-4)
    assert reporter.last["rewards/rejected"] == pytest.approx(sum(rejected) / len(rejected), rel=1e-3, abs=1e-4)
    assert abs(sum(chosen)) > 1e-2, "a reward that could be wrong"
    accuracy = (sum(gain > 0 for gain in chosen) + sum(gain < 0 for gain in rejected)) / (2 * len(HELD_OUT))
    assert 0 < accuracy < 1, "an accuracy that could be wrong"
    assert reporter.last["rewards/accuracies"] == pytest.approx(accuracy)


def test_grpo_reports_its_reward_and_keeps_the_tokenizer(chat_model: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    questions = [{"question": f"Say {number % 2}.", "answer": f"#### {number % 2}"} for number in range(16)]
    grpo = {"method": "grpo", "generations": 4, "max_new_tokens": 8, "beta": 0.0}
    reporter = tuned(tmp_path, chat_model, questions, questions[:4], preference=grpo)
    assert set(reporter.losses) == {1, 2, 3, 4} and 0 <= reporter.last["reward"] <= 1
    exported = tmp_path / "test/hf"
    assert AutoTokenizer.from_pretrained(exported).eos_token == AutoTokenizer.from_pretrained(chat_model).eos_token
    stops = AutoModelForCausalLM.from_pretrained(exported).generation_config.eos_token_id
    assert stops == [AutoTokenizer.from_pretrained(exported).convert_tokens_to_ids("<|im_end|>"), 1]

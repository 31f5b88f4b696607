"""Rewards that can be checked."""

import gzip
import json
from pathlib import Path

import pytest

from megalite.posttraining.rewards import check_solution, final_number, reward_function


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("so 48+24 = <<48+24=72>>72 clips\n#### 72", "72"),
        ("The answer is $1,234.50.", "1234.50"),
        ("#### -3", "-3"),
        ("first 7, then 9 apples", "9"),
        ("It costs .5 dollars", "0.5"),
        ("72.", "72"),
        ("room 12b and v1.2.3x", None),
        ("none", None),
        ("#### many", None),
        ("#### 1,000 dollars or 5", "1000"),
    ],
)
def test_the_final_number_is_found(text: str, number: str | None) -> None:
    assert final_number(text) == (None if number is None else pytest.approx(type(final_number("1"))(number)))


def test_the_reward_is_one_where_the_numbers_are_equal() -> None:
    reward = reward_function("final_number")
    answers = [[{"role": "assistant", "content": said}] for said in ("It is 72.0", "#### 71", "no idea")]
    assert reward(completions=answers, solution=["#### 72"] * 3, prompts=None) == [1.0, 0.0, 0.0]
    assert reward.__name__ == "final_number"


def test_exact_match_forgives_case_space_and_a_full_stop() -> None:
    reward = reward_function("exact_match")
    assert reward(completions=["  Paris. ", "Paris, France"], solution=["paris"] * 2) == [1.0, 0.0]


def test_a_solution_without_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match="has no number"):
        check_solution("final_number", "it depends")
    check_solution("exact_match", "it depends")


def test_every_gsm8k_solution_has_the_number_behind_its_mark(shared_data: Path) -> None:
    with gzip.open(shared_data / "posttrain/gsm8k_train.jsonl.gz", "rt") as file:
        solutions = [json.loads(line)["answer"] for line in file]
    for solution in solutions:
        behind = solution.split("#### ")[1].replace(",", "")
        assert final_number(solution) == pytest.approx(type(final_number("1"))(behind))

"""Preference, feedback and question rows."""

from pathlib import Path
from typing import Any

import pytest

from megalite.posttraining.rows.ledger import RowLedger
from megalite.posttraining.rows.preference import feedback, pairs, questions
from megalite.posttraining.rows.read import parse_rows
from megalite.posttraining.schema import RowsSection

USER = {"role": "user", "content": "2+2?"}
GOOD, BAD = {"role": "assistant", "content": "4"}, {"role": "assistant", "content": "5"}
PAIR = {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]}


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "2+2?", "chosen": "4", "rejected": "5"},
        {"question": "2+2?", "chosen": "4", "rejected": "5"},
        {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]},
        {"prompt": "2+2?", "chosen": [GOOD], "rejected": [BAD]},
        {"prompt": "2+2?", "chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {"chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {"chosen": "\n\nHuman: 2+2?\n\nAssistant: 4", "rejected": "\n\nHuman: 2+2?\n\nAssistant: 5"},
        {"prompt": {"role": "prompter", "text": "2+2?", "replies": [
            {"role": "assistant", "text": "5", "rank": 2}, {"role": "assistant", "text": "four", "rank": 1},
            {"role": "assistant", "text": "4", "rank": 0}, {"role": "assistant", "text": "6", "deleted": True, "rank": 3},
        ]}},
    ],
)  # fmt: skip
def test_every_layout_gives_the_same_pair(row: dict[str, Any]) -> None:
    assert pairs(row) == [PAIR]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "2+2?", "chosen": "4"}, "has no 'rejected'; the columns are prompt, chosen"),
        ({"prompt": "2+2?", "chosen": "4", "rejected": "4"}, "the same answer"),
        ({"prompt": "2+2?", "chosen": "4", "rejected": ""}, "rejected: the content is empty"),
        ({"chosen": "4", "rejected": "5"}, "has no column for a prompt"),
        ({"chosen": [USER, GOOD], "rejected": [{**USER, "content": "3+3?"}, BAD]}, "differ before their last turn"),
    ],
)
def test_a_broken_pair_has_a_reason(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        pairs(row)


def test_feedback_is_a_label_or_both_sides_of_a_pair() -> None:
    wanted = {"prompt": [USER], "completion": [GOOD], "label": True}
    assert feedback({"prompt": "2+2?", "completion": "4", "label": True}) == [wanted]
    assert feedback({"prompt": "2+2?", "chosen": "4", "rejected": "5"}) == [
        wanted,
        {"prompt": [USER], "completion": [BAD], "label": False},
    ]
    with pytest.raises(ValueError, match="'label' is 1, not true or false"):
        feedback({"prompt": "2+2?", "completion": "4", "label": 1})
    with pytest.raises(ValueError, match="has no 'label'"):
        feedback({"prompt": "2+2?", "completion": "4"})


def test_a_question_keeps_its_solution() -> None:
    assert questions({"question": "2+2?", "answer": "It is\n#### 4"}) == [
        {"prompt": [USER], "solution": "It is\n#### 4"}
    ]
    assert questions({"prompt": "2+2?", "solution": 4}) == [{"prompt": [USER], "solution": "4"}]
    with pytest.raises(ValueError, match="no column with a solution"):
        questions({"question": "2+2?"})


def test_shared_pairs_are_read_and_broken_ones_counted(shared_data: Path) -> None:
    for name, found, broken in (("hh_helpful_base_test.jsonl.gz", 2333, 21), ("oasst_en_100_tree.jsonl", 212, 0)):
        ledger = RowLedger(RowsSection(train=str(shared_data / "posttrain" / name), sequence_length=8, on_error="skip"))
        rows = [pair for _, pair in parse_rows(ledger.data.train, pairs, ledger)]
        assert (len(rows), ledger.report.malformed) == (found, broken)
        assert all(row["chosen"] != row["rejected"] and row["prompt"][-1]["role"] == "user" for row in rows)

"""Chat and instruction rows: the supported layouts, and the errors for broken rows."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from chats import write_rows

from megalite.config.errors import DataError
from megalite.posttraining.rows.chat import conversations
from megalite.posttraining.rows.ledger import RowLedger
from megalite.posttraining.rows.read import parse_rows
from megalite.posttraining.schema import RowsSection

ASKED = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]


@pytest.mark.parametrize(
    "row",
    [
        {"messages": ASKED},
        {"conversations": [{"from": "human", "value": "2+2?"}, {"from": "gpt", "value": "4"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "2+2?"}]}, ASKED[1]]},
        {"instruction": "2+2?", "output": "4"},
        {"instruction": "2+2?", "input": "", "response": "4"},
        {"question": "2+2?", "answer": "4"},
        {"prompt": "2+2?", "completion": "4"},
        {"prompt": ASKED[:1], "completion": ASKED[1:]},
        {"chosen": "\n\nHuman: 2+2?\n\nAssistant: 4", "rejected": "\n\nHuman: 2+2?\n\nAssistant: 5"},
        {"instruction": "2+2?", "instances": [{"input": "", "output": "4"}]},
        {"prompt": {"role": "prompter", "text": "2+2?", "replies": [
            {"role": "assistant", "text": "5", "rank": 1}, {"role": "assistant", "text": "4", "rank": 0},
        ]}},
    ],
)  # fmt: skip
def test_every_layout_gives_the_same_conversation(row: dict[str, Any]) -> None:
    assert conversations(row) == [ASKED]


def test_an_input_follows_its_instruction_and_system_comes_first() -> None:
    row = {"system": "Be brief.", "instruction": "Add.", "input": "2 and 2", "output": "4"}
    assert conversations(row) == [
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Add.\n\n2 and 2"},
            {"role": "assistant", "content": "4"},
        ]
    ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (
            {"messages": [{"role": "narrator", "content": "Once"}]},
            r"messages\[0\]: role 'narrator' is unknown; known are",
        ),
        ({"messages": [ASKED[0]]}, "ends with a user turn instead of an assistant turn"),
        (
            {"messages": [ASKED[0], ASKED[0], ASKED[1]]},
            "turn 1 is the user's, but an assistant turn is missing before it",
        ),
        ({"messages": [ASKED[1]]}, "turn 0 is the assistant's, but a user turn is missing before it"),
        (
            {"messages": [*ASKED, {"role": "system", "content": "x"}, *ASKED]},
            "turn 2: a system turn must be the first",
        ),
        ({"messages": [ASKED[0], {"role": "assistant", "content": " \n"}]}, r"messages\[1\]: the content is empty"),
        ({"messages": [ASKED[0], {"role": "assistant", "content": None}]}, r"messages\[1\]: the content is empty"),
        ({"messages": [ASKED[0], {"role": "assistant", "content": 4}]}, r"messages\[1\]: the content is a int"),
        ({"messages": [ASKED[0], "4"]}, r"messages\[1\] is a str, not a message"),
        ({"messages": []}, "'messages' has no turns"),
        ({"messages": "2+2? 4"}, "'messages' has no turns"),
        ({"instruction": "2+2?", "output": ""}, "output: the content is empty"),
        ({"text": "2+2? 4"}, "has no column for an answer .* the columns are text: name yours in data.columns"),
        ({"output": "4"}, "has no column for a prompt"),
    ],
)
def test_a_broken_row_names_its_place_and_reason(tmp_path: Path, row: dict[str, Any], reason: str) -> None:
    file = write_rows(tmp_path / "chat.jsonl", [{"messages": ASKED}, row])
    with pytest.raises(DataError, match=rf"chat\.jsonl:2: {reason}") as raised:
        list(read(file))
    assert "\n" not in str(raised.value)


def test_skipped_rows_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "chat.jsonl"
    file.write_text(
        json.dumps({"messages": ASKED}) + '\n{"messages": [}\n[1]\n\n' + json.dumps({"messages": ASKED}) + "\n"
    )
    rows, report = opened(file, on_error="skip")
    assert [place for place, _ in rows] == [f"{file}:1", f"{file}:5"]
    assert report.malformed == 2 and report.documents == 2
    assert report.examples[0].startswith(f"{file}:2: not JSON") and report.examples[1].startswith(
        f"{file}:3: a list, not an object"
    )


def test_parquet_and_gzip_give_the_rows_of_jsonl(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    rows = [{"messages": ASKED}, {"messages": [*ASKED, *ASKED]}]
    plain = write_rows(tmp_path / "a.jsonl", rows)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(plain.read_bytes()))
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    expected = [turns for _, turns in read(plain)]
    assert expected == [row["messages"] for row in rows]
    for other in ("a.jsonl.gz", "a.parquet"):
        assert [turns for _, turns in read(tmp_path / other)] == expected


def test_columns_map_names_that_are_not_recognised(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "a.jsonl", [{"frage": "2+2?", "antwort": "4", "output": "no"}])
    data = RowsSection(train=str(file), sequence_length=8, columns={"prompt": "frage", "completion": "antwort"})
    assert [turns for _, turns in parse_rows(data.train, conversations, RowLedger(data))] == [ASKED]
    wrong = RowsSection(train=str(file), sequence_length=8, columns={"prompt": "fragen"})
    with pytest.raises(DataError, match=r"a\.jsonl:1: no column 'fragen' \(named in data\.columns\)"):
        list(parse_rows(wrong.train, conversations, RowLedger(wrong)))


def test_plain_text_has_no_turns(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(DataError, match="plain text has no turns"):
        list(read(tmp_path / "a.txt"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no\.jsonl: no file matches"):
        list(read(tmp_path / "no.jsonl"))


def test_every_shared_instruction_file_is_read(shared_data: Path) -> None:
    expected = {"dolly_sample150.jsonl": 151, "self_instruct_seed_tasks.jsonl": 175, "oasst_en_100_tree.jsonl": 100}
    expected |= {"gpteacher_roleplay.jsonl.gz": 1923, "gsm8k_train.jsonl.gz": 7473}
    for name, rows in expected.items():
        found, report = opened(shared_data / "posttrain" / name)
        assert sum(1 for _ in found) == rows
        assert report.malformed == 0


def opened(file: Path, **keys: Any) -> Any:
    ledger = RowLedger(RowsSection(train=str(file), sequence_length=8, **keys))
    return parse_rows(ledger.data.train, conversations, ledger), ledger.report


def read(file: Path) -> Any:
    return opened(file)[0]

"""Local benchmarks against lm-eval's own definitions, which read the same file instead of the dataset."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lm_eval
import pytest
from eval_records import WORDS, hub_records, write_jsonl
from lm_eval.api.model import LM
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml

from megalite.config.errors import ConfigError, DataError
from megalite.evaluation.fingerprint import content_hash
from megalite.evaluation.tasks.benchmarks import BENCHMARKS, split_of
from megalite.evaluation.tasks.data_files import LocalData, find_split_files, read_benchmark
from megalite.evaluation.tasks.local_benchmark import write_local_benchmark
from megalite.evaluation.tasks.request import request_tasks

OFFICIAL = {
    "arc_easy": "arc/arc_easy.yaml",
    "arc_challenge": "arc/arc_challenge.yaml",
    "copa": "super_glue/copa/default.yaml",
    "gsm8k": "gsm8k/gsm8k.yaml",
    "hellaswag": "hellaswag/hellaswag.yaml",
    "lambada_openai": "lambada/lambada_openai.yaml",
    "openbookqa": "openbookqa/openbookqa.yaml",
    "piqa": "piqa/piqa.yaml",
    "truthfulqa_mc1": "truthfulqa/truthfulqa_mc1.yaml",
    "truthfulqa_mc2": "truthfulqa/truthfulqa_mc2.yaml",
    "truthfulqa_gen": "truthfulqa/truthfulqa_gen.yaml",
    "winogrande": "winogrande/default.yaml",
}


class Guesser(LM):
    """Answers depend on the question alone, so a different prompt gives different figures."""

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        draws = [int(content_hash(request.args)[:8], 16) for request in requests]
        return [(-draw / 2**27, draw % 3 == 0) for draw in draws]

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        return [value for value, _ in self.loglikelihood(requests)]

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        draws = [int(content_hash(request.args)[:8], 16) for request in requests]
        return [f"The {WORDS[draw % 7]} has {draw % 5} of $1,00{draw % 4}.\n#### {draw % 6}" for draw in draws]


def scores(task: Any, manager: TaskManager, shots: int | None, limit: int | None = None) -> dict[str, Any]:
    found = lm_eval.simple_evaluate(
        model=Guesser(), tasks=[task], num_fewshot=shots, limit=limit, bootstrap_iters=0, task_manager=manager
    )
    return {
        key: value
        for key, value in found["results"][next(iter(found["results"]))].items()
        if key not in ("name", "alias")
    }


def official(name: str, files: dict[str, Path]) -> dict[str, Any]:
    """lm-eval's own definition, reading the given files."""
    config = load_yaml(Path(lm_eval.__file__).parent / "tasks" / OFFICIAL[name])
    return config | {
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": {split: str(path) for split, path in files.items()}},
    }


@pytest.fixture(autouse=True)
def no_description_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """lm-eval runs a dozen programs for it, which takes seconds."""
    monkeypatch.setattr("lm_eval.evaluator.add_env_info", lambda results: None)


SHOTS = [(name, shots) for name in OFFICIAL for shots in (0, 2) if (name, shots) != ("truthfulqa_gen", 2)]


@pytest.mark.parametrize(("name", "shots"), SHOTS)
def test_a_local_benchmark_scores_as_lm_evals_own_definition(name: str, shots: int, tmp_path: Path) -> None:
    evaluated = BENCHMARKS[name].splits[0]
    count = 2 if name == "truthfulqa_gen" else 12  # its ROUGE takes almost a second per item
    files = {evaluated: write_jsonl(tmp_path / f"data/{name}_{evaluated}.jsonl", hub_records(name, count))}
    if official(name, files).get("training_split"):
        files["train"] = write_jsonl(tmp_path / f"data/{name}_train.jsonl", hub_records(name, 30)[12:])
    config = official(name, files)
    config |= {
        key: None for key in ("training_split", "validation_split", "test_split") if config.get(key) not in files
    }
    written = tmp_path / "tasks"
    written.mkdir()
    write_local_benchmark(name, LocalData([tmp_path / "data"]), written)
    manager = TaskManager(include_path=str(written), include_defaults=False)
    ours = scores(name, manager, shots)
    assert ours == scores(config, manager, shots)
    assert len(ours) > 2


def test_blimp_scores_as_lm_evals_own_paradigms_and_their_mean(tmp_path: Path) -> None:
    names = ("adjunct_island", "wh_island")
    for place, uid in enumerate(names):
        pairs = [(f"{WORDS[n]} is {WORDS[place]}", f"is {WORDS[n]} {place}") for n in range(9 + place)]
        records = [{"sentence_good": good, "sentence_bad": bad, "UID": uid} for good, bad in pairs]
        write_jsonl(tmp_path / f"data/blimp/{uid}.jsonl", records)
    asked, manager = request_tasks(["blimp"], LocalData([tmp_path / "data"]), written=tmp_path / "tasks")
    found = lm_eval.simple_evaluate(model=Guesser(), tasks=["blimp"], bootstrap_iters=0, task_manager=manager)
    theirs = []
    for uid in names:
        config = load_yaml(Path(lm_eval.__file__).parent / "tasks" / f"blimp/{uid}.yaml")
        files = {"train": str(tmp_path / f"data/blimp/{uid}.jsonl")}
        config |= {"dataset_path": "json", "dataset_name": None, "dataset_kwargs": {"data_files": files}}
        theirs.append(scores(config, TaskManager(include_defaults=False), None)["acc,none"])
        assert found["results"][f"blimp_{uid}"]["acc,none"] == theirs[-1]
    assert theirs[0] != theirs[1]
    assert found["results"]["blimp"]["acc,none"] == pytest.approx(sum(theirs) / 2)
    assert asked[0].notes == ("mean of 2 paradigms; BLiMP has 67",)
    with pytest.raises(DataError, match="no such paradigm; did you mean 'blimp_wh_island'"):
        request_tasks(["blimp_wh_islands"], LocalData([tmp_path / "data"]), written=tmp_path / "tasks")


@pytest.mark.parametrize(
    ("name", "original"),
    [
        ("arc_easy", {"question": {"stem": "Q", "choices": [{"text": "a", "label": "1"}]}, "answerKey": "1"}),
        ("openbookqa", {"question": {"stem": "Q", "choices": [{"text": "a", "label": "A"}]}, "answerKey": "A"}),
        ("copa", {"query": "The man fell, because", "choices": ["he ran.", "he sat."], "gold": 1}),
        ("hellaswag", {"ind": 1, "query": "Cooking: A man", "choices": ["x", "y"], "gold": 1}),
        ("lambada_openai", {"context": "She said", "continuation": "yes"}),
        ("truthfulqa_mc1", {"question": "Q", "mc1_targets": {"a": 1, "b": 0}, "mc2_targets": {"a": 1, "b": 0}}),
        ("truthfulqa_gen", {"Question": "Q", "Correct Answers": "a; b", "Incorrect Answers": "c;"}),
        ("piqa", {"goal": "g", "sol1": "x", "sol2": "y", "label": "1"}),
    ],
)
def test_the_originals_form_becomes_the_hubs(name: str, original: dict[str, Any], tmp_path: Path) -> None:
    expected = {
        "arc_easy": {"question": "Q", "choices": {"text": ["a"], "label": ["1"]}, "answerKey": "1"},
        "openbookqa": {"question_stem": "Q", "choices": {"text": ["a"], "label": ["A"]}, "answerKey": "A"},
        "copa": {
            "premise": "The man fell.",
            "question": "cause",
            "choice1": "he ran.",
            "choice2": "he sat.",
            "label": 1,
        },
        "hellaswag": {"query": "Cooking: A man", "choices": ["x", "y"], "label": 1},
        "lambada_openai": {"text": "She said yes"},
        "truthfulqa_mc1": {"question": "Q", "mc1_targets": {"choices": ["a", "b"], "labels": [1, 0]}},
        "truthfulqa_gen": {"question": "Q", "correct_answers": ["a", "b"], "incorrect_answers": ["c"]},
        "piqa": {"goal": "g", "sol1": "x", "sol2": "y", "label": 1},
    }
    assert list(read_benchmark(name, [write_jsonl(tmp_path / "x.jsonl", [original])])) == [expected[name]]


def test_every_kind_of_file_holds_the_same_records(tmp_path: Path) -> None:
    import csv

    import pyarrow
    from pyarrow import parquet

    records = hub_records("winogrande", 5)
    (tmp_path / "w.json").write_text(json.dumps(records))
    parquet.write_table(pyarrow.Table.from_pylist(records), tmp_path / "w.parquet")
    with gzip.open(tmp_path / "w.jsonl.gz", "wt") as packed:
        packed.writelines(json.dumps(record) + "\n" for record in records)
    with (tmp_path / "w.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(records[0]))
        writer.writeheader()
        writer.writerows(records)
    for suffix in ("json", "parquet", "jsonl.gz", "csv"):
        assert list(read_benchmark("winogrande", [tmp_path / f"w.{suffix}"])) == records


def test_files_are_found_by_what_their_paths_and_records_say(tmp_path: Path) -> None:
    hub = write_jsonl(tmp_path / "ai2_arc/ARC-Easy/test-00000-of-00002.jsonl", hub_records("arc_easy", 2))
    rest = write_jsonl(tmp_path / "ai2_arc/ARC-Easy/test-00001-of-00002.jsonl", hub_records("arc_easy", 2))
    train = write_jsonl(tmp_path / "ai2_arc/ARC-Easy/train.jsonl", hub_records("arc_easy", 2))
    write_jsonl(tmp_path / "ai2_arc/ARC-Challenge/test.jsonl", hub_records("arc_easy", 2))
    found = find_split_files("arc_easy", LocalData([tmp_path]))
    assert (found.evaluated, found.files) == ("test", {"test": [hub, rest], "train": [train]})
    mc = write_jsonl(tmp_path / "truthful_qa/multiple_choice.jsonl", hub_records("truthfulqa_mc1", 2))
    gen = write_jsonl(tmp_path / "truthful_qa/generation.jsonl", hub_records("truthfulqa_gen", 2))
    assert find_split_files("truthfulqa_mc1", LocalData([tmp_path])).files == {"validation": [mc]}
    assert find_split_files("truthfulqa_gen", LocalData([tmp_path])).files == {"validation": [gen]}
    valid = write_jsonl(tmp_path / "piqa/valid.jsonl", [{"goal": "g", "sol1": "x", "sol2": "y"}] * 2)
    (tmp_path / "piqa/valid-labels.lst").write_text("1\n0\n")
    assert [
        record["label"]
        for record in read_benchmark("piqa", find_split_files("piqa", LocalData([tmp_path])).files["validation"])
    ] == [
        1,
        0,
    ]
    assert valid.is_file()
    for path, split in (
        ("COPA/val.jsonl", "validation"),
        ("dev.jsonl", "validation"),
        ("a/test.x", "test"),
        ("a", None),
    ):
        assert split_of(path) == split


def test_wrong_data_files_are_refused_with_file_and_field(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no data file of 'piqa' .*\{goal, sol1, sol2, label\}.*baber/piqa"):
        find_split_files("piqa", LocalData([tmp_path]))
    with pytest.raises(FileNotFoundError, match="no such folder"):
        find_split_files("piqa", LocalData([tmp_path / "none"]))
    write_jsonl(tmp_path / "piqa.jsonl", [{"goal": "g", "sol1": "x", "label": 0}])
    with pytest.raises(DataError, match=r"piqa.jsonl:1: no field 'sol2'; a record has \{goal, sol1, sol2, label\}"):
        find_split_files("piqa", LocalData([tmp_path]))
    write_jsonl(tmp_path / "piqa.jsonl", [*hub_records("piqa", 2), {"goal": "g", "sol1": "x", "label": 0}])
    with pytest.raises(DataError, match=r"piqa.jsonl:3: no field 'sol2'"):
        list(read_benchmark("piqa", [tmp_path / "piqa.jsonl"]))
    write_jsonl(tmp_path / "piqa.jsonl", [{"goal": "g", "sol1": "x", "sol2": "y", "label": -1}])
    with pytest.raises(DataError, match=r"piqa.jsonl:1: label -1 is not one of 2 choices"):
        list(read_benchmark("piqa", [tmp_path / "piqa.jsonl"]))
    write_jsonl(tmp_path / "arc_easy.jsonl", [hub_records("arc_easy", 1)[0] | {"answerKey": "E"}])
    with pytest.raises(DataError, match="answerKey 'E' is not one of the labels"):
        list(read_benchmark("arc_easy", [tmp_path / "arc_easy.jsonl"]))
    write_jsonl(tmp_path / "copa.jsonl", hub_records("copa", 1))
    write_jsonl(tmp_path / "copa2.jsonl", hub_records("copa", 1))
    with pytest.raises(DataError, match=r"both look like the \w+ split of 'copa'"):
        find_split_files("copa", LocalData([tmp_path]))
    assert find_split_files("copa", LocalData(files={"copa": [str(tmp_path / "copa2.jsonl")]})).files == {
        "validation": [tmp_path / "copa2.jsonl"]
    }
    with pytest.raises(ConfigError, match="give NAME=FILE with NAME one of arc_easy"):
        LocalData.of([], ["cop=x"])


def test_the_shared_evaluation_files_are_all_read(shared_data: Path) -> None:
    counts = {}
    for name in BENCHMARKS:
        if name != "arc_challenge":
            found = find_split_files(name, LocalData([shared_data / "eval"]))
            counts[name] = sum(1 for _ in read_benchmark(name, found.files[found.evaluated]))
    assert counts == {
        "arc_easy": 570,
        "blimp": 34_000,
        "copa": 100,
        "gsm8k": 1_319,
        "hellaswag": 1_000,
        "lambada_openai": 5_153,
        "openbookqa": 500,
        "piqa": 1_838,
        "truthfulqa_mc1": 817,
        "truthfulqa_mc2": 817,
        "truthfulqa_gen": 817,
        "winogrande": 1_267,
    }

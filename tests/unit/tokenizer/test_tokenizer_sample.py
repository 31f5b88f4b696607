import gzip
import json
from pathlib import Path

import pytest
from rich.console import Console

from megalite.config.errors import ConfigError, DataError
from megalite.tokenizer.sample.mix import sources_of, sources_of_mix
from megalite.tokenizer.sample.sampling import Sample, Sampling, read_records, take_sample

QUIET = Console(quiet=True)


def write(path: Path, name: str, count: int, size: int = 1000) -> Path:
    path.write_text("".join(json.dumps({"text": f"{name}{i} ".ljust(size, "x")}) + "\n" for i in range(count)))
    return path


def taken(folder: Path, inputs: list[Path], weights: list[float] | None, sampling: Sampling) -> Sample:
    folder.mkdir()
    return take_sample(sources_of([str(path) for path in inputs], weights), sampling, folder, QUIET)


def test_shares_follow_the_weights_for_any_file_sizes(tmp_path: Path) -> None:
    inputs = [write(tmp_path / "a.jsonl", "a", 2000), write(tmp_path / "b.jsonl", "b", 300)]
    sample = taken(tmp_path / "s", inputs, [3, 1], Sampling(400_000))
    first, second = sample.sources
    assert (first.bytes, second.bytes) == (300_000, 100_000)
    assert first.found_bytes == 2_000_000
    texts = [record["text"] for record in read_records(sample.training)]
    assert sum(text.startswith("a") for text in texts) == first.documents == 300
    assert len(set(texts)) == len(texts) == 400


def test_the_sample_is_spread_over_each_file(tmp_path: Path) -> None:
    sample = taken(tmp_path / "s", [write(tmp_path / "a.jsonl", "a", 4000)], None, Sampling(400_000))
    numbers = [int(record["text"].split()[0][1:]) for record in read_records(sample.training)]
    quarters = [sum(start <= number < start + 1000 for number in numbers) for start in range(0, 4000, 1000)]
    assert min(quarters) > 60  # 100 expected; 60 is more than four standard deviations below
    held_out = [int(record["text"].split()[0][1:]) for record in read_records(sample.report)]
    assert len(held_out) == sample.sources[0].held_out_documents == 20
    assert not set(held_out) & set(numbers)


def test_a_source_that_is_too_small_is_used_whole_and_once(tmp_path: Path) -> None:
    inputs = [write(tmp_path / "a.jsonl", "a", 2000), write(tmp_path / "b.jsonl", "b", 10)]
    sample = taken(tmp_path / "s", inputs, [1, 1], Sampling(200_000))
    assert [book.documents for book in sample.sources] == [100, 10]
    assert list(read_records(sample.report))


def test_the_sample_is_reproducible(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
    write(one / "a.jsonl", "a", 500)
    with gzip.open(other / "a.jsonl.gz", "wb") as file:
        file.write((one / "a.jsonl").read_bytes())
    first = taken(tmp_path / "s", [one / "a.jsonl"], None, Sampling(100_000))
    again = taken(tmp_path / "t", [other / "a.jsonl.gz"], None, Sampling(100_000))
    assert [r["text"] for r in read_records(first.training)] == [r["text"] for r in read_records(again.training)]


def test_what_is_odd_is_cut_or_passed_over_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "odd.jsonl"
    lines = ['{"text": "\\ud800 alone"}', '{"text": "a\\u0000b"}', "{broken", '{"text": ""}', '{"text": 5}']
    path.write_text("\n".join([*lines, json.dumps({"text": "long " * 100_000})]) + "\n")
    sample = taken(tmp_path / "s", [path], None, Sampling(1_000_000, document_characters=1000, max_malformed=0.5))
    book = sample.sources[0]
    assert (book.documents, book.malformed, book.cut_documents) == (2, 3, 1)
    assert "odd.jsonl:1" in book.malformed_examples[0]
    assert {record["text"] for record in read_records(sample.training)} == {"a\0b", ("long " * 200)}


def test_no_text_at_all_is_refused_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(DataError, match=r"empty\.jsonl: neither this nor another input has text"):
        taken(tmp_path / "s", [tmp_path / "empty.jsonl"], None, Sampling())
    (tmp_path / "other.jsonl").write_text('{"content": "x"}\n')
    with pytest.raises(DataError, match=r"no key 'text'; the keys are content\)"):
        taken(tmp_path / "t", [tmp_path / "other.jsonl"], None, Sampling())


def test_weights_must_fit_the_inputs(tmp_path: Path) -> None:
    a, b = str(write(tmp_path / "a.jsonl", "a", 1)), str(write(tmp_path / "b.jsonl", "b", 1))
    with pytest.raises(ConfigError, match="--weights: 1 for 2 inputs"):
        sources_of([a, b], [1.0])
    for wrong in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="must be a positive number"):
            sources_of([a, b], [1.0, wrong])
    with pytest.raises(ConfigError, match="given twice"):
        sources_of([a, a], [1.0, 2.0])
    with pytest.raises(ConfigError, match=r"a\.jsonl: is in '.*' and in"):
        sources_of([a, str(tmp_path / "*.jsonl")], [1.0, 2.0])
    with pytest.raises(FileNotFoundError, match="no file matches"):
        sources_of([a, str(tmp_path / "c*.jsonl")], [1.0, 2.0])


def test_a_mix_file_names_its_sources(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", "a", 1), write(tmp_path / "b.jsonl", "b", 1)
    mix = tmp_path / "mix.yaml"
    mix.write_text(
        "sources:\n"
        f"  - {{name: prose, input: ['{tmp_path}/a*'], weight: 2}}\n"
        f"  - {{input: ['{tmp_path}/b*'], weight: 0.5}}\n"
    )
    assert [(source.name, source.weight) for source in sources_of_mix(mix)] == [("prose", 2.0), (f"{tmp_path}/b*", 0.5)]
    mix.write_text("sources:\n  - {inputs: [x]}\n")
    with pytest.raises(ConfigError, match=r"mix\.yaml: .*inputs"):
        sources_of_mix(mix)

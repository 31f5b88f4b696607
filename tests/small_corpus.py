"""A corpus with copies and near-copies in small units, for tests of the engines, and shortcuts for tests of filters."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from megalite.corpus.filters.chain import FilterChain
from megalite.corpus.filters.rule import Filter
from megalite.corpus.prepare import plan
from megalite.corpus.prepare.recipe import Recipe

WORDS = [f"{a}{b}" for a in ("wamo", "seli", "turo", "pike") for b in range(300)]


def reason_to_drop(text: str, filters: Sequence[Filter]) -> str | None:
    """The first rule that drops the document, or None."""
    return FilterChain(filters).judge(text, ask_all=False).reason


def write_corpus(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two files with copies and near-copies, in units and buckets so small that there are some of each."""
    for name, size in (("SMALLEST_UNIT", 16_000), ("BUCKET_BYTES", 25_000), ("PARTITION_BYTES", 25_000)):
        monkeypatch.setattr(plan, name, size)
    texts = [" ".join(WORDS[(n * 7919 + i * (n + 3) * 31) % len(WORDS)] for i in range(60)) for n in range(90)]
    texts += [text.upper() for text in texts[:20:3]] + [text + " other" for text in texts[1:30:4]] + ["short"]
    for number in range(2):
        rows = [json.dumps({"text": text}) + "\n" for text in texts[number::2]]
        (folder / f"{number}.jsonl").write_text("".join(rows))
    return folder


def recipe(corpus: Path, **keys: Any) -> Recipe:
    values = {
        "sources": [{"kind": "files", "paths": [f"{corpus}/?.jsonl"]}],
        "filters": {"min_words": 20, "min_stop_words": None, "min_alphabetic_words": None},
        "dedup": {"bands": 2, "rows": 3},
        "valid_fraction": 0.2,
    }
    return Recipe.model_validate(values | keys)


def files(folder: Path) -> dict[str, bytes]:
    """All but the manifests, which name the folder."""
    paths = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith("manifest.json"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}

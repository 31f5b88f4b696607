"""What a corpus is made of: the YAML that ``tools/prepare_corpus.py --recipe`` takes."""

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, field_validator

from megalite.config.section import Section
from megalite.corpus.filter_prose import ProseFilter
from megalite.corpus.filters import AnyFilter
from megalite.corpus.listed_section import ListedSection


class InstalledDocs(ListedSection):
    """Documentation and docstrings of the Python packages on this machine."""

    kind: Literal["installed_docs"]
    max_bytes: PositiveInt | None = None


class Files(ListedSection):
    """Files of documents."""

    kind: Literal["files"]
    paths: tuple[str, ...]
    """Globs of .jsonl, .txt, .warc, .html (also .gz, .zst) and .parquet."""
    text_key: str = "text"


class HubDataset(ListedSection):
    """A dataset of the Hugging Face hub, or a folder that ``datasets`` loads; streamed."""

    kind: Literal["dataset"]
    name: str
    subset: str | None = None
    split: str = "train"
    text_key: str = "text"
    max_documents: PositiveInt | None = None


Source = Annotated[InstalledDocs | Files | HubDataset, Field(discriminator="kind")]


class Recipe(Section):
    """Sources, then cleaning and filters, exact deduplication, one shuffle, and the split."""

    sources: tuple[Source, ...] = Field(min_length=1)
    filters: tuple[AnyFilter, ...] = (ProseFilter(),)
    """In the order in which they are asked. A mapping instead of a list holds the thresholds of ``prose`` alone."""
    exact_dedup: bool = True
    """Drop a document whose words stood before, white space and case aside."""
    valid_fraction: float = Field(default=0.01, ge=0.0, lt=1.0)
    """Share of documents held out; chosen by a hash of the text, so that no document is on both sides."""
    shuffle_seed: int = 1234
    on_error: Literal["skip", "fatal"] = "skip"
    repair_encodings: bool = False
    """Undo mojibake by ftfy before cleaning; at a few MB a second it is the slowest step."""

    @field_validator("filters", mode="before")
    @classmethod
    def _thresholds_of_prose(cls, filters: Any) -> Any:
        return [{"kind": "prose", **filters}] if isinstance(filters, dict) else filters

"""The kinds of sources that a recipe can name."""

from typing import Annotated, Literal

from pydantic import Field

from megalite.config.bounds import unit
from megalite.config.listed_section import ListedSection
from megalite.config.section import OneLine


class InstalledDocs(ListedSection):
    """Documentation and docstrings of the Python packages installed on this machine."""

    kind: Literal["installed_docs"]
    max_bytes: Annotated[int | None, unit("bytes")] = Field(default=None, ge=1, le=10**15)
    """Maximum amount of text to read; null reads everything."""


class Files(ListedSection):
    """Documents in files."""

    kind: Literal["files"]
    paths: tuple[OneLine, ...] = Field(min_length=1)
    """Files or globs: .jsonl, .txt, .warc and .html, also compressed as .gz or .zst, and .parquet."""
    text_key: OneLine = "text"
    """JSON key or parquet column that holds the text."""


class HubDataset(ListedSection):
    """A dataset from the Hugging Face hub, or a folder that ``datasets`` can load. It is streamed."""

    kind: Literal["dataset"]
    name: OneLine
    """Name on the hub (``owner/name``), or path of a folder."""
    subset: OneLine | None = None
    """Configuration of the dataset, if it has several."""
    split: OneLine = "train"
    """Split to read."""
    text_key: OneLine = "text"
    """Column that holds the text."""
    max_documents: Annotated[int | None, unit("documents")] = Field(default=None, ge=1, le=10**12)
    """Read only this many documents, from the beginning; null reads all."""


Source = Annotated[InstalledDocs | Files | HubDataset, Field(discriminator="kind")]

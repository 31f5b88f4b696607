"""What a corpus is made of: the YAML that ``tools/prepare_corpus.py --recipe`` takes."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from megalite.config.bounds import unit
from megalite.config.errors import ConfigError
from megalite.config.explain import validate
from megalite.config.section import OneLine, Section
from megalite.config.text_files import kind_of, read_yaml_file
from megalite.corpus.decontaminate.contamination import Contamination
from megalite.corpus.decontaminate.eval_items import find_eval_files
from megalite.corpus.dedup.minhash import Bands
from megalite.corpus.filters.chain import AnyFilter
from megalite.corpus.filters.classifier import ClassifierFilter
from megalite.corpus.filters.prose import ProseFilter
from megalite.corpus.sources.sections import Files, HubDataset, Source
from megalite.files.readers.input_files import expand_inputs
from megalite.jobs.slurm import Slurm


class Dedup(Bands):
    """Removal of near-duplicates: MinHash finds candidates, an exact comparison decides. See ``tools/dedup.py``."""

    keep: Literal["first", "longest", "best"] = "first"
    """Which copy to keep: the first in reading order, the longest, or the one with the highest ``quality_key``."""
    quality_key: OneLine | None = None
    """Key of the quality score in a document's metadata; required with ``keep: best``."""
    against: tuple[OneLine, ...] = ()
    """Output folders of earlier runs with ``write_index``; documents that are duplicates of theirs are removed."""
    write_index: bool = False
    """Write an index for a later ``against``. It takes about 1.5 times the size of the text."""

    @model_validator(mode="after")
    def _best_by_what(self) -> "Dedup":
        if (self.keep == "best") != (self.quality_key is not None):
            raise ValueError("quality_key goes with keep: best, and keep: best with quality_key")
        return self

    @property
    def what_counts(self) -> Bands:
        """The definition of a near-duplicate alone."""
        return Bands(**self.model_dump(include=set(Bands.model_fields)))


class Decontaminate(Contamination):
    """Removal of documents that contain evaluation items. See ``tools/decontaminate.py``."""

    against: tuple[OneLine, ...] = Field(min_length=1)
    """Files or globs with the evaluation items."""

    @property
    def what_counts(self) -> Contamination:
        """The definition of contamination alone."""
        return Contamination(**self.model_dump(exclude={"against"}))


class TrainTokenizer(Section):
    """A tokenizer trained on the training shards. See ``tools/train_tokenizer.py``."""

    vocab_size: Annotated[int, unit("tokens")] = Field(ge=1, le=10_000_000)
    """Number of tokens, including the special tokens."""
    model: Literal["bpe", "sentencepiece_unigram", "sentencepiece_bpe"] = "bpe"
    """Byte-level BPE, or a sentencepiece model."""
    digits: Literal["single", "triple", "free"] | None = None
    """How runs of digits are split: one by one, in groups of up to three, or not at all; null is ``triple`` for
    ``bpe`` and ``single`` for sentencepiece."""
    reserved: Annotated[int, unit("tokens")] = Field(default=12, ge=0, le=1_000_000)
    """Special tokens reserved for later use."""
    pad_to_multiple: Annotated[int, unit("tokens")] = Field(default=1, ge=1, le=1_000_000)
    """Round the vocabulary size up to a multiple of this number, with reserved tokens."""
    sample_bytes: Annotated[int, unit("bytes")] = Field(default=1_000_000_000, ge=1, le=10**15)
    """Maximum amount of text to train on."""


class Tokenize(Section):
    """Writes ``train.bin``, ``train.idx``, ``valid.bin`` and ``valid.idx`` in Megatron's format, beside the shards."""

    tokenizer: OneLine | None = None
    """Folder of an existing tokenizer. Give either this or ``train``."""
    train: TrainTokenizer | None = None
    """Train a tokenizer into the folder ``tokenizer`` of the output."""
    append_eod: bool = True
    """Append the end-of-document token to every document."""
    eod_token: OneLine | None = None
    """End-of-document token; null is the tokenizer's ``eos_token``."""

    @model_validator(mode="after")
    def _one_tokenizer(self) -> "Tokenize":
        if (self.tokenizer is None) == (self.train is None):
            raise ValueError("give either tokenizer (a folder) or train (how to make one)")
        return self


class Recipe(Section):
    """What a corpus is made of: sources, filters, deduplication, decontamination, shuffle, split and tokens."""

    sources: tuple[Source, ...] = Field(min_length=1, max_length=10_000)
    """Where the documents come from, in reading order."""
    filters: tuple[AnyFilter, ...] = Field(default=(ProseFilter(),), max_length=100)
    """Filters in the order in which they run. A mapping instead of a list sets the thresholds of ``prose`` alone."""
    exact_dedup: bool = True
    """Drop a document whose words, ignoring case and white space, are those of an earlier one."""
    dedup: Dedup | None = None
    """Removal of near-duplicates; null skips it."""
    decontaminate: Decontaminate | None = None
    """Removal of documents that contain evaluation items; null skips it."""
    valid_fraction: float = Field(default=0.01, ge=0.0, lt=1.0)
    """Share of the documents held out for validation. A hash of the text selects them, so no document is in both
    splits."""
    shuffle_seed: int = Field(default=1234, ge=-(2**63), lt=2**63)
    """Seed of the shuffle."""
    on_error: Literal["skip", "fatal"] = "skip"
    """What to do with malformed records: skip and count them, or stop at the first."""
    max_malformed: Annotated[float | None, unit("share or records")] = Field(default=None, ge=0.0, allow_inf_nan=False)
    """Maximum number of malformed records in all sources: below 1 a share, from 1 on a count; null is 1 %, or 3
    records if that is more."""
    repair_encodings: bool = False
    """Repair mojibake with ftfy before cleaning. This is the slowest step, at a few MB per second."""
    tokenize: Tokenize | None = None
    """Tokenize the corpus; null writes text only."""
    slurm: Slurm = Slurm()
    """Resources of the tasks on a Slurm cluster; unused with other engines."""

    @field_validator("filters", mode="before")
    @classmethod
    def _thresholds_of_prose(cls, filters: Any) -> Any:
        return [{"kind": "prose", **filters}] if isinstance(filters, dict) and all(map(_is_text, filters)) else filters

    @property
    def text(self) -> "Recipe":
        """What decides the text of the corpus: all but tokens and machines."""
        return self.model_copy(update={"tokenize": None, "slurm": Slurm()})


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def load_recipe(path: Path, dataset: str | None = None) -> Recipe:
    """Read a recipe; a ``dataset`` of the hub takes the place of its sources. Raises: ConfigError, FileNotFoundError."""
    values = read_yaml_file(path, "recipe")
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: holds {kind_of(values)}, and a recipe has keys such as 'sources:' and 'filters:'")
    if dataset is not None:
        values["sources"] = [{"kind": "dataset", "name": dataset}]
    return validate(Recipe, values, str(path))


def files_read(recipe: Recipe) -> list[Path]:
    """Returns every file and folder that a recipe names as an input. Raises: FileNotFoundError, DataError."""
    read: list[Path] = []
    for source in recipe.sources:
        if isinstance(source, Files):
            read += expand_inputs(source.paths)
        elif isinstance(source, HubDataset):
            read.append(Path(source.name))  # may be a folder
    read += [Path(item.model) for item in recipe.filters if isinstance(item, ClassifierFilter)]
    if recipe.dedup is not None:
        read += map(Path, recipe.dedup.against)
    if recipe.decontaminate is not None:
        read += find_eval_files(recipe.decontaminate.against)
    if recipe.tokenize is not None and recipe.tokenize.tokenizer is not None:
        read.append(Path(recipe.tokenize.tokenizer))
    return read

"""What a corpus is made of: the YAML that ``tools/prepare_corpus.py --recipe`` takes."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from megalite.config.errors import ConfigError
from megalite.config.explain import validate
from megalite.config.section import Section
from megalite.config.text_files import kind_of, read_yaml_file
from megalite.corpus.decontaminate.contamination import Contamination
from megalite.corpus.dedup.minhash import Bands
from megalite.corpus.filters.chain import AnyFilter
from megalite.corpus.filters.listed_section import ListedSection, OneLine
from megalite.corpus.filters.prose import ProseFilter


class InstalledDocs(ListedSection):
    """Documentation and docstrings of the Python packages on this machine."""

    kind: Literal["installed_docs"]
    max_bytes: int | None = Field(default=None, ge=1, le=10**15)


class Files(ListedSection):
    """Files of documents."""

    kind: Literal["files"]
    paths: tuple[OneLine, ...] = Field(min_length=1)
    """Globs of .jsonl, .txt, .warc, .html (also .gz, .zst) and .parquet."""
    text_key: OneLine = "text"


class HubDataset(ListedSection):
    """A dataset of the Hugging Face hub, or a folder that ``datasets`` loads; streamed."""

    kind: Literal["dataset"]
    name: OneLine
    subset: OneLine | None = None
    split: OneLine = "train"
    text_key: OneLine = "text"
    max_documents: int | None = Field(default=None, ge=1, le=10**12)


Source = Annotated[InstalledDocs | Files | HubDataset, Field(discriminator="kind")]


class Dedup(Bands):
    """Near-duplicates out, by MinHash and exact comparison; see ``tools/dedup.py``."""

    keep: Literal["first", "longest", "best"] = "first"
    """Which copy stays."""
    quality_key: OneLine | None = None
    """The number in a document's meta by which ``keep: best`` goes."""
    against: tuple[OneLine, ...] = ()
    """Earlier outputs with an index; what stands in them goes."""
    write_index: bool = False
    """For a later ``against``; about 1.5 x the text."""

    @model_validator(mode="after")
    def _best_by_what(self) -> "Dedup":
        if (self.keep == "best") != (self.quality_key is not None):
            raise ValueError("quality_key goes with keep: best, and keep: best with quality_key")
        return self


class Decontaminate(Contamination):
    """Documents with evaluation items out; see ``tools/decontaminate.py``."""

    against: tuple[OneLine, ...] = Field(min_length=1)
    """Evaluation sets: files or globs."""


class TrainTokenizer(Section):
    """A vocabulary from the training shards; ``tools/train_tokenizer.py`` has the same options."""

    vocab_size: int = Field(ge=1, le=10_000_000)
    model: Literal["bpe", "sentencepiece_unigram", "sentencepiece_bpe"] = "bpe"
    digits: Literal["single", "triple", "free"] | None = None
    reserved: int = Field(default=12, ge=0, le=1_000_000)
    """Special tokens kept free for later use."""
    pad_to_multiple: int = Field(default=1, ge=1, le=1_000_000)
    sample_bytes: int = Field(default=1_000_000_000, ge=1, le=10**15)
    """Text to learn from, at most."""


class Tokenize(Section):
    """Token ids in Megatron's ``train.bin`` / ``.idx`` and ``valid.bin`` / ``.idx``, beside the shards."""

    tokenizer: OneLine | None = None
    """A folder that is there already; without it, ``train`` makes one in the output."""
    train: TrainTokenizer | None = None
    append_eod: bool = True
    eod_token: OneLine | None = None
    """By default the tokenizer's eos."""

    @model_validator(mode="after")
    def _one_tokenizer(self) -> "Tokenize":
        if (self.tokenizer is None) == (self.train is None):
            raise ValueError("give either tokenizer (a folder) or train (how to make one)")
        return self


class Slurm(Section):
    """What ``--engine slurm`` asks the cluster for, for every task."""

    partition: OneLine | None = None
    account: OneLine | None = None
    time: str = Field(default="24:00:00", pattern=r"^[0-9]+(-[0-9]+)?(:[0-9]+){0,2}$")
    """As sbatch takes it: minutes, or ``[DAYS-]HOURS:MINUTES:SECONDS``; in quotes, or YAML reads a number."""
    cpus: int = Field(default=1, ge=1, le=1024)
    """Of a task; training a tokenizer and tokenizing spread over them, the other tasks use one."""
    memory_gb: int = Field(default=8, ge=1, le=1_000_000)
    max_array_size: int = Field(default=1000, ge=1, le=1_000_000)
    """Tasks beyond it are shared out among the elements of the array."""
    running: int | None = Field(default=None, ge=1, le=1_000_000)
    """Elements at work at the same time, at most."""
    setup: tuple[str, ...] = ()
    """Lines of shell before the work, such as the activation of an environment."""
    options: dict[OneLine, OneLine] = Field(default_factory=dict)
    """More options of sbatch: ``{qos: low}``."""


class Recipe(Section):
    """Sources, then cleaning and filters, deduplication, decontamination, one shuffle, the split, and maybe tokens."""

    sources: tuple[Source, ...] = Field(min_length=1, max_length=10_000)
    filters: tuple[AnyFilter, ...] = Field(default=(ProseFilter(),), max_length=100)
    """In the order in which they are asked. A mapping instead of a list holds the thresholds of ``prose`` alone."""
    exact_dedup: bool = True
    """Drop a document whose words stood before, white space and case aside."""
    dedup: Dedup | None = None
    decontaminate: Decontaminate | None = None
    valid_fraction: float = Field(default=0.01, ge=0.0, lt=1.0)
    """Share of documents held out; chosen by a hash of the text, so that no document is on both sides."""
    shuffle_seed: int = Field(default=1234, ge=-(2**63), lt=2**63)
    on_error: Literal["skip", "fatal"] = "skip"
    max_malformed: float | None = Field(default=None, ge=0.0, allow_inf_nan=False)
    """Of the records of all sources: below 1 a share, from 1 on a number; null is 1 %, or 3 records where that is more."""
    repair_encodings: bool = False
    """Undo mojibake by ftfy before cleaning; at a few MB a second it is the slowest step."""
    tokenize: Tokenize | None = None
    slurm: Slurm = Slurm()

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

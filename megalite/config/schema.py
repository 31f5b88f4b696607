"""Every key of a run's YAML. The DeepSpeed JSON owns the rest: ZeRO stage, offload, buckets, monitors."""

from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

from megalite.config.bounds import MOST_SOURCES, Positions, Processes, Ranks, Samples, Seconds, Seed, Steps
from megalite.config.model import ModelConfig
from megalite.config.precision import Precision
from megalite.config.section import Section

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Beta = Annotated[float, Field(ge=0.0, lt=1.0)]


def _not_vanishing(weight: float) -> float:
    if 0 < weight < LEAST_WEIGHT:
        raise ValueError(f"so small a share would never be read; write 0, or at least {LEAST_WEIGHT:g}")
    return weight


LEAST_WEIGHT = 1e-9
Weight = Annotated[float, Field(ge=0.0, le=1e9), AfterValidator(_not_vanishing)]


class RunSection(Section):
    """Where the run lives."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """The run's folder is ``output_dir/name``."""
    output_dir: str = "runs"
    """A relative path is one of the current folder."""
    seed: Seed = 1234
    """Initial weights, order of the data; a run is a function of the config and this number."""


class DataSource(Section):
    """One indexed dataset of a blend."""

    prefix: str
    """Path without ``.bin`` / ``.idx``, as ``tools/preprocess_data.py --output`` wrote it."""
    weight: Weight = 1.0
    """Share of the training tokens, relative to the other sources; 0 where only a later stage reads it."""
    max_epochs: PositiveFloat | None = None
    """Overrides ``data.max_epochs`` for this source."""


def _as_sources(value: object) -> object:
    if isinstance(value, str | dict):
        value = [value]
    if isinstance(value, list):
        if not value:
            raise ValueError("an empty list; give a prefix, or remove the key")
        return tuple({"prefix": item} if isinstance(item, str) else item for item in value)
    return value


Sources = Annotated[tuple[DataSource, ...], Field(max_length=MOST_SOURCES), BeforeValidator(_as_sources)]


def _fraction_or_steps(begin: float) -> float:
    if begin >= 1 and begin != int(begin):
        raise ValueError("neither a fraction of the run below 1 nor a whole number of steps")
    return begin


class DataStage(Section):
    """Other weights from some point of the run on; every source goes on where it stopped."""

    begin: Annotated[float, Field(gt=0.0), AfterValidator(_fraction_or_steps)]
    """Below 1 a fraction of ``training.steps``, rounded to a step; from 1 on the number of steps done before it."""
    weights: dict[str, Weight]
    """Prefix -> share of the tokens, relative to the others; a source that is not named is not read."""


class DataPreparation(Section):
    """How to make the data when it is not there yet: corpus, tokenizer, indexed files."""

    recipe: str
    """The corpus recipe of ``tools/prepare_corpus.py``."""
    corpus_dir: str
    """Where the clean shards go (``train-*.jsonl.zst``, ``valid-*.jsonl.zst``)."""
    workers: Processes = 1


class DataSection(Section):
    """What is read. A relative path is looked for in the current folder, then beside the YAML, then in the repository."""

    train: Sources
    """A prefix, or a list of prefixes, or a list of ``{prefix, weight}``."""
    stages: Annotated[tuple[DataStage, ...], Field(max_length=MOST_SOURCES)] = ()
    """Later weights, in the order of their beginnings: for annealing, a mix of cleaner data at the end of the run."""
    max_epochs: PositiveFloat = 4.0
    """A run that reads a source more often is refused: up to 4 epochs are nearly as good as new data, then the worth of
    repetition decays to nothing (Muennighoff et al. 2023, arXiv:2305.16264)."""
    valid: str | None = None
    """A prefix; validation reads it in order."""
    tokenizer: str
    """A folder that ``AutoTokenizer`` loads; it travels with every export."""
    sequence_length: Positions
    """S, tokens in a training sample."""
    mask_documents: bool = False
    """Tokens attend within their own document only, and positions restart with each document of a sample."""
    prepare: DataPreparation | None = None


class BatchSection(Section):
    """Batch sizes in samples of S tokens; accumulation and data-parallel size follow from them."""

    micro_batch_size: Samples
    """B, samples in one forward pass of one rank."""
    global_batch_size: Samples
    """Samples in one optimizer step over all ranks."""


class OptimizerSection(Section):
    """AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101); norms and biases are never decayed."""

    name: Literal["adamw"] = "adamw"
    lr: PositiveFloat
    """Peak learning rate, reached at the end of the warm-up."""
    betas: tuple[Beta, Beta] = (0.9, 0.95)
    eps: Annotated[float, Field(ge=1e-37)] = 1e-8
    """Smaller numbers are 0 in fp32, and weights without a gradient would become NaN."""
    weight_decay: NonNegativeFloat = 0.1
    gradient_clipping: NonNegativeFloat = 1.0
    """Largest global gradient norm; 0 turns clipping off."""


class ScheduleSection(Section):
    """Learning rate by step: linear warm-up, then a decay to ``min_lr_ratio * lr`` at ``training.steps``."""

    warmup_steps: NonNegativeInt = 0
    decay: Literal["cosine", "linear", "constant", "wsd"] = "cosine"
    """``wsd``: warm-up, stable, linear decay over the last ``decay_fraction`` (Hu et al. 2024, arXiv:2404.06395)."""
    min_lr_ratio: Fraction = 0.1
    decay_fraction: Fraction = 0.1
    """Only for ``wsd``."""


class TrainingSection(Section):
    """How long, and in which arithmetic."""

    steps: Steps
    """Optimizer steps of the whole run."""
    precision: Precision = "auto"
    """bf16: products in bfloat16, master weights, moments and gradient accumulation in fp32. ``auto`` is bf16 where the
    device computes it in hardware, else fp32; a resumed run keeps what its checkpoint has."""
    activation_checkpointing: Literal["none", "selective", "full"] = "none"
    """What the backward pass computes again instead of keeping it: nothing, the attention product (Korthikanti et al. 2022,
    arXiv:2205.05198, section 5), or each decoder layer (Chen et al. 2016, arXiv:1604.06174)."""
    timeout_seconds: Seconds = 1800
    """A job in which nothing moves for so long, because a rank hangs, is ended with that rank's name."""


class ParallelSection(Section):
    """Sizes of the mesh's axes; the data axis takes what is left of the world."""

    tensor_parallel_size: Ranks = 1
    """t, ranks that share every layer's matrices."""
    sequence_parallel: bool = False
    """Split activations between the matrices along the sequence too, over the tensor-parallel ranks."""
    pipeline_parallel_size: Ranks = 1
    """p, stages of consecutive layers."""
    pipeline_split: Annotated[tuple[NonNegativeInt, ...], Field(max_length=2**12)] | None = None
    """Decoder layers of each stage, at least one; null balances the stages by the work of layers and head."""
    context_parallel_size: Ranks = 1
    """c, ranks that share every sample's sequence (Ulysses: heads are exchanged for tokens around the attention)."""


class ValidationSection(Section):
    """Loss and bits per byte on ``data.valid``."""

    every_steps: PositiveInt = 100
    max_samples: PositiveInt | None = None
    """Samples of ``data.valid`` to use, from the beginning; null is all of it."""


class CheckpointSection(Section):
    """When a portable checkpoint is written, and how many stay."""

    every_steps: PositiveInt = 500
    keep_last: PositiveInt | None = None
    """Delete older checkpoints beyond this many; null keeps all."""


class LoggingSection(Section):
    """Console, ``metrics.jsonl`` and TensorBoard."""

    every_steps: PositiveInt = 10
    tensorboard: bool = True


class HardwareSection(Section):
    """What a device can do: for model FLOPs utilisation while training, and for the plan of ``--check``."""

    peak_tflops: Annotated[float, Field(ge=1e-6, le=1e9)] | None = None
    """Dense TFLOP/s of one device at this precision; null is the best of several matrix products, measured when training
    starts."""
    memory_gib: Annotated[float, Field(ge=0.001, le=1e6)] | None = None
    """Memory of one device, in GiB. A run whose model state alone is larger is refused; null is that of this machine's."""
    world_size: Ranks | None = None
    """Devices that ``--check`` plans for; null is the number of ranks it is started with."""
    expected_mfu: Annotated[float, Field(ge=0.001, le=1.0)] = 0.4
    """Model FLOPs utilisation that ``--check`` reckons with."""


class RunConfig(Section):
    """A whole run. Derived facts (accumulation, data-parallel size, tokens) are functions of it, never stored in it."""

    run: RunSection
    model: ModelConfig
    data: DataSection
    batch: BatchSection
    optimizer: OptimizerSection
    schedule: ScheduleSection = ScheduleSection()
    training: TrainingSection
    parallel: ParallelSection = ParallelSection()
    validation: ValidationSection = ValidationSection()
    checkpoint: CheckpointSection = CheckpointSection()
    logging: LoggingSection = LoggingSection()
    hardware: HardwareSection = HardwareSection()

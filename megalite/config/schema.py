"""Every key of a run's YAML. The DeepSpeed JSON owns the rest: ZeRO stage, offload, bucket sizes, monitors.

The docstring under a field is its description, and the source of the configuration reference.
"""

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

from megalite.config.bounds import (
    MOST_SOURCES,
    EverySteps,
    Positions,
    Processes,
    Ranks,
    Samples,
    Seconds,
    Seed,
    Steps,
    unit,
)
from megalite.config.model import ModelConfig
from megalite.config.precision import Precision
from megalite.config.section import Section

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Beta = Annotated[float, Field(ge=0.0, lt=1.0)]


def _not_vanishing(weight: float) -> float:
    if 0 < weight < LEAST_WEIGHT:
        raise ValueError(f"the weight is too small to select any sample; use 0, or at least {LEAST_WEIGHT:g}")
    return weight


LEAST_WEIGHT = 1e-9
Weight = Annotated[float, Field(ge=0.0, le=1e9), AfterValidator(_not_vanishing)]


class RunSection(Section):
    """Name, output folder and random seed of a run."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the run; its folder is ``output_dir/name``. Letters, digits, ``.``, ``_`` and ``-``."""
    output_dir: str = "runs"
    """Folder that holds the run folder; a relative path starts at the current folder."""
    seed: Seed = 1234
    """Random seed of the initial weights and of the order of the samples."""


class DataSource(Section):
    """One indexed dataset of the training data."""

    prefix: str
    """Path of the indexed dataset without ``.bin`` or ``.idx``: the ``--output`` of ``tools/preprocess_data.py``."""
    weight: Weight = 1.0
    """Share of the training tokens, relative to the other sources; 0 if only a later phase reads it."""
    max_epochs: Annotated[PositiveFloat | None, unit("epochs")] = None
    """Maximum number of epochs over this source; overrides ``data.max_epochs``."""


def _as_sources(value: object) -> object:
    if isinstance(value, str | dict):
        value = [value]
    if isinstance(value, list):
        if not value:
            raise ValueError("the list is empty; add a prefix or remove the key")
        return tuple({"prefix": item} if isinstance(item, str) else item for item in value)
    return value


Sources = Annotated[tuple[DataSource, ...], Field(max_length=MOST_SOURCES), BeforeValidator(_as_sources)]


def _fraction_or_steps(begin: float) -> float:
    if begin >= 1 and begin != int(begin):
        raise ValueError("give a fraction of the run below 1, or a whole number of steps")
    return begin


class DataPhase(Section):
    """A period of the run with its own weights; every source continues where it stopped."""

    begin: Annotated[float, Field(gt=0.0), AfterValidator(_fraction_or_steps), unit("share or steps")]
    """Start of the phase: below 1 a fraction of ``training.steps``, rounded to a step; from 1 on a number of steps."""
    weights: dict[str, Weight]
    """Prefix of a source in ``data.train`` -> its share of the tokens, relative to the others; sources not listed are not
    read."""


class DataPreparation(Section):
    """How to build the corpus, the tokenizer and the indexed datasets if they do not exist yet."""

    recipe: str
    """Recipe for ``tools/prepare_corpus.py``."""
    corpus_dir: str
    """Output folder of the corpus (``train-*.jsonl.zst``, ``valid-*.jsonl.zst``)."""
    workers: Processes = 1
    """Worker processes."""


class DataSection(Section):
    """Datasets, tokenizer and sample length.

    A relative path is searched for in the current folder, then in the folder of the YAML, then in the repository.
    """

    train: Sources
    """Training datasets: a prefix, a list of prefixes, or a list of ``{prefix, weight}``."""
    phases: Annotated[tuple[DataPhase, ...], Field(max_length=MOST_SOURCES)] = ()
    """Changes of the weights during the run, in order, for example a mix of cleaner data for the final annealing."""
    max_epochs: Annotated[PositiveFloat, unit("epochs")] = 4.0
    """Maximum number of epochs over any source; a run that needs more is refused. Up to 4 epochs are nearly as good as new
    data; further repetition is worth less and less (Muennighoff et al. 2023, arXiv:2305.16264)."""
    valid: str | None = None
    """Prefix of the validation dataset, read in order; null turns validation off."""
    tokenizer: str
    """Tokenizer folder in Hugging Face format; every export includes a copy."""
    sequence_length: Positions
    """S, the tokens in a training sample."""
    mask_documents: bool = False
    """Restrict attention to the tokens of the same document, and restart positions at every document of a sample."""
    prepare: DataPreparation | None = None
    """How to build the data if it does not exist; null expects it to exist."""


class BatchSection(Section):
    """Batch sizes in samples. The number of gradient accumulation steps follows from them and the data-parallel size."""

    micro_batch_size: Samples
    """B, the samples in one forward pass of one rank."""
    global_batch_size: Samples
    """Samples in one optimizer step, over all ranks."""


class OptimizerSection(Section):
    """AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101)."""

    name: Literal["adamw"] = "adamw"
    """Optimizer; AdamW is the only one."""
    lr: PositiveFloat
    """Peak learning rate, reached at the end of the warm-up."""
    betas: tuple[Beta, Beta] = (0.9, 0.95)
    """Decay rates of the first and the second moment."""
    eps: Annotated[float, Field(ge=1e-37)] = 1e-8
    """Term added to the denominator. Smaller values underflow to 0 in fp32 and turn weights without a gradient into NaN."""
    weight_decay: NonNegativeFloat = 0.1
    """Decoupled weight decay of matrices; norms and biases are not decayed."""
    gradient_clipping: NonNegativeFloat = 1.0
    """Maximum global gradient norm; 0 turns clipping off."""


class ScheduleSection(Section):
    """Learning-rate schedule: linear warm-up, then decay to ``min_lr_ratio * lr`` at ``training.steps``."""

    warmup_steps: Annotated[NonNegativeInt, unit("steps")] = 0
    """Optimizer steps of linear warm-up."""
    decay: Literal["cosine", "linear", "constant", "wsd"] = "cosine"
    """Shape of the decay. ``wsd``: warm-up, stable, then linear decay (Hu et al. 2024, arXiv:2404.06395)."""
    min_lr_ratio: Fraction = 0.1
    """Learning rate at the end of the run, as a fraction of ``optimizer.lr``."""
    decay_fraction: Fraction = 0.1
    """Fraction of the run that decays at its end; only for ``wsd``."""


ActivationCheckpointing = Literal["none", "selective", "full"]


class TrainingSection(Section):
    """Length of the run, arithmetic, and memory for activations."""

    steps: Steps
    """Optimizer steps of the whole run."""
    precision: Precision = "auto"
    """Arithmetic. ``bf16``: matrix products in bfloat16; master weights, moments and gradient accumulation in fp32.
    ``auto``: bf16 if the device supports it in hardware, else fp32; a resumed run keeps the precision of its checkpoint."""
    activation_checkpointing: ActivationCheckpointing = "none"
    """Activations to recompute in the backward pass instead of storing them: ``none``, those of the attention product
    (``selective``: Korthikanti et al. 2022, arXiv:2205.05198, section 5), or those of every decoder layer (``full``: Chen et
    al. 2016, arXiv:1604.06174)."""
    timeout_seconds: Seconds = 1800
    """Seconds without progress after which a hanging job is stopped, with an error that names the rank."""


class ParallelSection(Section):
    """Sizes of the parallel axes; the data-parallel size is the number of remaining ranks."""

    tensor_parallel_size: Ranks = 1
    """t, the ranks over which the matrices of every layer are split."""
    sequence_parallel: bool = False
    """Split the activations between the tensor-parallel layers along the sequence, over the tensor-parallel ranks."""
    pipeline_parallel_size: Ranks = 1
    """p, the number of pipeline stages; each holds consecutive layers."""
    pipeline_split: Annotated[tuple[NonNegativeInt, ...], Field(max_length=2**12), unit("layers")] | None = None
    """Decoder layers of each pipeline stage, at least one; null balances the stages by FLOPs, including the head."""
    context_parallel_size: Ranks = 1
    """c, the ranks over which the sequence of every sample is split (Ulysses: an all-to-all exchanges heads for tokens
    around the attention; Jacobs et al. 2023, arXiv:2309.14509)."""


class ValidationSection(Section):
    """Validation on ``data.valid``: loss and bits per byte."""

    every_steps: EverySteps = 100
    """Optimizer steps between validations."""
    max_samples: Annotated[PositiveInt | None, unit("samples")] = None
    """Maximum number of samples to use, from the beginning of ``data.valid``; null uses all."""


class CheckpointSection(Section):
    """How often to write a checkpoint, and how many to keep."""

    every_steps: EverySteps = 500
    """Optimizer steps between checkpoints."""
    keep_last: Annotated[PositiveInt | None, unit("checkpoints")] = None
    """Number of checkpoints to keep; older ones are deleted. Null keeps all."""


class LoggingSection(Section):
    """Metrics on the console, in ``metrics.jsonl`` and in TensorBoard."""

    every_steps: EverySteps = 10
    """Optimizer steps between logged steps."""
    tensorboard: bool = True
    """Write TensorBoard event files to the run folder."""


class HardwareSection(Section):
    """The devices: for model FLOPs utilisation (MFU) during training, and for the plan that ``--check`` prints."""

    peak_tflops: Annotated[float, Field(ge=1e-6, le=1e9), unit("TFLOP/s")] | None = None
    """Peak dense TFLOP/s of one device at the run's precision; null measures it with matrix products when training
    starts."""
    memory_gib: Annotated[float, Field(ge=0.001, le=1e6), unit("GiB")] | None = None
    """Memory of one device in GiB; null uses that of this machine. A run whose model state is larger is refused."""
    world_size: Ranks | None = None
    """Number of devices that ``--check`` plans for; null uses the number of ranks it is started with."""
    expected_mfu: Annotated[float, Field(ge=0.001, le=1.0)] = 0.4
    """Model FLOPs utilisation that ``--check`` assumes, as a fraction of the peak."""


class RunConfig(Section):
    """A whole run. Derived values (accumulation steps, data-parallel size, tokens) are computed from it, never stored."""

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

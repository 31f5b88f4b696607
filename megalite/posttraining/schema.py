"""Every key of a post-training YAML. The sections that pretraining has too are pretraining's own."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from megalite.config.bounds import Positions, Steps, Width
from megalite.config.precision import Precision
from megalite.config.schema import (
    BatchSection,
    CheckpointSection,
    Fraction,
    LoggingSection,
    OptimizerSection,
    RunSection,
    ScheduleSection,
)
from megalite.config.section import Section


class StartSection(Section):
    """The model that is tuned."""

    path: str
    """A Hugging Face folder (``runs/NAME/step-000500/hf``), or a name of the hub."""
    attention: Literal["sdpa", "eager", "flash_attention_2", "flash_attention_3"] = "sdpa"
    """transformers' ``attn_implementation``."""


class LoraSection(Section):
    """Low-rank adapters instead of all weights (Hu et al. 2021, arXiv:2106.09685, section 4.1)."""

    rank: Width = 16
    alpha: PositiveFloat = 32
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    target_modules: str | tuple[str, ...] = "all-linear"
    """Names of linear layers, or PEFT's ``all-linear``: every one but the head."""


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Inputs = Annotated[tuple[str, ...], Field(min_length=1), BeforeValidator(_as_tuple)]
Column = Literal["messages", "system", "prompt", "input", "completion", "chosen", "rejected", "label"]


class RowsSection(Section):
    """Where the rows come from. A relative path is looked for in the current folder, beside the YAML, in the repository."""

    train: Inputs
    """Files or globs of .jsonl (also .gz, .zst) or .parquet; or ``owner/name:split``, a dataset of the hub."""
    valid: Inputs | None = None
    valid_fraction: Fraction = 0.0
    """Share of ``train`` that is held out, drawn by ``run.seed``; only without ``valid``."""
    columns: dict[Column, str] = Field(default_factory=dict)
    """Our name of a column -> its name in the files, where it is not recognised by itself."""
    chat_template: str | None = None
    """A Jinja file; null takes the tokenizer's own."""
    parse_special_tokens: bool = False
    """Whether a special token that a turn spells becomes that token, so that a row can open and end turns."""
    sequence_length: Positions
    """Tokens in a sample at most."""
    too_long: Literal["drop", "refuse"] = "drop"
    """Longer samples: left out and counted, or an error. Cutting would teach answers without an end."""
    on_error: Literal["fatal", "skip"] = "fatal"
    """Broken rows: an error that names the first, or left out and counted."""
    max_malformed: NonNegativeFloat | None = None
    """Of the rows left out: below 1 a share of all, from 1 on a number; null is 1 %, or 3 rows where that is more."""

    @model_validator(mode="after")
    def _one_validation_source(self) -> "RowsSection":
        if self.valid is not None and self.valid_fraction > 0:
            raise ValueError("valid and valid_fraction are both given; keep one")
        return self


class ChatRowsSection(RowsSection):
    """Conversations or instructions with their answers."""

    packing: bool = False
    """Several samples in a row of ``sequence_length`` tokens, each attending to itself alone."""


class TuningSection(Section):
    """How long, and in which arithmetic."""

    steps: Steps | None = None
    """Optimizer steps; or give ``epochs``."""
    epochs: Annotated[float, Field(gt=0.0, le=1e6)] | None = None
    precision: Precision = "auto"
    """As in pretraining: ``auto`` is bf16 where the device computes it in hardware, else fp32."""
    checkpoint_activations: bool = False

    @model_validator(mode="after")
    def _one_length(self) -> "TuningSection":
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give either steps or epochs, and only one")
        return self


class HeldOutSection(Section):
    """The measurement on ``data.valid``, also taken after the last step and, but for dpo and kto, before the first."""

    every_steps: PositiveInt = 100
    max_samples: PositiveInt | None = None
    """Samples to use, from the beginning; null is all of them."""


class PreferenceSection(Section):
    """The objective of ``tools/preferences.py``."""

    method: Literal["dpo", "kto", "grpo"] = "dpo"
    """Rafailov et al. 2023, arXiv:2305.18290; Ethayarajh et al. 2024, arXiv:2402.01306; Shao et al. 2024,
    arXiv:2402.03300."""
    beta: NonNegativeFloat = 0.1
    """Weight of staying near the starting model; 0 only for grpo, where no reference is then kept."""
    loss: Literal["sigmoid", "hinge", "ipo", "robust", "apo_zero", "apo_down"] = "sigmoid"
    """dpo: TRL's ``loss_type``."""
    desirable_weight: PositiveFloat = 1.0
    """kto."""
    undesirable_weight: PositiveFloat = 1.0
    """kto."""
    reward: Literal["final_number", "exact_match"] = "final_number"
    """grpo: what an answer is checked by; see ``megalite.posttraining.rewards``."""
    generations: Annotated[int, Field(ge=2, le=4096)] = 8
    """grpo: answers drawn for a prompt; the advantage is relative to their mean."""
    max_new_tokens: Positions = 256
    """grpo."""
    temperature: PositiveFloat = 1.0
    """grpo."""


class TuningRun(Section):
    """What both commands have."""

    run: RunSection
    model: StartSection
    lora: LoraSection | None = None
    data: RowsSection
    batch: BatchSection
    optimizer: OptimizerSection
    schedule: ScheduleSection = ScheduleSection()
    training: TuningSection
    validation: HeldOutSection = HeldOutSection()
    checkpoint: CheckpointSection = CheckpointSection()
    logging: LoggingSection = LoggingSection()


class SftRun(TuningRun):
    """A run of ``tools/sft.py``."""

    data: ChatRowsSection


class PreferenceRun(TuningRun):
    """A run of ``tools/preferences.py``."""

    preference: PreferenceSection = PreferenceSection()

    @model_validator(mode="before")
    @classmethod
    def _no_packing(cls, values: Any) -> Any:
        data = values.get("data") if isinstance(values, dict) else None
        if isinstance(data, dict) and "packing" in data:
            raise ValueError("data.packing is a key of tools/sft.py; pairs are not packed: remove it")
        return values

    @model_validator(mode="after")
    def _beta_of_a_reference(self) -> "PreferenceRun":
        if self.preference.beta == 0 and self.preference.method != "grpo":
            raise ValueError(f"preference.beta=0 leaves {self.preference.method} without a reward; give a positive one")
        return self

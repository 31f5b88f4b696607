"""Every key of a post-training YAML. Sections that pretraining has too are imported from its schema."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from megalite.config.bounds import EverySteps, Positions, Steps, Width, unit
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
    """The model to tune."""

    path: str
    """Hugging Face folder (``runs/NAME/step-000500/hf``), run folder, or name on the hub."""
    attention: Literal["sdpa", "eager", "flash_attention_2", "flash_attention_3"] = "sdpa"
    """Attention implementation, transformers' ``attn_implementation``."""


class LoraSection(Section):
    """Low-rank adapters, trained instead of all weights (Hu et al. 2021, arXiv:2106.09685, section 4.1)."""

    rank: Width = 16
    """r, the rank of an adapter."""
    alpha: PositiveFloat = 32
    """Scale of an adapter: its output is multiplied by ``alpha / rank``."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Probability of dropout on an adapter's input."""
    target_modules: str | tuple[str, ...] = "all-linear"
    """Names of the linear layers that get an adapter; ``all-linear`` is every linear layer except the head."""


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Inputs = Annotated[tuple[str, ...], Field(min_length=1), BeforeValidator(_as_tuple)]
Column = Literal["messages", "system", "prompt", "input", "completion", "chosen", "rejected", "label"]


class RowsSection(Section):
    """Training and validation rows.

    A relative path is searched for in the current folder, then in the folder of the YAML, then in the repository.
    """

    train: Inputs
    """Files or globs of .jsonl (also .gz or .zst) or .parquet, or ``owner/name:split`` for a dataset on the hub."""
    valid: Inputs | None = None
    """Validation rows, given in the same way; null uses ``valid_fraction``."""
    valid_fraction: Fraction = 0.0
    """Share of ``train`` to hold out, drawn with ``run.seed``; only without ``valid``."""
    columns: dict[Column, str] = Field(default_factory=dict)
    """Column name -> its name in the files, for columns that are not recognised automatically."""
    chat_template: str | None = None
    """Jinja file with the chat template; null uses the tokenizer's own."""
    parse_special_tokens: bool = False
    """Turn text that spells a special token into that token. Rows can then open and close turns."""
    sequence_length: Positions
    """Maximum length of a sample."""
    too_long: Literal["drop", "refuse"] = "drop"
    """What to do with longer samples: drop and count them, or stop. Truncation would teach answers without an end."""
    on_error: Literal["fatal", "skip"] = "fatal"
    """What to do with malformed rows: stop at the first, or skip and count them."""
    max_malformed: Annotated[NonNegativeFloat | None, unit("share or rows")] = None
    """Maximum number of malformed rows with ``on_error: skip``: below 1 a share, from 1 on a count; null is 1 %, or 3
    rows if that is more."""

    @model_validator(mode="after")
    def _one_validation_source(self) -> "RowsSection":
        if self.valid is not None and self.valid_fraction > 0:
            raise ValueError("valid and valid_fraction are both given; keep one")
        return self


class ChatRowsSection(RowsSection):
    """Conversations, or instructions with their answers.

    A relative path is searched for in the current folder, then in the folder of the YAML, then in the repository.
    """

    packing: bool = False
    """Pack several samples into a row of ``sequence_length`` tokens; each sample attends only to itself."""


class TuningSection(Section):
    """Length, precision and memory of a tuning run."""

    steps: Steps | None = None
    """Number of optimizer steps. Give either this or ``epochs``."""
    epochs: Annotated[float, Field(gt=0.0, le=1e6), unit("epochs")] | None = None
    """Number of passes over the training rows. Give either this or ``steps``."""
    precision: Precision = "auto"
    """Precision of the computation, as in pretraining: ``auto`` is ``bf16`` if the device supports it in hardware,
    else ``fp32``."""
    activation_checkpointing: Literal["none", "full"] = "none"
    """``full``: recompute the activations of each decoder layer in the backward pass instead of keeping them."""

    @model_validator(mode="after")
    def _one_length(self) -> "TuningSection":
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give either steps or epochs, and only one")
        return self


class HeldOutSection(Section):
    """Evaluation on the validation rows, also after the last step and, except for DPO and KTO, before the first."""

    every_steps: EverySteps = 100
    """Steps between two evaluations."""
    max_samples: Annotated[PositiveInt | None, unit("samples")] = None
    """Maximum number of samples, from the beginning; null uses all."""


class PreferenceSection(Section):
    """The objective of ``tools/preferences.py``."""

    method: Literal["dpo", "kto", "grpo"] = "dpo"
    """DPO (Rafailov et al. 2023, arXiv:2305.18290), KTO (Ethayarajh et al. 2024, arXiv:2402.01306) or GRPO (Shao et
    al. 2024, arXiv:2402.03300)."""
    beta: NonNegativeFloat = 0.1
    """Strength of the penalty for moving away from the starting model; 0 is allowed only for GRPO and needs no
    reference model."""
    loss: Literal["sigmoid", "hinge", "ipo", "robust", "apo_zero", "apo_down"] = "sigmoid"
    """DPO only: TRL's ``loss_type``."""
    desirable_weight: PositiveFloat = 1.0
    """KTO only: weight of the loss of desirable answers."""
    undesirable_weight: PositiveFloat = 1.0
    """KTO only: weight of the loss of undesirable answers."""
    reward: Literal["final_number", "exact_match"] = "final_number"
    """GRPO only: how an answer is scored; see ``megalite.posttraining.rewards``."""
    generations: Annotated[int, Field(ge=2, le=4096), unit("answers")] = 8
    """GRPO only: answers sampled per prompt; the advantage is relative to their mean."""
    max_new_tokens: Positions = 256
    """GRPO only: maximum length of an answer."""
    temperature: PositiveFloat = 1.0
    """GRPO only: sampling temperature."""


class TuningRun(Section):
    """The sections that fine-tuning and preference tuning share."""

    run: RunSection
    model: StartSection
    lora: LoraSection | None = None
    """Train low-rank adapters; null trains all weights."""
    data: RowsSection
    batch: BatchSection
    optimizer: OptimizerSection
    schedule: ScheduleSection = ScheduleSection()
    training: TuningSection
    validation: HeldOutSection = HeldOutSection()
    checkpoint: CheckpointSection = CheckpointSection()
    logging: LoggingSection = LoggingSection()

    @property
    def folder(self) -> Path:
        """The run folder."""
        return Path(self.run.output_dir) / self.run.name


class SftRun(TuningRun):
    """A fine-tuning run, ``tools/sft.py --config``."""

    data: ChatRowsSection


class PreferenceRun(TuningRun):
    """A preference-tuning run, ``tools/preferences.py --config``."""

    preference: PreferenceSection = PreferenceSection()

    @model_validator(mode="before")
    @classmethod
    def _no_packing(cls, values: Any) -> Any:
        data = values.get("data") if isinstance(values, dict) else None
        if isinstance(data, dict) and "packing" in data:
            raise ValueError("data.packing works with supervised fine-tuning only; remove the key")
        return values

    @model_validator(mode="after")
    def _beta_of_a_reference(self) -> "PreferenceRun":
        if self.preference.beta == 0 and self.preference.method != "grpo":
            raise ValueError(f"preference.beta=0 removes the reward of {self.preference.method}; give a positive value")
        return self

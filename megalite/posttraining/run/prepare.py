"""The first part of every run: check its folder and model, read the rows, load the tokenizer."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from rich.console import Console

from megalite.config.launch import read_launch
from megalite.config.screen import screen
from megalite.huggingface.check_folder import check_model_folder
from megalite.posttraining.mask.doctor import Finding, examine, show, spread
from megalite.posttraining.mask.encoder import ChatEncoder
from megalite.posttraining.model.folder import chat_encoder, load_config_and_tokenizer, read_template, sequence_limit
from megalite.posttraining.model.lora import check_architecture
from megalite.posttraining.rows.chat import Conversation
from megalite.posttraining.rows.ledger import RowLedger
from megalite.posttraining.run.folder import resume_point
from megalite.posttraining.run.samples import Placed, fitting_samples, read_samples
from megalite.posttraining.schema import TuningRun
from megalite.posttraining.settings import Settings, deepspeed_dict

R = TypeVar("R", bound=TuningRun)
T = TypeVar("T")
S = TypeVar("S")


@dataclass(frozen=True)
class Preparation(Generic[R, T]):
    """A run whose rows are read and whose tokenizer is loaded. ``T`` is what a row was parsed into."""

    settings: Settings[R]
    console: Console
    checkpoint: Path | None
    """The checkpoint to resume from."""
    ledger: RowLedger
    train: Placed[T]
    valid: Placed[T] | None
    model_config: Any
    """The model's transformers config."""
    ds_config: dict[str, Any] | None
    """The complete DeepSpeed config."""
    encoder: ChatEncoder

    def examine(self, samples: Placed[Conversation]) -> list[Finding]:
        """Check the masks of some samples and show a few. Raises: DataError."""
        findings = examine(self.encoder, spread(samples), self.settings.config.data.on_error == "skip")
        show(findings, self.encoder, self.console)
        return findings

    def encode(self, encode: Callable[[T], tuple[S, int]]) -> tuple[list[S], list[S] | None]:
        """Training and validation samples that are short enough; see ``fitting_samples``."""
        train = fitting_samples(self.train, encode, self.ledger, self.console, "tokenizing")
        if self.valid is None:
            return train, None
        valid = fitting_samples(self.valid, encode, self.ledger, self.console, "tokenizing validation rows")
        return train, valid[: self.settings.config.validation.max_samples]


def prepare(settings: Settings[R], parse: Callable[[dict[str, Any]], list[T]]) -> Preparation[R, T]:
    """Check everything that can be checked without the weights.

    Args:
        parse: returns the items of a row. Raises: ValueError if the row is broken.

    Raises: ConfigError, DataError, OSError.
    """
    config = settings.config
    console = screen(quiet=not read_launch().is_first)
    if settings.precision_sentence:
        console.print(settings.precision_sentence, highlight=False)
    checkpoint = resume_point(settings)
    check_model_folder(config.model.path)
    template = read_template(config)
    ledger = RowLedger(config.data)
    train, valid = read_samples(config, parse, ledger)
    # Slow imports start here: most mistakes are reported within a second.
    model_config, tokenizer = load_config_and_tokenizer(config.model.path)
    ds_config = deepspeed_dict(settings, model_config.get_text_config().hidden_size)
    sequence_limit(config, model_config)
    check_architecture(config, model_config)
    encoder = chat_encoder(config, tokenizer, template)
    return Preparation(settings, console, checkpoint, ledger, train, valid, model_config, ds_config, encoder)

"""Measure the effect of rounding: the logits of an export against those of the checkpoint's weights."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.progress import Progress
from torch import Tensor

from megalite.config.errors import DataError
from megalite.data.indexed import IndexedDataset
from megalite.export.checkpoint_source import BestTensors
from megalite.export.streamed_model import StreamedModel
from megalite.training.checkpoint.tensor_files import TensorFiles

TOKENS = 256
RANDOM_SEED = 0


@dataclass(frozen=True)
class Difference:
    """The difference between two sets of logits."""

    largest: float
    mean: float
    """Mean absolute difference."""
    same_choice: float
    """Share of positions with the same most likely token."""


@dataclass(frozen=True)
class LogitError:
    """An exported folder compared with the checkpoint's most precise weights, computed in fp32."""

    tokens: int
    text: str
    """Describes the tokens."""
    spread: float
    """Standard deviation of the checkpoint's logits, as a scale for the differences."""
    of_weights: Difference
    """With the exported weights computed in fp32: rounding of the weights alone."""
    of_arithmetic: Difference
    """With the exported weights computed in their dtype, as after ``from_pretrained``."""


def measure_logit_error(
    best: BestTensors, exported: Path, dtype: torch.dtype, input_ids: Tensor, text: str, progress: Progress
) -> LogitError:
    """Compare the logits of ``input_ids`` ``(B, S)``, with one tensor in memory at a time.

    Args:
        exported: a Hugging Face folder with weights in ``dtype``.
        text: describes the tokens.
    """
    written = TensorFiles(exported, "model")
    model = StreamedModel(exported)
    passes = 2 if dtype == torch.float32 else 3
    task = progress.add_task("measuring the logit error", total=passes * model.modules_with_weights)

    def logits(read: Callable[[str], Tensor]) -> Tensor:
        def counted(name: str) -> Tensor:
            progress.advance(task)
            return read(name)

        return model.logits(input_ids, counted).float()

    reference = logits(lambda name: best.read(name).float())
    of_weights = difference(reference, logits(lambda name: written.read(name).float()))
    of_arithmetic = of_weights if dtype == torch.float32 else difference(reference, logits(written.read))
    return LogitError(input_ids.numel(), text, float(reference.std()), of_weights, of_arithmetic)


def difference(reference: Tensor, logits: Tensor) -> Difference:
    """Compare logits ``(B, S, V)``."""
    same = (logits.argmax(dim=-1) == reference.argmax(dim=-1)).double().mean()
    absolute = (logits - reference).abs_()
    return Difference(float(absolute.max()), float(absolute.mean()), float(same))


def tokens_to_measure(valid: str | None, sequence_length: int, vocab_size: int) -> tuple[Tensor, str]:
    """Return about ``TOKENS`` ids ``(B, S)``, S at most ``sequence_length``, and a description of them.

    The ids are the first of the validation data, or random if that cannot be read, as on another machine.

    Args:
        valid: prefix of the run's validation data, or None.
    """
    length = min(TOKENS, sequence_length)
    if valid is None:
        reason = "the run has no validation data"
    else:
        try:
            dataset = IndexedDataset(valid)
            count = min(TOKENS, dataset.num_tokens)
            ids = torch.from_numpy(dataset.read(0, count).astype("int64"))
            if count and int(ids.max()) < vocab_size:
                length = min(length, count)
                ids = ids[: count // length * length].view(-1, length)
                return ids, f"the first {ids.numel()} tokens of the validation data `{valid}`"
            reason = f"the validation data `{valid}` does not fit the model"
        except (DataError, FileNotFoundError):
            reason = f"the validation data `{valid}` could not be read"
    generator = torch.Generator().manual_seed(RANDOM_SEED)
    ids = torch.randint(vocab_size, (TOKENS // length, length), generator=generator)
    return ids, f"{ids.numel()} random token ids (seed {RANDOM_SEED}), because {reason}"

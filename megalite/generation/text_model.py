"""What every way of generating needs: a model, its tokenizer, and perhaps a draft."""

from dataclasses import dataclass
from typing import Any

from megalite.generation.settings import GenerationSettings


@dataclass(frozen=True)
class TextModel:
    """A model and its tokenizer, as loaded by ``huggingface.load.load_model``."""

    model: Any
    tokenizer: Any
    draft: Any | None = None
    """A smaller model with the same vocabulary that proposes tokens (Leviathan et al. 2023, arXiv:2211.17192)."""

    def proposes(self, settings: GenerationSettings) -> bool:
        """Whether a draft or prompt lookup proposes tokens."""
        return self.draft is not None or settings.prompt_lookup > 0

"""Run a Hugging Face model with one tensor in memory at a time."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from megalite.huggingface.load import load_config

EMBEDDING = "model.embed_tokens.weight"
TIED_HEAD = "lm_head.weight"


class StreamedModel:
    """The transformers model of a folder; every module loads its weights when it is called and drops them afterwards."""

    def __init__(self, folder: Path) -> None:
        from accelerate import init_empty_weights
        from transformers import AutoModelForCausalLM

        config = load_config(str(folder))
        with init_empty_weights(include_buffers=False):
            self._model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, trust_remote_code=False).eval()
        self._tied = config.tie_word_embeddings
        self._read: Callable[[str], Tensor]
        self.modules_with_weights = 0
        for prefix, module in self._model.named_modules():
            names = {name: f"{prefix}.{name}" for name, _ in module.named_parameters(recurse=False)}
            if names:
                self._stream(module, names)
                self.modules_with_weights += 1

    def logits(self, input_ids: Tensor, read: Callable[[str], Tensor]) -> Tensor:
        """Logits ``(B, S, V)`` of ``input_ids`` ``(B, S)``.

        Args:
            read: returns a weight by name, in the dtype of the computation; not called for a tied head.
        """
        self._read = read
        with torch.inference_mode():
            logits: Tensor = self._model(input_ids, use_cache=False).logits
        return logits

    def _stream(self, module: nn.Module, names: dict[str, str]) -> None:
        absent = {name: getattr(module, name) for name in names}

        def load(*_: Any) -> None:
            for name, full_name in names.items():
                source = EMBEDDING if self._tied and full_name == TIED_HEAD else full_name
                setattr(module, name, nn.Parameter(self._read(source), requires_grad=False))

        def drop(*_: Any) -> None:
            for name, parameter in absent.items():
                setattr(module, name, parameter)

        module.register_forward_pre_hook(load)
        module.register_forward_hook(drop)

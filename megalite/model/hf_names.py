"""The names of parameters in a Hugging Face folder."""

from collections.abc import Iterator

from torch import nn

EMBEDDING_PREFIX = "model.embed_tokens."
"""Prefix of the embedding and of a head tied to it."""


def named_hf_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yields ``("model.layers.3.self_attn.q_proj.weight", parameter)`` and so on, in the order of the layers.

    Every layer of the list has an ``hf_prefix``; inside a layer the names are those of transformers. A tied head shares the
    embedding's parameter, which is yielded once, under the embedding's name.
    """
    seen = set()
    for layer in model.modules():
        prefix = getattr(layer, "hf_prefix", None)
        if prefix is None:
            continue
        for name, parameter in layer.named_parameters():
            if id(parameter) not in seen:
                seen.add(id(parameter))
                yield prefix + name, parameter

"""The one list of layers that every form of the model is built from."""

from collections.abc import Iterable
from functools import partial
from typing import Any

from torch import Tensor, nn

from megalite.config.model import ModelConfig
from megalite.model.decoder_layer import DecoderLayer
from megalite.model.documents import Documents
from megalite.model.head import Head
from megalite.model.hf_names import EMBEDDING_PREFIX
from megalite.model.layer_execution import LayerExecution
from megalite.model.norm import RMSNorm
from megalite.model.rope import RopeTables
from megalite.parallel.embedding import VocabParallelEmbedding
from megalite.parallel.mesh import Mesh


class Embedding(VocabParallelEmbedding):
    """Token ids ``(B, S)`` -> hidden states ``(B, S, H)``."""

    hf_prefix = EMBEDDING_PREFIX


class FinalNorm(RMSNorm):
    """The norm after the last decoder layer."""

    hf_prefix = "model.norm."


def layer_list(config: ModelConfig, mesh: Mesh, execution: LayerExecution) -> list[partial[Any]]:
    """Embedding, every decoder layer, final norm, head: each maps the output of the one before.

    They are not built yet, so that a pipeline stage allocates its own only. With ``tie_word_embeddings`` whoever builds
    both ends of the list makes the head's weight the embedding's.
    """
    rope = RopeTables(config.rope_parameters, config.head_size)
    layers: list[partial[Any]] = [partial(Embedding, config.vocab_size, config.hidden_size, mesh)]
    for index in range(config.num_hidden_layers):
        layers.append(partial(DecoderLayer, config, mesh, index, rope, execution))
    layers.append(partial(FinalNorm, config.hidden_size, config.rms_norm_eps, mesh))
    layers.append(partial(Head, config, mesh))
    return layers


def run_layers(layers: Iterable[nn.Module], x: Tensor, positions: Tensor | None) -> Tensor:
    """Run ``x`` through consecutive layers of the list, not including the head.

    Args:
        positions: ``(B, S)`` of the whole sequence, 0 where a document begins: attention then stays inside documents.
            None is one document a row.
    """
    documents = None if positions is None else Documents.of(positions)
    for layer in layers:
        x = layer(x, documents) if isinstance(layer, DecoderLayer) else layer(x)
    return x

"""The list of layers from which both the plain model and the pipeline stages are built."""

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
    """Constructors of the embedding, every decoder layer, the final norm and the head.

    Each layer takes the output of the layer before it. The constructors are not called here, so that a pipeline stage
    allocates only its own layers. With ``tie_word_embeddings`` the caller makes the embedding's weight that of the head.
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
        positions: ``(B, S)`` for the whole sequence, 0 where a document begins; attention then stays within documents.
            None is one document per row.
    """
    documents = None if positions is None else Documents.of(positions)
    for layer in layers:
        x = layer(x, documents) if isinstance(layer, DecoderLayer) else layer(x)
    return x

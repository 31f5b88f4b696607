"""The one list of layers that every form of the model is built from."""

from torch import nn

from megalite.config.model import ModelConfig
from megalite.model.decoder_layer import DecoderLayer
from megalite.model.norm import RMSNorm
from megalite.model.rope import RopeTables
from megalite.parallel.embedding import VocabParallelEmbedding
from megalite.parallel.linear import ColumnParallelLinear
from megalite.parallel.mesh import Mesh


class Embedding(VocabParallelEmbedding):
    """Token ids ``(B, S)`` -> hidden states ``(B, S, H)``."""

    hf_prefix = "model.embed_tokens."


class FinalNorm(RMSNorm):
    """The norm after the last decoder layer."""

    hf_prefix = "model.norm."


class Head(ColumnParallelLinear):
    """Hidden states ``(B, S, H)`` -> logits ``(B, S, V/t)``, V padded to a multiple of t."""

    hf_prefix = "lm_head."


def layer_list(config: ModelConfig, mesh: Mesh, checkpoint_activations: bool = False) -> list[nn.Module]:
    """Embedding, every decoder layer, final norm, head: each maps the output of the one before.

    With ``tie_word_embeddings`` the head's weight is the embedding's.
    """
    embedding = Embedding(config.vocab_size, config.hidden_size, mesh)
    rope = RopeTables(config.rope_parameters, config.head_size)
    layers = range(config.num_hidden_layers)
    decoder = [DecoderLayer(config, mesh, index, rope, checkpoint_activations) for index in layers]
    norm = FinalNorm(config.hidden_size, config.rms_norm_eps)
    head = Head(config.hidden_size, config.vocab_size, mesh, pad=True)
    if config.tie_word_embeddings:
        head.weight = embedding.weight
    return [embedding, *decoder, norm, head]

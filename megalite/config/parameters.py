"""Parameter counts of the decoder, from its config alone."""

from megalite.config.model import ModelConfig


def layer_parameters(model: ModelConfig) -> int:
    """Parameters of one decoder layer: attention, SwiGLU, two norms, biases where asked for."""
    return attention_weights(model) + mlp_weights(model) + 2 * model.hidden_size + _layer_biases(model)


def attention_weights(model: ModelConfig) -> int:
    """``H*N*D`` for queries and outputs each, ``H*K*D`` for keys and values each."""
    queries = model.num_attention_heads * model.head_size
    keys = model.key_value_heads * model.head_size
    return 2 * model.hidden_size * (queries + keys)


def mlp_weights(model: ModelConfig) -> int:
    """Gate, up and down projections: ``3*H*F`` (Shazeer 2020, arXiv:2002.05202)."""
    return 3 * model.hidden_size * model.intermediate_size


def head_weights(model: ModelConfig) -> int:
    """``V*H``, tied or not."""
    return model.vocab_size * model.hidden_size


def total_parameters(model: ModelConfig) -> int:
    """Everything that is trained; a tied head counts once."""
    embeddings = model.vocab_size * model.hidden_size * (1 if model.tie_word_embeddings else 2)
    return embeddings + model.num_hidden_layers * layer_parameters(model) + model.hidden_size


def matmul_parameters(model: ModelConfig) -> int:
    """Weights that multiply every token: the layers' matrices and the head, not the embedding table's look-up."""
    per_layer = attention_weights(model) + mlp_weights(model)
    return model.num_hidden_layers * per_layer + head_weights(model)


def _layer_biases(model: ModelConfig) -> int:
    heads = model.num_attention_heads + 2 * model.key_value_heads
    attention = heads * model.head_size + model.hidden_size if model.attention_bias else 0
    mlp = 2 * model.intermediate_size + model.hidden_size if model.mlp_bias else 0
    return attention + mlp

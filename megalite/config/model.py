"""The model section of a config, with the names of ``transformers.LlamaConfig``."""

from typing import Literal

from pydantic import Field, PositiveFloat, model_validator

from megalite.config.bounds import Layers, Positions, Vocabulary, Width
from megalite.config.section import Section


class RopeParameters(Section):
    """Rotary position embedding, as in ``LlamaConfig.rope_parameters`` (Su et al. 2021, arXiv:2104.09864)."""

    rope_type: Literal["default", "linear", "llama3"] = "default"
    """Scaling for longer sequences. ``linear`` divides the positions by ``factor``; ``llama3`` is the frequency-dependent
    scaling of Llama 3.1 (arXiv:2407.21783)."""
    rope_theta: PositiveFloat = 10000.0
    """Base of the rotation frequencies."""
    factor: float | None = Field(default=None, ge=1.0)
    """Scaling factor; for ``linear`` and ``llama3``."""
    low_freq_factor: PositiveFloat | None = None
    """``llama3`` divides a frequency by ``factor`` if its wavelength is above ``original_max_position_embeddings`` divided
    by this number."""
    high_freq_factor: PositiveFloat | None = None
    """``llama3`` keeps a frequency if its wavelength is below ``original_max_position_embeddings`` divided by this
    number."""
    original_max_position_embeddings: Positions | None = None
    """Sequence length in tokens before scaling; for ``llama3``."""

    @model_validator(mode="after")
    def _scaling_is_complete(self) -> "RopeParameters":
        llama3 = {"low_freq_factor", "high_freq_factor", "original_max_position_embeddings"}
        needed = {"default": set(), "linear": {"factor"}, "llama3": {"factor"} | llama3}[self.rope_type]
        given = {name for name in {"factor"} | llama3 if getattr(self, name) is not None}
        if missing := needed - given:
            raise ValueError(f"rope_type '{self.rope_type}' needs {', '.join(sorted(missing))}")
        if unused := given - needed:
            raise ValueError(f"rope_type '{self.rope_type}' does not use {', '.join(sorted(unused))}; remove it")
        low, high = self.low_freq_factor, self.high_freq_factor
        if low is not None and high is not None and high <= low:
            raise ValueError(f"high_freq_factor={high} must be larger than low_freq_factor={low}")
        return self


class ModelConfig(Section):
    """A Llama-family decoder: RoPE, RMSNorm before each block, grouped-query attention, SwiGLU."""

    vocab_size: Vocabulary
    """V, the rows of the embedding: at least the size of the tokenizer. Multiples of 64 or 128 are faster."""
    hidden_size: Width
    """H, the width of the residual stream."""
    intermediate_size: Width
    """F, the width of the feed-forward block."""
    num_hidden_layers: Layers
    """L, the number of decoder layers."""
    num_attention_heads: Width
    """N, the number of query heads."""
    num_key_value_heads: Width | None = None
    """K, the number of key/value heads; null is N. Fewer than N is grouped-query attention (Ainslie et al. 2023,
    arXiv:2305.13245)."""
    head_dim: Width | None = None
    """D, the width of one head; null is ``hidden_size / num_attention_heads``."""
    hidden_act: Literal["silu"] = "silu"
    """Activation function of the feed-forward block; SiLU is the only one."""
    max_position_embeddings: Positions = 2048
    """Maximum sequence length in tokens; at least ``data.sequence_length``."""
    initializer_range: PositiveFloat = 0.02
    """Standard deviation of the initial weights."""
    rms_norm_eps: PositiveFloat = 1e-5
    """Term added to the mean square in RMSNorm."""
    tie_word_embeddings: bool = False
    """Use the embedding as the output head."""
    rope_parameters: RopeParameters = RopeParameters()
    """Rotary position embedding."""
    attention_bias: bool = False
    """Add a bias to the query, key, value and output projections."""
    mlp_bias: bool = False
    """Add a bias to the gate, up and down projections."""

    @model_validator(mode="after")
    def _heads_divide(self) -> "ModelConfig":
        if self.head_dim is None and self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size={self.hidden_size} is not a multiple of num_attention_heads={self.num_attention_heads}; "
                f"change one of them or set head_dim"
            )
        if self.num_attention_heads % self.key_value_heads:
            raise ValueError(
                f"num_attention_heads={self.num_attention_heads} is not a multiple of "
                f"num_key_value_heads={self.num_key_value_heads}: every key/value head serves equally many queries"
            )
        if self.head_size % 2:
            raise ValueError(f"head_dim={self.head_size} is odd; RoPE rotates pairs, so it must be even")
        return self

    @property
    def head_size(self) -> int:
        """D, the width of one head."""
        return self.head_dim or self.hidden_size // self.num_attention_heads

    @property
    def key_value_heads(self) -> int:
        """K, the number of key/value heads."""
        return self.num_key_value_heads or self.num_attention_heads

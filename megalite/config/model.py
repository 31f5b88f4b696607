"""The decoder's shape, in the names of ``transformers.LlamaConfig``."""

from typing import Literal

from pydantic import Field, PositiveFloat, model_validator

from megalite.config.bounds import Layers, Positions, Vocabulary, Width
from megalite.config.section import Section


class RopeParameters(Section):
    """Rotary embedding, as ``LlamaConfig.rope_parameters`` (Su et al. 2021, arXiv:2104.09864)."""

    rope_type: Literal["default", "linear", "llama3"] = "default"
    """``llama3`` is the frequency-dependent scaling of Llama 3.1 (arXiv:2407.21783); ``linear`` divides positions."""
    rope_theta: PositiveFloat = 10000.0
    factor: float | None = Field(default=None, ge=1.0)
    low_freq_factor: PositiveFloat | None = None
    high_freq_factor: PositiveFloat | None = None
    original_max_position_embeddings: Positions | None = None

    @model_validator(mode="after")
    def _scaling_is_complete(self) -> "RopeParameters":
        llama3 = {"low_freq_factor", "high_freq_factor", "original_max_position_embeddings"}
        needed = {"default": set(), "linear": {"factor"}, "llama3": {"factor"} | llama3}[self.rope_type]
        given = {name for name in {"factor"} | llama3 if getattr(self, name) is not None}
        if missing := needed - given:
            raise ValueError(f"rope_type '{self.rope_type}' needs {', '.join(sorted(missing))}")
        if unused := given - needed:
            raise ValueError(f"rope_type '{self.rope_type}' does not read {', '.join(sorted(unused))}; remove it")
        low, high = self.low_freq_factor, self.high_freq_factor
        if low is not None and high is not None and high <= low:
            raise ValueError(f"high_freq_factor={high} must be larger than low_freq_factor={low}")
        return self


class ModelConfig(Section):
    """A Llama-family decoder: RoPE, RMSNorm before each block, grouped-query attention, SwiGLU."""

    vocab_size: Vocabulary
    """V, the rows of the embedding; at least the tokenizer's size (a multiple of 64 or 128 is faster)."""
    hidden_size: Width
    intermediate_size: Width
    num_hidden_layers: Layers
    num_attention_heads: Width
    num_key_value_heads: Width | None = None
    """K; fewer than N is grouped-query attention (Ainslie et al. 2023, arXiv:2305.13245). Default N."""
    head_dim: Width | None = None
    """D; default hidden_size / num_attention_heads."""
    hidden_act: Literal["silu"] = "silu"
    max_position_embeddings: Positions = 2048
    initializer_range: PositiveFloat = 0.02
    rms_norm_eps: PositiveFloat = 1e-5
    tie_word_embeddings: bool = False
    rope_parameters: RopeParameters = RopeParameters()
    attention_bias: bool = False
    mlp_bias: bool = False

    @model_validator(mode="after")
    def _heads_divide(self) -> "ModelConfig":
        if self.head_dim is None and self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size={self.hidden_size} does not divide by num_attention_heads={self.num_attention_heads}; "
                f"change one of them or set head_dim"
            )
        if self.num_attention_heads % self.key_value_heads:
            raise ValueError(
                f"num_attention_heads={self.num_attention_heads} does not divide by "
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

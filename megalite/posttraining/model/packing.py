"""May samples be packed with this model? Asked of the model itself: a leak between documents shows in its output."""

import copy
from typing import Any

from megalite.config.errors import ConfigError

FIRST, SECOND = 5, 7
TOLERANCE = 1e-4


def packing_leak(config: Any, attention: str, device: str = "cpu") -> float:
    """How far the output on a document moves when another is packed before it, relative to its size; 0 is no leak.

    A narrow model of the same kind with random weights is asked, in fp32 with the attention of the run; documents are
    told apart by ``position_ids`` that begin again at 0, as TRL's packing collator gives them.

    Raises: whatever the model raises where it cannot be built or run so.
    """
    import torch
    import transformers

    narrow = narrow_config(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(
            narrow, attn_implementation=attention, trust_remote_code=False
        )
        # Embeddings far apart and wide weights: a leak must not drown in an initialisation that is nearly zero.
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.5)
        model = model.to(device).float().eval()
        ids = torch.randint(5, narrow.get_text_config().vocab_size, (1, FIRST + SECOND)).to(device)
    positions = torch.cat([torch.arange(FIRST), torch.arange(SECOND)])[None].to(device)
    bounds = torch.tensor([0, FIRST, FIRST + SECOND], dtype=torch.int32, device=device)
    longest = {"max_length_q": SECOND, "max_length_k": SECOND}
    with torch.no_grad():
        packed = model(
            input_ids=ids,
            position_ids=positions,
            cu_seq_lens_q=bounds,
            cu_seq_lens_k=bounds,
            **longest,
            use_cache=False,
        ).logits[:, FIRST:]
        alone = model(input_ids=ids[:, FIRST:], use_cache=False).logits
    return float((packed - alone).abs().max() / alone.abs().max())


def narrow_config(config: Any) -> Any:
    """The same architecture, every layer kept, with few channels and a small vocabulary."""
    narrow = copy.deepcopy(config)
    text = narrow.get_text_config()
    heads = text.num_attention_heads
    text.hidden_size, text.intermediate_size, text.vocab_size = 8 * heads, 16, 64
    if getattr(text, "head_dim", None) is not None:
        text.head_dim = 8
    text.pad_token_id = text.bos_token_id = text.eos_token_id = None
    return narrow


def check_packing(config: Any, attention: str) -> None:
    """Refuse packing where documents would see each other, or where that cannot be found out. Raises: ConfigError."""
    remedy = "set data.packing to false"
    try:
        leak = packing_leak(config, attention, _device(attention))
    except Exception as error:  # any architecture may fail in its own way; then nothing is proven
        raise ConfigError(
            f"data.packing: cannot show that a {config.model_type} model keeps packed documents apart "
            f"({' '.join(str(error).split())[:200]}); {remedy}"
        ) from None
    if not leak < TOLERANCE:
        raise ConfigError(
            f"data.packing: a {config.model_type} model with {attention} attention lets packed documents see each other "
            f"(its output moves by {leak:.1%}); {remedy}, or take another model.attention"
        )


def _device(attention: str) -> str:
    import torch

    return "cuda" if attention.startswith("flash") and torch.cuda.is_available() else "cpu"

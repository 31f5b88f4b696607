"""Check by a forward pass whether a model keeps packed samples apart."""

import copy
from typing import Any

from megalite.config.errors import ConfigError, in_one_line

FIRST, SECOND = 5, 7
TOLERANCE = 1e-4


def packing_leak(config: Any, attention: str, device: str = "cpu") -> float:
    """Largest relative change of a document's logits when another document is packed before it; 0 means no leak.

    The check runs a narrow model of the same architecture with random weights, in fp32 and with the run's attention.
    Documents are separated by ``position_ids`` that restart at 0, as in TRL's packing collator.

    Raises: any exception of the model, if it cannot be built or run like this.
    """
    import torch
    import transformers

    narrow = narrow_config(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(
            narrow, attn_implementation=attention, trust_remote_code=False
        )
        # Large weights: with the usual initialization, a leak would be too small to see.
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
    """The same architecture and layers, with few channels and a small vocabulary."""
    narrow = copy.deepcopy(config)
    text = narrow.get_text_config()
    heads = text.num_attention_heads
    text.hidden_size, text.intermediate_size, text.vocab_size = 8 * heads, 16, 64
    if getattr(text, "head_dim", None) is not None:
        text.head_dim = 8
    text.pad_token_id = text.bos_token_id = text.eos_token_id = None
    return narrow


def check_packing(config: Any, attention: str) -> None:
    """Refuse packing if documents would attend to each other or the check fails. Raises: ConfigError."""
    remedy = "set data.packing to false"
    try:
        leak = packing_leak(config, attention, _device(attention))
    except Exception as error:  # every architecture may fail in its own way
        raise ConfigError(
            f"data.packing: cannot check whether a {config.model_type} model keeps packed documents apart "
            f"({in_one_line(error)}); {remedy}"
        ) from None
    if not leak < TOLERANCE:
        raise ConfigError(
            f"data.packing: a {config.model_type} model with {attention} attention lets packed documents attend to each "
            f"other (its output changes by {leak:.1%}); {remedy}, or choose another model.attention"
        )


def _device(attention: str) -> str:
    import torch

    return "cuda" if attention.startswith("flash") and torch.cuda.is_available() else "cpu"

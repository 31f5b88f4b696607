"""Adapters: PEFT's config from the run's, and names of layers that do not exist refused before anything is loaded."""

from typing import Any

from megalite.config.errors import ConfigError
from megalite.posttraining.schema import LoraSection, TuningRun


def peft_config(config: TuningRun) -> Any:
    """PEFT's ``LoraConfig``, or None without ``lora``."""
    if config.lora is None:
        return None
    import peft

    lora = config.lora
    modules = "all-linear" if lora.target_modules == "all-linear" else list(target_names(lora))
    return peft.LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=modules, task_type="CAUSAL_LM"
    )


def target_names(lora: LoraSection) -> tuple[str, ...]:
    """``target_modules`` as a tuple."""
    return (lora.target_modules,) if isinstance(lora.target_modules, str) else lora.target_modules


def check_architecture(config: TuningRun, model_config: Any) -> None:
    """Build the model without memory for its weights: attention and adapters are there, or the run is refused.

    Raises: ConfigError.
    """
    import torch
    import transformers

    try:
        with torch.device("meta"):
            model = transformers.AutoModelForCausalLM.from_config(
                model_config, attn_implementation=config.model.attention, trust_remote_code=False
            )
    except (ImportError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"model.attention={config.model.attention}: not to be had here: {reason}") from None
    if config.lora is None or config.lora.target_modules == "all-linear":
        return
    head = model.get_output_embeddings()
    linear = {
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    }
    for name in target_names(config.lora):
        if name.rpartition(".")[2] not in linear:
            raise ConfigError(
                f"lora.target_modules: '{name}' is no linear layer that can be adapted; a {model_config.model_type} model "
                f"has {', '.join(sorted(linear))}"
            )

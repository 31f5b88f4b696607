"""LoRA: PEFT's config, and a check of the attention and the layer names before the weights are loaded."""

from typing import Any

from megalite.config.errors import ConfigError, in_one_line
from megalite.posttraining.schema import LoraSection, TuningRun


def peft_config(config: TuningRun) -> Any:
    """PEFT's ``LoraConfig``, or None without ``lora``."""
    if config.lora is None:
        return None
    import peft

    lora = config.lora
    options: dict[str, Any] = {
        "r": lora.rank,
        "lora_alpha": lora.alpha,
        "lora_dropout": lora.dropout,
        "target_modules": "all-linear" if lora.target_modules == "all-linear" else list(target_names(lora)),
        "task_type": "CAUSAL_LM",
    }
    return peft.LoraConfig(**options)


def target_names(lora: LoraSection) -> tuple[str, ...]:
    return (lora.target_modules,) if isinstance(lora.target_modules, str) else lora.target_modules


def check_architecture(config: TuningRun, model_config: Any) -> None:
    """Build the model on the meta device to check ``model.attention`` and ``lora.target_modules``. Raises: ConfigError."""
    import torch
    import transformers

    try:
        with torch.device("meta"):
            model = transformers.AutoModelForCausalLM.from_config(
                model_config, attn_implementation=config.model.attention, trust_remote_code=False
            )
    except (ImportError, ValueError) as error:
        raise ConfigError(f"model.attention={config.model.attention}: not available: {in_one_line(error)}") from None
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
                f"lora.target_modules: '{name}' is not a linear layer that can be adapted; a {model_config.model_type} "
                f"model has {', '.join(sorted(linear))}"
            )

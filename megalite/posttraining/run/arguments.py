"""The run's facts under the names of transformers' and TRL's arguments."""

from typing import Any

from megalite.posttraining.run.folder import tuning_folder
from megalite.posttraining.schema import TuningRun
from megalite.posttraining.settings import Settings


def training_arguments(settings: Settings[Any], ds_config: dict[str, Any] | None, has_valid: bool) -> dict[str, Any]:
    """The keywords that every TRL config takes from a run."""
    import torch

    config: TuningRun = settings.config
    batch, optimizer, training = config.batch, config.optimizer, config.training
    length = {"max_steps": training.steps} if training.steps is not None else {"num_train_epochs": training.epochs}
    recompute = {"gradient_checkpointing_kwargs": {"use_reentrant": False}} if training.checkpoint_activations else {}
    return {
        "output_dir": str(tuning_folder(config)),
        "seed": config.run.seed,
        "data_seed": config.run.seed,
        "per_device_train_batch_size": batch.micro_batch_size,
        "per_device_eval_batch_size": batch.micro_batch_size,
        "gradient_accumulation_steps": settings.accumulation_steps,
        "learning_rate": optimizer.lr,
        "adam_beta1": optimizer.betas[0],
        "adam_beta2": optimizer.betas[1],
        "adam_epsilon": optimizer.eps,
        "weight_decay": optimizer.weight_decay,
        "max_grad_norm": optimizer.gradient_clipping,
        **length,
        "bf16": training.precision == "bf16",
        "gradient_checkpointing": training.checkpoint_activations,
        **recompute,
        "logging_steps": config.logging.every_steps,
        "logging_first_step": True,
        "logging_nan_inf_filter": False,  # it would replace a loss that is no number by an older one
        "save_strategy": "steps",
        "save_steps": config.checkpoint.every_steps,
        "save_total_limit": config.checkpoint.keep_last,
        "eval_strategy": "steps" if has_valid else "no",
        "eval_steps": config.validation.every_steps,
        "eval_on_start": has_valid and settings.resume is None,
        "dataloader_drop_last": True,  # a short last batch would be filled up with samples that were seen already
        "dataloader_pin_memory": torch.accelerator.is_available(),
        "use_cpu": not torch.accelerator.is_available(),
        "disable_tqdm": True,
        "report_to": ["tensorboard"] if config.logging.tensorboard else [],
        "deepspeed": ds_config,
        "trust_remote_code": False,
    }


def weight_options(config: TuningRun, ds_config: dict[str, Any] | None) -> dict[str, Any]:
    """How the weights are loaded; TRL loads the reference like the policy.

    bf16 where DeepSpeed keeps fp32 masters beside them or where they are frozen under adapters; else fp32, the products in
    bf16 by autocast.
    """
    halved = config.training.precision == "bf16" and (ds_config is not None or config.lora is not None)
    return {"dtype": "bfloat16" if halved else "float32", "attn_implementation": config.model.attention}

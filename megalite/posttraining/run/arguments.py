"""The run's settings as the arguments of transformers' and TRL's trainers."""

from typing import Any

from megalite.posttraining.schema import TuningRun
from megalite.posttraining.settings import Settings


def training_arguments(settings: Settings[Any], ds_config: dict[str, Any] | None, has_valid: bool) -> dict[str, Any]:
    """Arguments shared by all TRL configs."""
    import torch

    config: TuningRun = settings.config
    batch, optimizer, training = config.batch, config.optimizer, config.training
    length = {"max_steps": training.steps} if training.steps is not None else {"num_train_epochs": training.epochs}
    checkpointing = training.activation_checkpointing == "full"
    return {
        "output_dir": str(config.folder),
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
        "gradient_checkpointing": checkpointing,
        **({"gradient_checkpointing_kwargs": {"use_reentrant": False}} if checkpointing else {}),
        "logging_steps": config.logging.every_steps,
        "logging_first_step": True,
        "logging_nan_inf_filter": False,  # the filter would replace a NaN loss by an older one
        "save_strategy": "steps",
        "save_steps": config.checkpoint.every_steps,
        "save_total_limit": config.checkpoint.keep_last,
        "eval_strategy": "steps" if has_valid else "no",
        "eval_steps": config.validation.every_steps,
        "eval_on_start": has_valid and settings.resume is None,
        "dataloader_drop_last": True,  # otherwise accelerate fills a short last batch with samples of the epoch
        "dataloader_pin_memory": torch.accelerator.is_available(),
        "use_cpu": not torch.accelerator.is_available(),
        "disable_tqdm": True,
        "report_to": ["tensorboard"] if config.logging.tensorboard else [],
        "deepspeed": ds_config,
        "trust_remote_code": False,
    }


def weight_options(config: TuningRun, ds_config: dict[str, Any] | None) -> dict[str, Any]:
    """Arguments for loading the weights; TRL loads the reference model in the same way.

    Weights are bf16 if DeepSpeed keeps fp32 master weights or if they are frozen below adapters. Otherwise they are fp32
    and autocast computes in bf16.
    """
    in_bf16 = config.training.precision == "bf16" and (ds_config is not None or config.lora is not None)
    return {"dtype": "bfloat16" if in_bf16 else "float32", "attn_implementation": config.model.attention}

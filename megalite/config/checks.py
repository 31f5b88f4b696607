"""Checks across sections of a run: schedule, sequence length and batch arithmetic."""

from megalite.config.errors import ConfigError
from megalite.config.mix import check_mix
from megalite.config.schema import OptimizerSection, RunConfig, ScheduleSection


def check_run(config: RunConfig, source: str) -> None:
    """Raises: ConfigError naming ``source`` if sections contradict each other."""
    data = config.data
    check_learning(config.optimizer, config.schedule, config.training.steps, source)
    if data.sequence_length > config.model.max_position_embeddings:
        raise ConfigError(
            f"{source}: data.sequence_length={data.sequence_length} is more than model.max_position_embeddings="
            f"{config.model.max_position_embeddings}; raise the latter, which exports state as the maximum length"
        )
    check_mix(config, source)


def check_learning(optimizer: OptimizerSection, schedule: ScheduleSection, steps: int | None, source: str) -> None:
    """Checks that the schedule and the optimizer can train.

    Args:
        steps: of the whole run; None if the number of rows decides it.

    Raises: ConfigError naming ``source``.
    """
    if steps is not None and schedule.warmup_steps > steps:
        raise ConfigError(
            f"{source}: schedule.warmup_steps={schedule.warmup_steps} is more than training.steps={steps}; the learning "
            f"rate would never reach its peak; lower warmup_steps"
        )
    if optimizer.lr * optimizer.weight_decay >= 1:
        raise ConfigError(
            f"{source}: optimizer.lr={optimizer.lr:g} x optimizer.weight_decay={optimizer.weight_decay:g} is 1 or more: "
            f"every step would decay weights to zero or below; lower one of them"
        )


def accumulation_steps(micro_batch_size: int, global_batch_size: int, data_parallel_size: int) -> int:
    """Returns the micro-batches of one rank in an optimizer step: global / (micro * d).

    Raises: ConfigError with the arithmetic if it does not divide.
    """
    together = micro_batch_size * data_parallel_size
    if global_batch_size % together:
        fitting = max(together, global_batch_size // together * together)
        raise ConfigError(
            f"batch.global_batch_size={global_batch_size} is not a multiple of batch.micro_batch_size={micro_batch_size}"
            f" x {data_parallel_size} data-parallel ranks = {together}; use {fitting} or {fitting + together}, "
            f"or change the micro batch"
        )
    return global_batch_size // together

"""Types of the keys of a DeepSpeed JSON that DeepSpeed 0.19 reads without validation.

A test compares the keys with the installed DeepSpeed.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class ActivationCheckpointing(_Section):
    """``activation_checkpointing``."""

    partition_activations: bool = False
    contiguous_memory_optimization: bool = False
    cpu_checkpointing: bool = False
    number_checkpoints: PositiveInt | None = None
    synchronize_checkpoint_boundary: bool = False
    profile: bool = False


class FlopsProfiler(_Section):
    """``flops_profiler``."""

    enabled: bool = False
    recompute_fwd_factor: Annotated[float, Field(ge=0.0)] = 0.0
    profile_step: PositiveInt = 1
    module_depth: Annotated[int, Field(ge=-1)] = -1
    top_modules: PositiveInt = 1
    detailed: bool = True
    output_file: str | None = None


class Aio(_Section):
    """``aio``."""

    block_size: PositiveInt = 2**20
    queue_depth: PositiveInt = 8
    intra_op_parallelism: PositiveInt = 1
    single_submit: bool = False
    overlap_events: bool = True
    use_gds: bool = False


class Pipeline(_Section):
    """``pipeline``."""

    pipe_partitioned: bool = True
    grad_partitioned: bool = True
    activation_checkpoint_interval: NonNegativeInt = 0
    stages: Literal["auto"] | PositiveInt = "auto"
    partition: str = "best"
    seed_layers: bool = False
    use_reentrant: bool = True


class Throughput(_Section):
    """``timers.throughput``."""

    enabled: bool = True
    synchronized: bool = True


class Timers(_Section):
    """``timers``."""

    throughput: Throughput = Throughput()


class TopLevel(_Section):
    """Keys at the top level."""

    communication_data_type: Literal["fp32", "fp16", "bf16"] | None = None
    prescale_gradients: bool = False
    gradient_predivide_factor: Annotated[float, Field(gt=0.0)] = 1.0
    disable_allgather: bool = False
    dump_state: bool = False
    disable_python_gc: bool = False
    wall_clock_breakdown: bool = False
    memory_breakdown: bool = False
    steps_per_print: PositiveInt = 10
    zero_allow_untested_optimizer: bool = False
    zero_force_ds_cpu_optimizer: bool = True
    log_level: Literal["debug", "info", "warning", "error", "critical"] = "warning"


SECTIONS: dict[str, type[BaseModel]] = {
    "activation_checkpointing": ActivationCheckpointing,
    "flops_profiler": FlopsProfiler,
    "aio": Aio,
    "pipeline": Pipeline,
    "timers": Timers,
}

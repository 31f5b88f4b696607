"""A run told in numbers before it starts: what ``pretrain.py --check`` prints."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from megalite.config.checks import accumulation_steps
from megalite.config.grid import GridShape
from megalite.config.parameters import total_parameters
from megalite.config.pipeline_split import stage_layers
from megalite.config.precision import with_precision
from megalite.config.schema import RunConfig
from megalite.data.manifest import load_manifest, manifest_path
from megalite.data.samples.epochs import refuse_repetition, source_use
from megalite.planning.communication import WireBytes, wire_bytes
from megalite.planning.compute import compute_optimal_tokens, days, flops_6np, flops_exact
from megalite.planning.memory import ModelState, device_parameters, model_state_bytes

Row = tuple[str, str]
"""What, and what is known of it."""


@dataclass(frozen=True)
class Plan:
    """The derived facts of a run on ``world_size`` devices."""

    shape: GridShape
    stages: list[int] | None
    """Decoder layers of the pipeline stages; None without a pipeline."""
    parameters: int
    accumulation_steps: int
    tokens_per_step: int
    tokens: int
    compute_optimal_tokens: int
    flops_6np: float
    flops_exact: float
    zero_stage: int
    offloads: bool
    """Whether DeepSpeed keeps some of the model state elsewhere."""
    model_state: ModelState
    wire: WireBytes
    days: float | None
    """None where ``hardware.peak_tflops`` is not given."""


def make_plan(config: RunConfig, shape: GridShape, zero_stage: int, offloads: bool = False) -> Plan:
    """All of it as functions of the config. Raises: ConfigError where the batch does not divide."""
    config = reckoned(config)
    batch, sequence = config.batch, config.data.sequence_length
    tokens_per_step = batch.global_batch_size * sequence
    tokens = config.training.steps * tokens_per_step
    flops = flops_exact(config.model, tokens, sequence)
    peak = config.hardware.peak_tflops
    parameters = total_parameters(config.model)
    return Plan(
        shape=shape,
        stages=stage_layers(config.model, config.parallel) if shape.pipe > 1 else None,
        parameters=parameters,
        accumulation_steps=accumulation_steps(batch.micro_batch_size, batch.global_batch_size, shape.data),
        tokens_per_step=tokens_per_step,
        tokens=tokens,
        compute_optimal_tokens=compute_optimal_tokens(config.model),
        flops_6np=flops_6np(config.model, tokens),
        flops_exact=flops,
        zero_stage=zero_stage,
        offloads=offloads,
        model_state=model_state_bytes(
            max(device_parameters(config.model, config.parallel)), config.training.precision, zero_stage, shape.replicas
        ),
        wire=wire_bytes(config, shape, zero_stage),
        days=None if peak is None else days(flops, peak, shape.world_size, config.hardware.expected_mfu),
    )


def reckoned(config: RunConfig) -> RunConfig:
    """``auto`` is taken for bf16, which the devices of large runs have; a run on this machine is settled before."""
    return with_precision(config, "bf16") if config.training.precision == "auto" else config


def print_plan(config: RunConfig, plan: Plan, console: Console, more: Sequence[Row] = ()) -> None:
    """One table: sizes, batch arithmetic, compute, memory, time; then ``more``."""
    if config.training.precision == "auto":
        more = [("precision", "auto: reckoned as bf16; devices without bf16 instructions will take fp32"), *more]
    config = reckoned(config)
    batch = config.batch
    table = Table(title=f"plan of {config.run.output_dir}/{config.run.name}", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column()
    table.add_row("parameters", f"{plan.parameters:,}")
    table.add_row("training tokens", f"{plan.tokens:,} = {config.training.steps:,} steps x {plan.tokens_per_step:,}")
    table.add_row(
        "batch",
        f"{batch.global_batch_size} samples = micro {batch.micro_batch_size} x accumulation {plan.accumulation_steps}"
        f" x data-parallel {plan.shape.data}",
    )
    table.add_row("devices", _devices(config, plan))
    if plan.stages is not None:
        table.add_row("stages", f"embedding, {' + '.join(map(str, plan.stages))} layers, norm and head")
    for line in _data(config):
        table.add_row("data", line)
    schedule, optimizer = config.schedule, config.optimizer
    table.add_row(
        "learning",
        f"{config.training.precision}, AdamW, lr {optimizer.lr:g} after {schedule.warmup_steps} steps of warm-up, "
        f"{schedule.decay} to {schedule.min_lr_ratio:g} of it, weight decay {optimizer.weight_decay:g}, clipping "
        f"{optimizer.gradient_clipping:g}",
    )
    table.add_row("compute, 6NP", f"{plan.flops_6np:.3e} FLOPs")
    table.add_row("compute, exact", f"{plan.flops_exact:.3e} FLOPs (matrix products and causal attention)")
    ratio = plan.tokens / plan.compute_optimal_tokens
    table.add_row(
        "compute-optimal", f"{plan.compute_optimal_tokens:,} tokens (20 a parameter); this run has {ratio:.2f}x"
    )
    state = plan.model_state
    table.add_row(
        "model state",
        f"{readable_bytes(state.total)} a device (weights {readable_bytes(state.weights)}, gradients "
        f"{readable_bytes(state.gradients)}, optimizer {readable_bytes(state.optimizer)}); activations come on top",
    )
    axes = {axis: sent for axis, sent in vars(plan.wire).items() if sent}
    parts = ", ".join(f"{axis} {readable_bytes(sent)}" for axis, sent in axes.items())
    table.add_row("sent", f"{readable_bytes(plan.wire.total)} a rank and step" + (f" ({parts})" if parts else ""))
    table.add_row("time", _time(config, plan))
    for row in more:
        table.add_row(*row)
    console.print(table)


def _devices(config: RunConfig, plan: Plan) -> str:
    shape = plan.shape
    sequence = " with sequence parallelism" if config.parallel.sequence_parallel else ""
    return f"{shape.world_size} = {shape}{sequence}, ZeRO stage {plan.zero_stage}"


def _data(config: RunConfig) -> list[str]:
    """What the run takes from each source. Raises: ConfigError where that is too much of one."""
    prefixes = [source.prefix for source in config.data.train]
    there = {prefix: load_manifest(prefix).tokens for prefix in prefixes if manifest_path(prefix).exists()}
    uses = source_use(config, {prefix: there.get(prefix, 0) for prefix in prefixes})
    refuse_repetition([use for use in uses if use.prefix in there])
    missing = "tokens are taken; it is not there yet"
    return [f"{use.prefix}: {use if use.prefix in there else f'{use.taken:,} {missing}'}" for use in uses]


def _time(config: RunConfig, plan: Plan) -> str:
    if plan.days is None:
        return "give hardware.peak_tflops=... (of one device) to see the days"
    return (
        f"{readable_days(plan.days)} at {config.hardware.peak_tflops:g} TFLOP/s a device x {plan.shape.world_size} x "
        f"{config.hardware.expected_mfu:.0%} utilisation"
    )


def readable_bytes(count: float) -> str:
    """``1.50 GiB``, or MiB below a gibibyte."""
    return f"{count / 1024**3:.2f} GiB" if count >= 1024**3 else f"{count / 1024**2:.1f} MiB"


def readable_days(days: float) -> str:
    """Days, or below two days also hours, or below two hours minutes."""
    if days >= 2:
        return f"{days:.1f} days"
    hours = days * 24
    return f"{days:.4f} days = {f'{hours:.1f} hours' if hours >= 2 else f'{hours * 60:.1f} minutes'}"

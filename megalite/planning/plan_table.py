"""The table that ``pretrain.py --check`` prints."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from megalite.config.schema import RunConfig
from megalite.data.manifest import load_manifest, manifest_path
from megalite.data.samples.epochs import refuse_repetition, source_use
from megalite.planning.training_plan import TrainingPlan, assume_precision
from megalite.training.optimizers.definition import optimizer_definition

Row = tuple[str, str]
"""Label and text."""


def print_plan(config: RunConfig, plan: TrainingPlan, console: Console, more: Sequence[Row] = ()) -> None:
    """Prints one table: sizes, batch arithmetic, data, compute, memory, time; then ``more``.

    Raises: ConfigError if the run would read a source too often.
    """
    table = Table(title=f"plan of {config.run.output_dir}/{config.run.name}", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column()
    if config.training.precision == "auto":
        more = [("precision", "auto: assumed to be bf16; devices without bf16 instructions use fp32"), *more]
    for row in (*_rows(assume_precision(config), plan), *more):
        table.add_row(*row)
    console.print(table)


def _rows(config: RunConfig, plan: TrainingPlan) -> list[Row]:
    batch, schedule, optimizer, state = config.batch, config.schedule, config.optimizer, plan.model_state
    name = type(optimizer_definition(optimizer.name)).__name__
    axes = {axis: sent for axis, sent in vars(plan.wire).items() if sent}
    by_axis = f" ({', '.join(f'{axis} {readable_bytes(sent)}' for axis, sent in axes.items())})" if axes else ""
    split = " + ".join(map(str, plan.stage_layers))
    stages = [("pipeline stages", f"embedding, {split} layers, norm and head")] if plan.shape.pipe > 1 else []
    return [
        ("parameters", f"{plan.parameters:,}"),
        ("training tokens", f"{plan.tokens:,} = {config.training.steps:,} steps x {plan.tokens_per_step:,}"),
        (
            "batch",
            f"{batch.global_batch_size} samples = micro {batch.micro_batch_size} x accumulation "
            f"{plan.accumulation_steps} x data-parallel {plan.shape.data}",
        ),
        ("devices", _devices(config, plan)),
        *stages,
        *(("data", line) for line in _data(config)),
        (
            "learning",
            f"{config.training.precision}, {name}, lr {optimizer.lr:g} after {schedule.warmup_steps} steps of warm-up, "
            f"{schedule.decay} to {schedule.min_lr_ratio:g} of it, weight decay {optimizer.weight_decay:g}, clipping "
            f"{optimizer.gradient_clipping:g}",
        ),
        ("compute, 6NP", f"{plan.flops_6np:.3e} FLOPs"),
        ("compute, exact", f"{plan.flops_exact:.3e} FLOPs (matrix products and causal attention)"),
        (
            "compute-optimal",
            f"{plan.compute_optimal_tokens:,} tokens (20 per parameter); this run has "
            f"{plan.tokens / plan.compute_optimal_tokens:.2f}x",
        ),
        (
            "model state",
            f"{readable_bytes(state.total)} per device (weights {readable_bytes(state.weights)}, gradients "
            f"{readable_bytes(state.gradients)}, optimizer {readable_bytes(state.optimizer)}), without activations",
        ),
        ("sent", f"{readable_bytes(plan.wire.total)} per rank and step{by_axis}"),
        ("time", _time(config, plan)),
    ]


def _devices(config: RunConfig, plan: TrainingPlan) -> str:
    sequence = " with sequence parallelism" if config.parallel.sequence_parallel else ""
    return f"{plan.shape.world_size} = {plan.shape}{sequence}, ZeRO stage {plan.zero_stage}"


def _data(config: RunConfig) -> list[str]:
    """Returns what the run reads from each source. Raises: ConfigError if it would read one too often."""
    prefixes = [source.prefix for source in config.data.train]
    existing = {prefix: load_manifest(prefix).tokens for prefix in prefixes if manifest_path(prefix).exists()}
    uses = source_use(config, {prefix: existing.get(prefix, 0) for prefix in prefixes})
    refuse_repetition([use for use in uses if use.prefix in existing])
    return [
        f"{use.prefix}: {use if use.prefix in existing else f'{use.taken:,} tokens; does not exist yet'}"
        for use in uses
    ]


def _time(config: RunConfig, plan: TrainingPlan) -> str:
    if plan.days is None:
        return "set hardware.peak_tflops (of one device) to estimate it"
    return (
        f"{readable_days(plan.days)} at {config.hardware.peak_tflops:g} TFLOP/s per device x {plan.shape.world_size} x "
        f"{config.hardware.expected_mfu:.0%} utilisation"
    )


def readable_bytes(count: float) -> str:
    """Formats as ``1.50 GiB``, or in MiB below a gibibyte."""
    return f"{count / 1024**3:.2f} GiB" if count >= 1024**3 else f"{count / 1024**2:.1f} MiB"


def readable_days(days: float) -> str:
    """Formats as days, below two days also as hours, or below two hours as minutes."""
    if days >= 2:
        return f"{days:.1f} days"
    hours = days * 24
    return f"{days:.4f} days = {f'{hours:.1f} hours' if hours >= 2 else f'{hours * 60:.1f} minutes'}"

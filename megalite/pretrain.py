"""The pretraining command: check everything, prepare missing data, then train.

``deepspeed pretrain.py``, ``torchrun pretrain.py`` and ``python pretrain.py`` all run ``main``.
"""

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from megalite.config.ds_config import merge_ds_config, read_ds_config, zero_stage
from megalite.config.errors import one_line_errors
from megalite.config.grid import grid_shape
from megalite.config.launch import read_launch
from megalite.config.layout import check_layout
from megalite.config.load import load_run_config
from megalite.config.paths import REPOSITORY, find_input
from megalite.config.precision import with_precision
from megalite.config.run_arguments import parse_run_arguments
from megalite.config.schema import RunConfig
from megalite.config.screen import screen
from megalite.training.save_or_stop import Request, Requests
from megalite.training.supervision.signals import listening

if TYPE_CHECKING:
    from megalite.training.loop import Outcome

DEFAULT_CONFIG = REPOSITORY / "examples/tiny/pretrain.yaml"
DEFAULT_DS_CONFIG = REPOSITORY / "ds_configs/zero1.json"


@one_line_errors
def main() -> None:
    """Parse the arguments, refuse mistakes before any process group exists, then check or train."""
    example = "optimizer.lr=3e-4 model.num_hidden_layers=8"
    arguments = parse_run_arguments("Pretrain a Llama-family model with DeepSpeed.", example, needs_config=False)
    launch = read_launch()
    console = screen(quiet=not launch.is_first)
    yaml_path = _chosen(arguments.config, DEFAULT_CONFIG, "--config", console)
    json_path = _chosen(arguments.ds_config, DEFAULT_DS_CONFIG, "--ds_config", console)
    config = load_run_config(yaml_path, arguments.overrides)
    planned = config.hardware.world_size if arguments.check else None
    shape = grid_shape(planned or launch.world_size, config.parallel)
    json_config = read_ds_config(json_path)
    check_layout(config, shape, zero_stage(json_config))

    # No heavy import so far: most mistakes are reported at once.
    from megalite.planning.memory import model_state
    from megalite.planning.plan_table import print_plan
    from megalite.planning.readiness import check_readiness, refuse_too_large
    from megalite.planning.training_plan import assume_precision, make_plan
    from megalite.training.deepspeed_values import check_deepspeed_values

    settled = assume_precision(config) if planned else settle_precision(config, arguments.resume, console)
    ds_config = merge_ds_config(settled, json_config, shape, str(yaml_path), str(json_path))
    check_deepspeed_values(json_config, str(json_path))
    if not arguments.check:
        refuse_too_large(settled, model_state(settled, shape, zero_stage(json_config)), json_config, launch)
        with listening() as requests:
            run_training(settled, ds_config, arguments.resume, console, requests)
        return
    plan = make_plan(settled, shape, zero_stage(json_config))
    ready = check_readiness(settled, arguments.resume, plan.parameters, is_here=planned is None)
    print_plan(config if planned else settled, plan, console, ready.rows)
    if ready.problem is not None:
        raise ready.problem
    refuse_too_large(settled, plan.model_state, json_config, None if planned else launch)


def settle_precision(config: RunConfig, resume: str | None, console: Console) -> RunConfig:
    """Resolve ``training.precision: auto``, and print a line about the choice."""
    from megalite.training.precision import choose_precision
    from megalite.training.run_folder import checkpoint_to_resume, run_folder

    checkpoint = None if resume is None else checkpoint_to_resume(run_folder(config), resume)
    choice = choose_precision(config.training.precision, None if checkpoint is None else checkpoint / "run.yaml")
    if choice.message:
        console.print(choice.message, highlight=False)
    return with_precision(config, choice.precision)


def run_training(
    config: RunConfig, ds_config: dict[str, Any], resume: str | None, console: Console, requests: Requests
) -> None:
    """Lock the run folder, check it and the data, start the ranks, train, and print the outcome."""
    from megalite.data.samples.blend import BlendedDataset
    from megalite.data.training_data import open_training_data
    from megalite.training.checkpoint.training_state import TrainingState, check_data_order, check_epochs, resumed_state
    from megalite.training.run_folder import VERIFIED_DATA, checkpoint_to_resume, run_folder
    from megalite.training.run_lock import locked_run

    run, launch = run_folder(config), read_launch()
    with locked_run(run, lambda reason: requests.ask(Request.STOP, reason)) if launch.is_first else nullcontext():
        checkpoint = checkpoint_to_resume(run, resume)
        if checkpoint is None and resume is not None:
            console.print(f"{run} contains no checkpoint yet: starting from step 0", highlight=False)
        verified = run / VERIFIED_DATA if launch.is_first else None
        data = open_training_data(config, console, launch.local_rank == 0, verified)
        if checkpoint is None:
            start = TrainingState(0, 0, config.run.seed, config.data.sequence_length, data.checksums)
        else:
            start = resumed_state(checkpoint, config, data.checksums)
            check_data_order(checkpoint, start, data.train)
            datasets = data.train.datasets if isinstance(data.train, BlendedDataset) else [data.train]
            check_epochs(config, start, {dataset.source.prefix: dataset.tokens for dataset in datasets})

        # No heavy import and no process group so far: a user's mistake costs a second, not a job.
        from megalite.planning.compute import flops_per_token
        from megalite.training.prepared_run import PreparedRun
        from megalite.training.session import run_session

        flops = flops_per_token(config.model, config.data.sequence_length)
        prepared = PreparedRun(config, ds_config, run, data, start, checkpoint)
        outcome = run_session(prepared, flops, console, requests)
        print_outcome(outcome, console)


def print_outcome(outcome: "Outcome", console: Console) -> None:
    table = Table(title="training finished", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column()
    table.add_row("last loss", f"{outcome.loss:.4f} nats a token")
    if outcome.validation is not None:
        table.add_row(
            "validation", f"loss {outcome.validation.loss:.4f}, {outcome.validation.bits_per_byte:.4f} bits per byte"
        )
    table.add_row("tokens", f"{outcome.tokens:,} in {outcome.seconds:.1f} s")
    table.add_row("checkpoint", str(outcome.checkpoint))
    table.add_row("export", f"{outcome.checkpoint / 'hf'}  (AutoModelForCausalLM.from_pretrained loads it)")
    console.print(table)


def _chosen(given: Path | None, default: Path, flag: str, console: Console) -> Path:
    """The given file, relative to the current folder or else to the repository; or the default."""
    if given is None:
        console.print(f"no {flag} given, using {default.relative_to(REPOSITORY)}", highlight=False)
        return default
    return Path(find_input(str(given), given))

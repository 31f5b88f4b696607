"""A ZeRO-3 step of our model against transformers' LlamaForCausalLM of the same size in the same DeepSpeed config.

``OMP_NUM_THREADS=1 deepspeed --num_gpus 2 benchmarks/zero3_step.py`` (or torchrun). Both engines live in one run, and
their steps are interleaved, so that a noisy machine disturbs both alike. Prints medians and the ratio of speeds.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM

from megalite.config.ds_config import merge_ds_config, read_ds_config
from megalite.config.load import load_run_config
from megalite.config.precision import with_precision
from megalite.config.schema import RunConfig
from megalite.model.hf_config import hf_config_from_model
from megalite.parallel.mesh import Mesh
from megalite.training.distributed import end_ranks, quiet_deepspeed, start_ranks
from megalite.training.engine import DTYPES, Batch, Engine
from megalite.training.optimizers.definition import optimizer_definition
from megalite.training.precision import choose_precision

REPOSITORY = Path(__file__).parents[1]


def transformers_step(config: RunConfig, ds_config: dict[str, Any], device: torch.device) -> Callable[[Batch], Any]:
    """One optimizer step of transformers' model, with its own loss over the same labels."""
    deepspeed = quiet_deepspeed()
    llama = LlamaConfig(**hf_config_from_model(config.model, dtype=config.training.precision))
    with deepspeed.zero.Init(config_dict_or_path=ds_config, dtype=DTYPES[config.training.precision]):
        model = LlamaForCausalLM(llama).to(DTYPES[config.training.precision])
    optimizer = optimizer_definition(config.optimizer.name).build(list(model.named_parameters()), config.optimizer)
    engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=ds_config)

    def step(batch: Batch) -> None:
        logits = engine(input_ids=batch["input_ids"].to(device), use_cache=False).logits
        loss = F.cross_entropy(logits.float().flatten(0, 1), batch["labels"].to(device).flatten())
        engine.backward(loss)
        engine.step()

    return step


def main() -> None:
    """Time both, interleaved."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=REPOSITORY / "examples/tiny/pretrain.yaml")
    parser.add_argument("--ds_config", type=Path, default=REPOSITORY / "ds_configs/zero3.json")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--local_rank", type=int, help=argparse.SUPPRESS)
    parser.add_argument("overrides", nargs="*")
    arguments = parser.parse_intermixed_args()
    device = start_ranks()
    mesh = Mesh.create()
    overrides = [*arguments.overrides]
    config = load_run_config(arguments.config, overrides)
    config = load_run_config(
        arguments.config,
        [*overrides, f"batch.global_batch_size={config.batch.micro_batch_size * mesh.data_size}"],
    )
    config = with_precision(config, choose_precision(config.training.precision).precision)
    json_config = read_ds_config(arguments.ds_config)
    ds_config = merge_ds_config(config, json_config, mesh.shape, str(arguments.config), str(arguments.ds_config))
    engine = Engine(config, ds_config, mesh, device)
    steps: dict[str, Callable[[Batch], Any]] = {
        "megalite": lambda batch: engine.train_step([batch], 1e-4),
        "transformers": transformers_step(config, ds_config, device),
    }
    shape = (config.batch.micro_batch_size, config.data.sequence_length)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for round_number in range(arguments.rounds + 2):
        tokens = torch.randint(0, config.model.vocab_size, (2, *shape))
        for name, step in steps.items():
            torch.distributed.barrier()
            start = time.perf_counter()
            step({"input_ids": tokens[0], "labels": tokens[1]})
            if device.type == "cuda":
                torch.cuda.synchronize()
            if round_number >= 2:
                seconds[name].append(time.perf_counter() - start)
    if torch.distributed.get_rank() == 0:
        medians = {name: statistics.median(values) for name, values in seconds.items()}
        for name, median in medians.items():
            print(f"{name:<14} median {median * 1e3:8.1f} ms a step of {arguments.rounds}")
        ratio = statistics.median(b / a for a, b in zip(seconds["megalite"], seconds["transformers"], strict=True))
        print(f"speed of megalite / transformers: {ratio:.3f} (median of the rounds' ratios)")
    end_ranks()


if __name__ == "__main__":
    main()

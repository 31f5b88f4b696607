"""Write a portable checkpoint: a Hugging Face folder and the optimizer's state, complete or not at all."""

import itertools
import json
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from megalite.config.schema import RunConfig
from megalite.files.whole_folder import flush
from megalite.model.hf_config import hf_config_from_model
from megalite.model.layer_shapes import hf_parameter_shapes
from megalite.tokenizer.export import export_tokenizer
from megalite.training.checkpoint.manifest import FORMAT, MANIFEST, describe_file
from megalite.training.checkpoint.state_access import MASTER_WEIGHT
from megalite.training.checkpoint.tensor_files import MAX_SHARD_BYTES, plan_shards, shard_name, write_index, write_shard
from megalite.training.checkpoint.tensor_routes import TensorRoutes
from megalite.training.checkpoint.training_state import TrainingState
from megalite.training.engine import DTYPES, Engine
from megalite.training.optimizers.definition import StateTensor, optimizer_definition
from megalite.training.run_folder import PARTIAL_SUFFIX, remove_old_checkpoints, step_folder


def save_checkpoint(
    engine: Engine,
    config: RunConfig,
    ds_config: dict[str, Any],
    run: Path,
    state: TrainingState,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> Path:
    """Write ``run/step-NNNNNN``. Collective: each tensor is gathered once, and the ranks share the writing.

    The files are written to a ``.partial`` folder, flushed, and listed with checksums in ``manifest.json``; then the folder
    is renamed.
    """
    final = step_folder(run, state.step)
    partial = final.with_name(final.name + PARTIAL_SUFFIX)
    rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
    if rank == 0:
        shutil.rmtree(partial, ignore_errors=True)  # left by a run that was killed while saving
        (partial / "hf").mkdir(parents=True)
        (partial / "optimizer").mkdir()
    torch.distributed.barrier()
    written = _write_tensors(engine, config, partial, max_shard_bytes)
    if rank == 0:
        written += _write_descriptions(config, ds_config, partial, state)
    for path in written:
        flush(path)
        engine.heartbeat.tick()
    mine = {str(path.relative_to(partial)): describe_file(path, engine.heartbeat.tick) for path in written}
    gathered: list[Any] = [None] * world
    torch.distributed.all_gather_object(gathered, mine)
    if rank == 0:
        files = dict(sorted(item for part in gathered for item in part.items()))
        _write_json(partial / MANIFEST, {"format": FORMAT, "files": files})
        flush(partial / MANIFEST)
        for folder in (partial / "hf", partial / "optimizer", partial):
            flush(folder)
        partial.rename(final)
        flush(run)
        if config.checkpoint.keep_last is not None:
            remove_old_checkpoints(run, config.run.name, config.checkpoint.keep_last)
    torch.distributed.barrier()
    return final


def _write_tensors(engine: Engine, config: RunConfig, partial: Path, max_shard_bytes: int) -> list[Path]:
    """Gather every tensor in the same order on all ranks of its pipeline stage; a shard's owner writes its file.

    The tensors in a shard depend on their shapes alone, so the files are the same under every layout.
    """
    rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
    precision = DTYPES[config.training.precision]
    kinds: list[tuple[Path, str, torch.dtype, StateTensor]] = [(partial / "hf", "model", precision, MASTER_WEIGHT)]
    kept = optimizer_definition(config.optimizer.name).state
    for tensor in kept if precision == torch.float32 else (MASTER_WEIGHT, *kept):
        kinds.append((partial / "optimizer", tensor.name, torch.float32, tensor))
    parameters = hf_parameter_shapes(config.model)
    routes = TensorRoutes(engine)
    owners = itertools.cycle(range(world))
    written: list[Path] = []
    pending: Future[None] | None = None
    with ThreadPoolExecutor(max_workers=1) as writer:
        for folder, stem, dtype, tensor in kinds:
            shapes = tensor.shapes(parameters)
            sizes = {name: shape.numel() * dtype.itemsize for name, shape in shapes.items()}
            shards = plan_shards(sizes.items(), max_shard_bytes)
            for index, (names, owner) in enumerate(zip(shards, owners, strict=False)):
                tensors: dict[str, Tensor] = {}
                for name in names:
                    engine.heartbeat.tick()
                    full = routes.bring(name, tensor, shapes[name], owner)
                    if full is not None:
                        tensors[name] = full.to("cpu", dtype, copy=True)
                if rank == owner:
                    written.append(folder / shard_name(stem, index, len(shards)))
                    if pending is not None:  # at most one shard waits for the disk
                        pending.result()
                    pending = writer.submit(write_shard, written[-1], tensors)
            if rank == 0 and (index_file := write_index(folder, stem, shards, sum(sizes.values()))) is not None:
                written.append(index_file)
        if pending is not None:
            pending.result()
    return written


def _write_descriptions(
    config: RunConfig, ds_config: dict[str, Any], partial: Path, state: TrainingState
) -> list[Path]:
    """The small files: config and tokenizer for transformers, state and configs for a resume."""
    hf = partial / "hf"
    tokenizer, written = export_tokenizer(Path(config.data.tokenizer), hf)
    special = {"bos_token_id": tokenizer.bos_id, "eos_token_id": tokenizer.eos_id, "pad_token_id": tokenizer.pad_id}
    _write_json(hf / "config.json", hf_config_from_model(config.model, dtype=config.training.precision, **special))
    _write_json(hf / "generation_config.json", {key: value for key, value in special.items() if value is not None})
    _write_json(partial / "state.json", asdict(state))
    _write_json(partial / "ds_config.json", ds_config)
    (partial / "run.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
    return [
        *written,
        *(hf / name for name in ("config.json", "generation_config.json")),
        *(partial / name for name in ("state.json", "ds_config.json", "run.yaml")),
    ]


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")

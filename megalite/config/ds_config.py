"""Merges the DeepSpeed JSON with the run: each setting has one owner, and a contradiction names both files."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megalite.config.checks import accumulation_steps
from megalite.config.deepspeed_keys import OWNED_BY_YAML, SECTIONS, WIRES
from megalite.config.errors import ConfigError
from megalite.config.explain import did_you_mean
from megalite.config.grid import GridShape
from megalite.config.precision import Precision
from megalite.config.schema import BatchSection, OptimizerSection, RunConfig
from megalite.config.text_files import read_json_object

AUTO = "auto"
MOST_SHOWN = 80
"""Characters of a value in a message."""


def read_ds_config(path: Path) -> dict[str, Any]:
    """Reads the DeepSpeed JSON at ``path``; unknown and repeated keys are errors.

    Raises: FileNotFoundError; ConfigError naming the key.
    """
    given = read_json_object(path, "DeepSpeed config")
    values = {key: value for key, value in given.items() if value is not None}
    _refuse_unknown(values, path)
    stage = values.get("zero_optimization", {}).get("stage", 0)
    if type(stage) is not int or stage not in (0, 1, 2, 3):
        raise ConfigError(f"{path}: zero_optimization.stage={_shown(stage)}; the ZeRO stages are 0, 1, 2 and 3")
    return values


def zero_stage(ds_config: dict[str, Any]) -> int:
    """Returns the ZeRO stage of a DeepSpeed dict (Rajbhandari et al. 2020, arXiv:1910.02054)."""
    return int(ds_config.get("zero_optimization", {}).get("stage", 0))


def offloads(ds_config: dict[str, Any]) -> bool:
    """Returns whether parts of the model state are kept outside the device."""
    zero = ds_config.get("zero_optimization", {})
    places = [(zero.get(name) or {}).get("device", "none") for name in ("offload_optimizer", "offload_param")]
    return any(place != "none" for place in places) or bool(zero.get("cpu_offload") or zero.get("cpu_offload_param"))


@dataclass(frozen=True)
class DeepSpeedFacts:
    """The settings of a run that DeepSpeed must agree with."""

    batch: BatchSection
    optimizer: OptimizerSection
    precision: Precision
    hidden_size: int
    data_parallel_size: int
    sequence_parallel: bool = False

    def by_key(self) -> dict[str, tuple[str, Any]]:
        """Maps a dotted DeepSpeed key to its owner in the YAML, as text for messages, and its value."""
        batch, optimizer, precision, ranks = self.batch, self.optimizer, self.precision, self.data_parallel_size
        assert precision != AUTO, "settle the precision first: megalite.training.precision"
        accumulation = accumulation_steps(batch.micro_batch_size, batch.global_batch_size, ranks)
        derived = f"the batch section gives {accumulation} on {ranks} data-parallel ranks"
        facts = {
            "train_batch_size": _fact("batch.global_batch_size", batch.global_batch_size),
            "train_micro_batch_size_per_gpu": _fact("batch.micro_batch_size", batch.micro_batch_size),
            "gradient_accumulation_steps": (derived, accumulation),
            "gradient_clipping": _fact("optimizer.gradient_clipping", optimizer.gradient_clipping),
            "bf16.enabled": (f"training.precision={precision}", precision == "bf16"),
            "fp16.enabled": (f"training.precision={precision}; fp16 is not supported", False),
            "optimizer.type": (f"optimizer.name={optimizer.name}", "AdamW"),
            "optimizer.params.lr": _fact("optimizer.lr", optimizer.lr),
            "optimizer.params.betas": _fact("optimizer.betas", list(optimizer.betas)),
            "optimizer.params.eps": _fact("optimizer.eps", optimizer.eps),
            "optimizer.params.weight_decay": _fact("optimizer.weight_decay", optimizer.weight_decay),
            "optimizer.params.torch_adam": ("AdamW is PyTorch's", True),
            "optimizer.params.adam_w_mode": (f"optimizer.name={optimizer.name}", True),
            "data_types.grad_accum_dtype": ("gradients are accumulated in fp32", "fp32"),
        }
        if self.sequence_parallel:
            # With these on, a pipeline stage sends one tensor-parallel rank's activations for all; here each has its own.
            for key in ("pipe_partitioned", "grad_partitioned"):
                facts[f"pipeline.{key}"] = ("parallel.sequence_parallel=true", False)
        return facts


def merge_ds_config(
    config: RunConfig, ds_config: dict[str, Any], shape: GridShape, yaml_path: str, json_path: str
) -> dict[str, Any]:
    """Returns the complete DeepSpeed config of a pretraining run; see ``merge_facts``."""
    parallel, precision = config.parallel.sequence_parallel, config.training.precision
    facts = DeepSpeedFacts(config.batch, config.optimizer, precision, config.model.hidden_size, shape.data, parallel)
    return merge_facts(facts, ds_config, yaml_path, json_path)


def merge_facts(run: DeepSpeedFacts, ds_config: dict[str, Any], yaml_path: str, json_path: str) -> dict[str, Any]:
    """Returns the complete DeepSpeed config: what the JSON owns, and the run's settings under DeepSpeed's names.

    A setting of the run may be absent from the JSON, ``"auto"`` or equal. The optimizer section is left out: the optimizer
    is built by ``megalite.training.optimizers`` and passed as an object.

    Raises: ConfigError that names both places if the files contradict each other.
    """
    facts = run.by_key()
    for dotted, (owner, value) in facts.items():
        given = _lookup(ds_config, dotted)
        if given is not None and given != AUTO and not _equal(given, value):
            raise ConfigError(
                f"{json_path}: {dotted}={_shown(given)} contradicts {yaml_path}: {owner}; the YAML owns this setting: "
                f'remove the key from the JSON or write "auto"'
            )
    if ds_config.get("scheduler", AUTO) != AUTO:
        raise ConfigError(
            f"{json_path}: 'scheduler' contradicts {yaml_path}: the YAML's 'schedule' section owns the learning rate; "
            f"remove 'scheduler' from the JSON"
        )
    merged = {key: value for key, value in ds_config.items() if key in WIRES}
    merged["zero_optimization"] = _resolve_auto_sizes(dict(ds_config.get("zero_optimization", {})), run.hidden_size)
    # DeepSpeed derives its train_batch_size, in which it counts the ranks of a context axis as data-parallel ones.
    for key in ("train_micro_batch_size_per_gpu", "gradient_accumulation_steps"):
        merged[key] = facts[key][1]
    if run.sequence_parallel:
        merged["pipeline"] = merged.get("pipeline", {}) | {"pipe_partitioned": False, "grad_partitioned": False}
    # At ZeRO stage 0 DeepSpeed keeps no gradient norm; megalite.training.gradient_norm measures and clips instead.
    merged["gradient_clipping"] = run.optimizer.gradient_clipping if zero_stage(ds_config) > 0 else 0.0
    # DeepSpeed has no fp32 accumulation for bf16 weights at ZeRO stage 0: there the weights stay fp32 and products run
    # in bf16 by autocast (megalite.training.engine), which accumulates in fp32 by itself.
    merged["bf16"] = {"enabled": run.precision == "bf16" and zero_stage(ds_config) > 0}
    merged["data_types"] = {"grad_accum_dtype": "fp32"}
    merged.setdefault("steps_per_print", 2**31)  # the run has its own log
    merged.setdefault("zero_force_ds_cpu_optimizer", False)  # torch's fused AdamW needs no compiler
    return merged


def _fact(key: str, value: Any) -> tuple[str, Any]:
    return f"{key}={_shown(value)}", value


def _shown(value: Any) -> str:
    """Formats a value as JSON, shortened."""
    text = json.dumps(value)
    return text if len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + "..."


def _refuse_unknown(values: dict[str, Any], path: Path) -> None:
    top = sorted(WIRES | OWNED_BY_YAML)
    for key in values:
        if key not in top:
            raise ConfigError(f"{path}: unknown key '{key}'{did_you_mean(key, top)}")
    for section, known in SECTIONS.items():
        inside = _lookup(values, section)
        if inside is None or (inside == AUTO and section.partition(".")[0] in OWNED_BY_YAML):
            continue
        if not isinstance(inside, dict):
            raise ConfigError(f"{path}: '{section}' is {_shown(inside)}, not a section")
        for key in inside:
            if key not in known:
                dotted = f"{section}.{key}"
                raise ConfigError(
                    f"{path}: unknown key '{dotted}'{did_you_mean(dotted, [f'{section}.{name}' for name in known])}"
                )


def _lookup(values: dict[str, Any], dotted: str) -> Any:
    found: Any = values
    for key in dotted.split("."):
        if not isinstance(found, dict) or key not in found:
            return None
        found = found[key]
    return found


def _equal(given: Any, value: Any) -> bool:
    if isinstance(given, str) and isinstance(value, str):
        return given.lower() == value.lower()
    if isinstance(given, list) and isinstance(value, list):
        return len(given) == len(value) and all(map(_equal, given, value))
    if isinstance(given, bool) or isinstance(value, bool):
        return given is value
    return bool(given == value)


def _resolve_auto_sizes(zero: dict[str, Any], hidden: int) -> dict[str, Any]:
    """Replaces ``"auto"`` bucket sizes by those of transformers' Trainer, which depend on the hidden size."""
    sizes = {
        "reduce_bucket_size": hidden * hidden,
        "stage3_prefetch_bucket_size": int(0.9 * hidden * hidden),
        "stage3_param_persistence_threshold": 10 * hidden,
    }
    return {key: sizes[key] if value == AUTO and key in sizes else value for key, value in zero.items()}

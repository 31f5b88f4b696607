"""The model card of an exported folder: ``README.md`` for the Hugging Face hub."""

import platform
from importlib.metadata import version

import yaml

from megalite.export.checkpoint_source import Checkpoint
from megalite.export.logit_error import Difference, LogitError
from megalite.export.run_facts import Facts, data_facts, model_facts, training_facts

LIBRARIES = ("torch", "transformers", "safetensors")


def model_card(checkpoint: Checkpoint, dtype: str, error: LogitError | None, license_name: str | None) -> str:
    """The card: front matter, how to load the model, and the facts of its run."""
    front = {"library_name": "transformers", "pipeline_tag": "text-generation", "tags": ["llama", "megalite"]}
    if license_name is not None:
        front["license"] = license_name
    name = checkpoint.run["run"]["name"]
    masters, tensors = checkpoint.tensors.from_masters, len(checkpoint.tensors.shapes)
    return (
        "\n\n".join(
            [
                f"---\n{yaml.safe_dump(front, sort_keys=False)}---",
                f"# {name}, step {checkpoint.state['step']:,}",
                "A base language model: it continues text, and has not been tuned to follow instructions or to be safe.",
                "```python\n"
                "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
                'folder = "."  # this folder\n'
                "model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)\n"
                "```",
                "## Model",
                _table(model_facts(checkpoint)),
                "## Training",
                _table(training_facts(checkpoint)),
                "## Training data",
                _table(data_facts(checkpoint)),
                "## Export",
                _table(
                    {
                        "weights": f"{dtype}, cast from "
                        + (f"fp32 master weights ({masters} of {tensors} tensors)" if masters else "the run's weights"),
                        "software": _software(),
                    }
                ),
                *_measured(error, dtype),
            ]
        )
        + "\n"
    )


def _measured(error: LogitError | None, dtype: str) -> list[str]:
    if error is None:
        return ["The logit error of this export was not measured."]
    rows = {f"{dtype} weights, computed in fp32": error.of_weights}
    if dtype != "fp32":
        rows[f"{dtype} weights, computed in {dtype}"] = error.of_arithmetic
    lines = [f"| {label} | {_cells(difference)} |" for label, difference in rows.items()]
    return [
        f"Logit error: logits of this folder against those of the checkpoint's best weights in fp32, on {error.text} "
        f"(CPU; the checkpoint's logits have a standard deviation of {error.spread:.3g}).",
        "\n".join(
            ["| | largest difference | mean difference | same most likely token |", "| --- | --- | --- | --- |", *lines]
        ),
    ]


def _cells(difference: Difference) -> str:
    return f"{difference.largest:.3g} | {difference.mean:.3g} | {difference.same_choice:.1%}"


def _table(facts: Facts) -> str:
    return "\n".join(["| | |", "| --- | --- |", *(f"| {label} | {value} |" for label, value in facts.items())])


def _software() -> str:
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return f"exported by megalite {version('megalite')} with {libraries}, Python {platform.python_version()}"

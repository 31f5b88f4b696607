"""Values that no machine could hold, and values of the wrong kind, are refused in one short line, and at once."""

import typing
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from megalite.config.errors import ConfigError
from megalite.config.explain import validate
from megalite.config.load import load_run_config
from megalite.config.schema import RunConfig
from megalite.config.section import shown
from megalite.corpus.prepare.recipe import Recipe
from megalite.posttraining.schema import PreferenceRun, SftRun

TINY = Path(__file__).parents[3] / "examples/tiny/pretrain.yaml"


def kinds_within(annotation: Any) -> set[Any]:
    """The plain types that an annotation is made of."""
    inside = [kind for part in typing.get_args(annotation) for kind in kinds_within(part)]
    return {annotation, *inside}


def float_keys(schema: type[BaseModel], seen: frozenset[type] = frozenset()) -> list[tuple[type[BaseModel], str]]:
    """Every key of a schema that takes a float, with the section that holds it."""
    found = []
    for name, field in schema.model_fields.items():
        for kind in kinds_within(field.annotation):
            if kind is float:
                found.append((schema, name))
            elif isinstance(kind, type) and issubclass(kind, BaseModel) and kind not in seen:
                found += float_keys(kind, seen | {kind})
    return list(dict.fromkeys(found))


FLOATS = {key for schema in (RunConfig, SftRun, PreferenceRun, Recipe) for key in float_keys(schema)}


@pytest.mark.parametrize(("section", "name"), sorted(FLOATS, key=str), ids=lambda part: getattr(part, "__name__", part))
@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan")], ids=str)
def test_no_float_of_any_schema_is_infinite_or_nan(section: type[BaseModel], name: str, number: float) -> None:
    for value in (number, [number, number], {"a": number}):  # a number, a list or a mapping of them
        with pytest.raises(ValueError, match=name) as caught:
            section.model_validate({name: value})
        told = [problem for problem in caught.value.errors() if problem["loc"][0] == name]  # type: ignore[attr-defined]
        assert told, f"{section.__name__}.{name} takes {value}"


def test_the_floats_are_found() -> None:
    names = {f"{section.__name__}.{name}" for section, name in FLOATS}
    assert len(names) > 40
    assert names >= {
        "OptimizerSection.lr",
        "OptimizerSection.betas",
        "DataPhase.weights",
        "LoraSection.alpha",
        "Recipe.valid_fraction",
    }


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.sequence_length=100000000000", "must be at most 134,217,728"),
        ("data.sequence_length=1e18", "expected a whole number"),
        ("model.vocab_size=1000000000000", "at most 16,777,216"),
        ("model.num_hidden_layers=1000000", "at most 4,096"),
        ("training.steps=1000000000000000000", "at most 1,000,000,000"),
        ("training.timeout_seconds=1000000000000", "at most"),
        ("hardware.world_size=1000000000", "at most 1,048,576"),
        ("batch.micro_batch_size=1000000000", "at most 16,777,216"),
        ("run.seed=4294967296", "less than 4294967296"),
        ("training.steps=" + "9" * 4000, "at most 1,000,000,000"),
        ("training.steps=" + "9" * 6000, "not readable as YAML"),
        ("parallel.pipeline_split=[" + "1," * 5000 + "1]", "longer than 10,000 characters"),
        ("data.train=" + "[" * 100 + "]" * 100, "nested deeper than 64 levels"),
        ("data.train={prefix: a, weight: 1e300}", "at most 1,000,000,000"),
        ("data.train={prefix: a, weight: 1e-300}", "too small to select any sample"),
        ("optimizer.eps=1e-300", "at least 1e-37"),
        ("optimizer.betas=[0.9, 1.0]", r"betas\.1=1\.0: input should be less than 1"),
        ("optimizer.betas=[0.9]", r"betas=\[0\.9\]: item 2 is missing"),
        ("optimizer.lr=null", "lr=null: expected a number"),
        ("optimizer.lr=2020-01-01", "lr='2020-01-01': expected a number"),
        ("optimizer.lr=[1, 2]", "expected a number"),
        ("training.steps={a: 1}", "expected a whole number"),
        ("run.name=3", "expected text"),
        ("data.train=3", "expected a list"),
        ("data.train=[3]", r"data\.train\.0=3: this is a section"),
        ("data.train={prefix: a, wieght: 1}", "unknown key 'data.train.wieght'; did you mean 'data.train.weight'"),
        ("1=1", "unknown key '1'; known here: run, model"),
        ("a.b=1", "unknown key 'a'; known here: run, model"),
    ],
)
def test_an_absurd_value_is_one_short_line(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_run_config(TINY, [override])
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    assert str(caught.value).startswith("command line: ")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sources": [{"kind": "files"}]}, "r.yaml: 'sources.0.paths' is missing; add it"),
        ({"sources": []}, "r.yaml: sources=[]: needs at least 1 item(s)"),
        ({"sources": [{"paths": ["a"]}]}, "r.yaml: 'sources.0.kind' is missing; add it"),
        ({"sources": [{"kind": "files", "paths": "a"}]}, "r.yaml: sources.0.paths='a': expected a list"),
        ({"sources": [3]}, "r.yaml: sources.0=3: this is a section; write sources.0.key instead"),
        (
            {"sources": [{"kind": "installed_docs"}], 1: 1},
            "r.yaml: unknown key '1': keys are text; put it in quotes",
        ),
    ],
)
def test_a_recipes_mistake_is_told_in_the_recipes_words(values: dict[Any, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(Recipe, values, "r.yaml")
    assert str(caught.value) == message


def test_a_section_without_keys_is_empty(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text(TINY.read_text() + "parallel:\n#  tensor_parallel_size: 2\n")
    assert load_run_config(file).parallel.tensor_parallel_size == 1
    file.write_text("run:\n  name: a\noptimizer:\n#  lr: 1e-3\n")
    with pytest.raises(ConfigError, match=r"'optimizer\.lr' is missing"):
        load_run_config(file)


def test_any_value_is_shown_short_and_in_the_words_of_yaml() -> None:
    assert [shown(value) for value in (None, True, 3, "a")] == ["null", "true", "3", "'a'"]
    deep: Any = 1
    for _ in range(50):
        deep = {"a" * 500: [deep] * 50}
    assert len(shown(deep)) < 400
    assert len(shown("x" * 10**6)) < 100

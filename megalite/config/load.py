"""A YAML file and ``section.key=value`` overrides become one ``RunConfig``, or errors that say what instead."""

import difflib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from megalite.config.checks import check_run
from megalite.config.errors import ConfigError
from megalite.config.schema import RunConfig
from megalite.config.text_files import kind_of, parse_yaml, read_yaml_file

S = TypeVar("S", bound=BaseModel)


def load_run_config(path: Path, overrides: list[str] | None = None) -> RunConfig:
    """Read, override, validate, and check across sections.

    Raises: ConfigError with one line for each mistake; FileNotFoundError where ``path`` is missing.
    """
    values = read_yaml(path)
    overridden = apply_overrides(values, overrides or [])
    config = validate(RunConfig, values, str(path), overridden)
    check_run(config, str(path))
    return config


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises: FileNotFoundError, ConfigError."""
    values = read_yaml_file(path)
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: holds {kind_of(values)}, not sections like 'model:' and 'data:'")
    return values


def apply_overrides(values: dict[str, Any], overrides: list[str]) -> set[tuple[str, ...]]:
    """Write ``section.key=value`` items into ``values``; the value is read as YAML. Returns the key paths written."""
    written = set()
    for item in overrides:
        dotted, equals, text = item.partition("=")
        keys = tuple(dotted.split("."))
        if not equals or not all(keys):
            raise ConfigError(f"command line: '{item}' is not section.key=value (for example optimizer.lr=3e-4)")
        value = parse_yaml(text, f"command line: '{item}'")
        section = values
        for depth, key in enumerate(keys[:-1]):
            below = section.get(key)
            if below is None:
                below = section[key] = {}
            if not isinstance(below, dict):
                raise ConfigError(f"command line: '{item}': '{'.'.join(keys[: depth + 1])}' is a value, not a section")
            section = below
        section[keys[-1]] = value
        written.add(keys)
    return written


def validate(schema: type[S], values: dict[str, Any], source: str, overridden: set[tuple[str, ...]] | None = None) -> S:
    """``schema(**values)``, with pydantic's errors told as one line each: where, which key, why, what instead."""
    try:
        return schema.model_validate(values)
    except ValidationError as failure:
        lines = []
        for problem in failure.errors():
            keys = tuple(str(part) for part in problem["loc"])
            given_by = "command line" if keys in (overridden or set()) else source
            lines.append(f"{given_by}: {_explain(schema, keys, problem)}")
        # A key that is missing because it is misspelt is one mistake, told once.
        misspelt = [line for line in lines if "did you mean" in line]
        told = {name for name in all_keys(schema) if any(f"mean '{name}'" in line for line in misspelt)}
        lines = [line for line in lines if not any(f"'{name}' is missing" in line for name in told)]
        raise ConfigError("\n".join(lines)) from None


def _explain(schema: type[BaseModel], keys: tuple[str, ...], problem: Any) -> str:
    dotted = ".".join(keys)
    reason = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        return f"unknown key '{dotted}'{did_you_mean(dotted, all_keys(schema))}"
    if problem["type"] == "missing":
        return f"'{dotted}' is missing; add it"
    if problem["type"] == "model_type":
        return f"{dotted}={problem['input']!r}: this is a section; write {dotted}.key instead"
    if problem["type"] == "bool_as_number":
        return f"{dotted}.{reason}"
    if isinstance(problem["input"], dict):
        return f"{dotted}: {reason}" if dotted else reason
    return f"{dotted}={problem['input']!r}: {reason[0].lower()}{reason[1:]}"


def all_keys(schema: type[BaseModel], prefix: str = "") -> list[str]:
    """Every dotted key of a schema, sections included."""
    found = []
    for name, field in schema.model_fields.items():
        found.append(prefix + name)
        for kind in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                found += all_keys(kind, f"{prefix}{name}.")
    return found


def did_you_mean(key: str, known: list[str]) -> str:
    """``; did you mean '...'?``: the same name in another section, else the nearest path, else the nearest name."""
    by_last_part = {name.rpartition(".")[2]: name for name in reversed(known)}
    last = key.rpartition(".")[2]
    if last in by_last_part:
        return f"; did you mean '{by_last_part[last]}'?"
    if near := difflib.get_close_matches(key, known, n=1, cutoff=0.75):
        return f"; did you mean '{near[0]}'?"
    if near := difflib.get_close_matches(last, by_last_part, n=1, cutoff=0.75):
        return f"; did you mean '{by_last_part[near[0]]}'?"
    siblings = [name for name in known if name.rpartition(".")[0] == key.rpartition(".")[0]]
    return f"; known here: {', '.join(name.rpartition('.')[2] for name in siblings)}" if siblings else ""

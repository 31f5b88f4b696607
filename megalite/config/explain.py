"""Explains pydantic's errors in terms of the file: where, which key, why, and what to write instead."""

import difflib
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from megalite.config.errors import ConfigError
from megalite.config.section import shown

S = TypeVar("S", bound=BaseModel)
MOST_ERRORS = 20
"""Maximum number of errors reported for one file, a line each."""


def validate(schema: type[S], values: dict[str, Any], source: str, overridden: set[tuple[str, ...]] | None = None) -> S:
    """Returns ``schema(**values)``. Raises: ConfigError with one line per error: where, which key, why, what instead."""
    try:
        return schema.model_validate(values)
    except ValidationError as failure:
        lines = []
        for problem in _causes(failure.errors()):
            keys = _written_keys(values, problem)
            unknown = problem["type"] == "extra_forbidden"
            given_by = "command line" if _is_overridden(keys, overridden or set(), unknown) else source
            lines.append(f"{given_by}: {_explain(schema, keys, problem)}")
        # A key that is missing because it is misspelled is one error.
        misspelled = [line for line in lines if "did you mean" in line]
        corrected = {name for name in all_keys(schema) if any(f"mean '{name}'" in line for line in misspelled)}
        lines = [line for line in lines if not any(f"'{name}' is missing" in line for name in corrected)]
        raise ConfigError("\n".join(dict.fromkeys(lines[:MOST_ERRORS]))) from None


def _causes(problems: list[Any]) -> list[Any]:
    """Leaves out consequential errors: a list is also too short if one of its items is invalid."""
    refused = [problem["loc"] for problem in problems]
    return [
        problem
        for problem in problems
        if problem["type"] != "too_short"
        or not any(loc[: len(problem["loc"])] == problem["loc"] and len(loc) > len(problem["loc"]) for loc in refused)
    ]


def _is_overridden(keys: tuple[str, ...], overridden: set[tuple[str, ...]], unknown: bool) -> bool:
    """Returns whether an override set the key; an override of a key in an unknown section creates the section."""
    above = any(keys[:length] in overridden for length in range(1, len(keys) + 1))
    return above or (unknown and any(item[: len(keys)] == keys for item in overridden))


def _written_keys(values: Any, problem: Any) -> tuple[str, ...]:
    """Returns the path of the problem in the file: pydantic's, without the names of its own union members."""
    keys = []
    for depth, part in enumerate(problem["loc"], start=1):
        inside = part in values if isinstance(values, dict) else isinstance(values, list) and part in range(len(values))
        if inside:
            values = values[part]
        if inside or (problem["type"] == "missing" and depth == len(problem["loc"])):
            keys.append(str(part))
    return tuple(keys)


RENAMED = {
    "data.stages": "data.phases",
    "training.checkpoint_activations": "training.activation_checkpointing",
}
"""Keys of earlier versions -> their present names."""
REASONS = {
    "invalid_key": "keys are text; put it in quotes",
    "too_short": "needs at least {min_length} item(s)",
    "too_long": "has more than {max_length} items",
    "tuple_type": "expected a list",
    "dict_type": "expected keys with values, as in {{key: value}}",
    "string_type": "expected text; put it in quotes if it is meant as text",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "int_parsing_size": "too many digits",
    "less_than_equal": "must be at most {le:,}",
    "greater_than_equal": "must be at least {ge}",
}
"""Messages for those of pydantic's error types whose own messages speak of Python."""


def _plain(limit: Any) -> Any:
    """Returns whole floats as integers: pydantic's bounds of ``float`` keys are floats."""
    return int(limit) if isinstance(limit, float) and limit.is_integer() else limit


def _explain(schema: type[BaseModel], keys: tuple[str, ...], problem: Any) -> str:
    dotted, given = ".".join(keys), problem["input"]
    reason = reason_of(problem)
    if problem["type"] == "missing" and keys[-1].isdecimal():  # an item of a list of fixed length
        return f"{dotted.rpartition('.')[0]}={shown(given)}: item {int(keys[-1]) + 1} is missing"
    if problem["type"] == "extra_forbidden" and dotted in RENAMED:
        return f"unknown key '{dotted}'; it is now called '{RENAMED[dotted]}'"
    if problem["type"] == "extra_forbidden":
        return f"unknown key '{dotted}'{did_you_mean(dotted, all_keys(schema))}"
    if problem["type"] == "invalid_key":
        return f"unknown key '{dotted}': {reason}"
    if problem["type"] == "missing":
        return f"'{dotted}' is missing; add it"
    if problem["type"] == "union_tag_not_found":
        return f"'{dotted}.{problem['ctx']['discriminator'].strip(chr(39))}' is missing; add it"
    if problem["type"] in ("model_type", "model_attributes_type"):
        return f"{dotted}={shown(given)}: this is a section; write {dotted}.key instead"
    if problem["type"] == "bool_as_number":
        return f"{dotted}.{reason}"
    if isinstance(given, dict) and problem["type"] not in REASONS and not problem["type"].endswith("_type"):
        return f"{dotted}: {reason}" if dotted else reason
    return f"{dotted}={shown(given)}: {reason}"


def reason_of(problem: Any) -> str:
    """Returns why a value is invalid, without speaking of Python."""
    reason = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "union_tag_invalid":
        tag, known = problem["ctx"]["tag"], problem["ctx"]["expected_tags"].replace("'", "").split(", ")
        return f"{shown(tag)} is no {problem['ctx']['discriminator'].strip(chr(39))}{did_you_mean(tag[:80], known)}"
    if problem["type"] in REASONS:
        reason = REASONS[problem["type"]].format(**{k: _plain(v) for k, v in problem.get("ctx", {}).items()})
    return f"{reason[0].lower()}{reason[1:]}"


def all_keys(schema: type[BaseModel], prefix: str = "") -> list[str]:
    """Returns every dotted key of a schema, including sections."""
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

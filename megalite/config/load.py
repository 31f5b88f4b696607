"""Loads a ``RunConfig`` from a YAML file and ``section.key=value`` overrides."""

from pathlib import Path
from typing import Any

from megalite.config.checks import check_run
from megalite.config.errors import ConfigError
from megalite.config.explain import validate
from megalite.config.paths import find_data
from megalite.config.schema import RunConfig
from megalite.config.section import shown
from megalite.config.text_files import kind_of, parse_yaml, read_yaml_file

MOST_CHARACTERS = 10_000
"""Maximum length of one value on the command line."""


def load_run_config(path: Path, overrides: list[str] | None = None) -> RunConfig:
    """Reads, overrides, validates, and checks across sections.

    Raises: ConfigError with one line per mistake; FileNotFoundError if ``path`` does not exist.
    """
    values = read_yaml(path)
    overridden = apply_overrides(values, overrides or [])
    config = validate(RunConfig, values, str(path), overridden)
    check_run(config, str(path))
    return find_data(config, path)


def read_yaml(path: Path) -> dict[str, Any]:
    """Returns the mapping in a YAML file. Raises: FileNotFoundError, ConfigError."""
    values = read_yaml_file(path)
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: contains {kind_of(values)}, not sections such as 'model:' and 'data:'")
    return values


def apply_overrides(values: dict[str, Any], overrides: list[str]) -> set[tuple[str, ...]]:
    """Applies ``section.key=value`` items to ``values``, reading each value as YAML; returns the key paths written."""
    written = set()
    for item in overrides:
        dotted, equals, text = item.partition("=")
        keys = tuple(dotted.split("."))
        if not equals or not all(keys):
            raise ConfigError(f"command line: {shown(item)} is not section.key=value (for example optimizer.lr=3e-4)")
        source = f"command line: {shown(item)}"
        if len(text) > MOST_CHARACTERS:
            raise ConfigError(f"{source}: longer than {MOST_CHARACTERS:,} characters; write it into the file")
        value = parse_yaml(text, source)
        section = values
        for depth, key in enumerate(keys[:-1]):
            below = section.get(key)
            if below is None:
                below = section[key] = {}
            if not isinstance(below, dict):
                raise ConfigError(f"{source}: '{'.'.join(keys[: depth + 1])}' is a value, not a section")
            section = below
        section[keys[-1]] = value
        written.add(keys)
    return written

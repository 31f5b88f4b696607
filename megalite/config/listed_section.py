"""A section that stands in a list of a recipe, such as a source or a filter."""

from typing import Any

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from megalite.config.explain import did_you_mean
from megalite.config.section import Section


class ListedSection(Section):
    """A frozen group of keys. Its key ``kind`` selects the class; an unknown key is an error that suggests the nearest."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, values: Any) -> Any:
        known = list(cls.model_fields)
        for key in values if isinstance(values, dict) else ():
            if key not in known:
                text = f"unknown key '{key}'{did_you_mean(str(key), known) or '; known are ' + ', '.join(known)}"
                raise PydanticCustomError("unknown_key", "{text}", {"text": text})
        return values

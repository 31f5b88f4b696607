"""The base class of config sections: frozen, no unknown keys, finite numbers in any notation of YAML."""

import reprlib
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError


def _one_line(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("a line of printable text is needed here")
    return text


OneLine = Annotated[str, Field(max_length=4096), AfterValidator(_one_line)]
"""A name, a path or a pattern."""


class Section(BaseModel):
    """A frozen group of keys. Unknown keys are errors; a bool is never a number, nor are ``.inf`` and ``.nan``.

    YAML 1.1 reads ``3e-4`` as a string, so number fields accept numeric strings (pydantic's lax mode). YAML reads a section
    whose keys are all commented out as null, which becomes a section without keys.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _refuse_bool_as_number(cls, values: Any) -> Any:
        if isinstance(values, dict):
            for key, value in values.items():
                field = cls.model_fields.get(key)
                if isinstance(value, bool) and field is not None:
                    accepted = get_args(field.annotation) or (field.annotation,)
                    if bool not in accepted:
                        text = f"{key}={str(value).lower()}: true and false are not values of this key"
                        raise PydanticCustomError("bool_as_number", "{text}", {"text": text})
        return values

    @model_validator(mode="before")
    @classmethod
    def _null_is_an_empty_section(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {key: {} if value is None and cls._is_section(key) else value for key, value in values.items()}

    @classmethod
    def _is_section(cls, key: Any) -> bool:
        field = cls.model_fields.get(key)
        kind = None if field is None else field.annotation
        return isinstance(kind, type) and issubclass(kind, Section)


def shown(value: Any) -> str:
    """Formats a value for a message: in YAML's notation, shortened."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return _SHORT.repr(value)


_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxdict, _SHORT.maxstring, _SHORT.maxother = 2, 3, 80, 80

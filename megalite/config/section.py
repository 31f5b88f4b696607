"""The base of every config section: frozen, nothing unknown, numbers as YAML writes them."""

from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError


class Section(BaseModel):
    """A frozen group of keys. Unknown keys are errors; a bool never passes as a number.

    YAML 1.1 reads ``3e-4`` as a string, so number fields take numeric strings (pydantic's lax mode does).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _refuse_bool_as_number(cls, values: Any) -> Any:
        if isinstance(values, dict):
            for key, value in values.items():
                field = cls.model_fields.get(key)
                if isinstance(value, bool) and field is not None:
                    accepted = get_args(field.annotation) or (field.annotation,)
                    if bool not in accepted:
                        text = f"{key}={str(value).lower()}: this is not a value of the key; write the value itself"
                        raise PydanticCustomError("bool_as_number", "{text}", {"text": text})
        return values

"""Bounded whole numbers for configs: beyond every machine and every published model, but small enough to plan with.

A config is checked, planned and printed before anything is allocated; the bounds keep that quick for any config.
"""

from typing import Annotated, Any

from pydantic import Field, PositiveInt


def unit(name: str) -> Any:
    """The unit of a number, for the configuration reference."""
    return Field(json_schema_extra={"unit": name})


Width = Annotated[int, Field(gt=0, le=2**22)]
"""Hidden and intermediate sizes, numbers of heads."""
Layers = Annotated[int, Field(gt=0, le=2**12), unit("layers")]
Vocabulary = Annotated[int, Field(gt=0, le=2**24), unit("tokens")]
Positions = Annotated[int, Field(gt=0, le=2**27), unit("tokens")]
"""Tokens of a sequence."""
Samples = Annotated[int, Field(gt=0, le=2**24), unit("samples")]
"""Samples of a batch."""
Steps = Annotated[int, Field(gt=0, le=10**9), unit("steps")]
EverySteps = Annotated[PositiveInt, unit("steps")]
Ranks = Annotated[int, Field(gt=0, le=2**20), unit("ranks")]
Processes = Annotated[int, Field(gt=0, le=2**12), unit("processes")]
"""Processes on one machine."""
Seconds = Annotated[int, Field(gt=0, le=10**8), unit("s")]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
"""The range of NumPy's seeds."""
MOST_SOURCES = 512

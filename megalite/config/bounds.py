"""Whole numbers with an end: past every machine and every published model, so that no typing error allocates the memory.

A config is checked, planned and printed before anything is allocated; these bounds keep that quick for any config.
"""

from typing import Annotated

from pydantic import Field

Width = Annotated[int, Field(gt=0, le=2**22)]
"""Of a matrix: hidden and intermediate sizes, numbers of heads."""
Layers = Annotated[int, Field(gt=0, le=2**12)]
Vocabulary = Annotated[int, Field(gt=0, le=2**24)]
Positions = Annotated[int, Field(gt=0, le=2**27)]
"""Tokens of a sequence."""
Samples = Annotated[int, Field(gt=0, le=2**24)]
"""Of a batch."""
Steps = Annotated[int, Field(gt=0, le=10**9)]
Ranks = Annotated[int, Field(gt=0, le=2**20)]
Processes = Annotated[int, Field(gt=0, le=2**12)]
"""Of one machine."""
Seconds = Annotated[int, Field(gt=0, le=10**8)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
"""As NumPy takes it."""
MOST_SOURCES = 512

"""The nearest known name, for error messages."""

import difflib
from collections.abc import Iterable


def suggestion(name: str, known: Iterable[str], otherwise: str) -> str:
    """``did you mean 'NAME'?`` for a close match among ``known``, else ``otherwise``."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean '{near[0]}'?" if near else otherwise

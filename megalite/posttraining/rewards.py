"""Verifiable rewards: 1 if an answer agrees with the solution, else 0."""

import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

MARK = "####"
"""The mark before the result in GSM8K's solutions (Cobbe et al. 2021, arXiv:2110.14168)."""
NUMBER = re.compile(r"(?<![\w.])[-+−]?[$€£]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?!\w)|(?<![\w.])[-+−]?\.\d+(?!\w)")


def final_number(text: str) -> Decimal | None:
    """The number after the last ``####``, else the last number in the text; None if there is none."""
    _, mark, tail = text.rpartition(MARK)
    found = NUMBER.findall(tail) if mark else NUMBER.findall(text)
    if not found:
        return None
    digits = re.sub(r"[$€£,]", "", found[0] if mark else found[-1]).replace("−", "-")
    try:
        return Decimal(digits)
    except InvalidOperation:
        return None


def number_is_right(answer: str, solution: str) -> bool:
    """Whether both texts end in the same number; 72, 72.0 and $72 are equal."""
    expected = final_number(solution)
    return expected is not None and final_number(answer) == expected


def text_is_right(answer: str, solution: str) -> bool:
    """Whether both texts are equal, ignoring case, white space and a final full stop."""
    return _plain(answer) == _plain(solution)


def reward_function(name: str) -> Callable[..., list[float | None]]:
    """The reward function of TRL for ``final_number`` or ``exact_match``."""
    is_right = {"final_number": number_is_right, "exact_match": text_is_right}[name]

    def reward(completions: list[Any], solution: list[str], **kwargs: Any) -> list[float | None]:
        answers = [said if isinstance(said, str) else said[-1]["content"] for said in completions]
        return [float(is_right(answer, expected)) for answer, expected in zip(answers, solution, strict=True)]

    reward.__name__ = name  # TRL logs it as rewards/NAME
    return reward


def check_solution(name: str, solution: str) -> None:
    """Raises: ValueError if no answer could agree with the solution."""
    if name == "final_number" and final_number(solution) is None:
        raise ValueError(f"the solution has no number ({solution[:40]!r}), so no answer could be right")


def _plain(text: str) -> str:
    return " ".join(text.split()).rstrip(".").casefold()

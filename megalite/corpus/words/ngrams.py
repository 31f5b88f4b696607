"""Repeated n-grams of a document: characters in the most frequent one, and in those that occurred before."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]

TOP = (2, 3, 4)
DUPLICATE = (5, 6, 7, 8, 9, 10)


@dataclass(frozen=True)
class NgramCharacters:
    """Numbers of characters, by n."""

    top: dict[int, int]
    """In all occurrences of the most frequent n-gram, including spaces; of several, the earliest one."""
    duplicate: dict[int, int]
    """In n-grams that occurred before. Matches do not overlap, so each character counts once."""


def ngram_characters(words: Numbers, lengths: Numbers) -> NgramCharacters:
    """Counts the n-grams of Gopher's repetition rules (Rae et al. 2021, arXiv:2112.11446, section A.1.1).

    An n-gram can be repeated only if the (n-1)-gram at the same place is, so each n examines only the places that the
    one before left: almost none in clean text.

    Args:
        words: the number of each word of the document, below 2**31.
        lengths: number of characters of each word.
    """
    count = len(words)
    ends = np.concatenate(([0], np.cumsum(lengths)))
    top, duplicate = dict.fromkeys(TOP, 0), dict.fromkeys(DUPLICATE, 0)
    places = np.arange(count)
    groups = words
    for n in range(2, DUPLICATE[-1] + 1):
        inside = places <= count - n
        places, groups = places[inside], groups[inside]
        first, times = 0, 1
        if len(places):
            keys = (groups << 32) | words[places + n - 1]
            places, groups, first, times = _repeated(places, keys)
        if n in TOP and count >= n:
            top[n] = (int(ends[first + n] - ends[first]) + n - 1) * times
        if n in DUPLICATE and len(places):
            duplicate[n] = _duplicate_characters(places, groups, ends, n)
    return NgramCharacters(top, duplicate)


def _repeated(places: Numbers, keys: Numbers) -> tuple[Numbers, Numbers, int, int]:
    """Returns the places whose key occurs more than once, their group numbers, and the largest group's first place and size.

    If no key is repeated, the largest group is the first n-gram of the document, with size 1.
    """
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    is_new = np.concatenate(([True], ordered[1:] != ordered[:-1]))
    starts = np.flatnonzero(is_new)
    sizes = np.diff(np.append(starts, len(keys)))
    largest = int(sizes.max())
    if largest == 1:
        return places[:0], keys[:0], 0, 1
    firsts = places[order[starts]]
    earliest = int(firsts[sizes == largest].min())
    group_of = np.empty(len(keys), dtype=np.int64)
    group_of[order] = np.cumsum(is_new) - 1
    is_repeated = sizes[group_of] > 1
    return places[is_repeated], group_of[is_repeated], earliest, largest


def _duplicate_characters(places: Numbers, groups: Numbers, ends: Numbers, n: int) -> int:
    seen: set[int] = set()
    characters, free = 0, 0
    for place, group in zip(places.tolist(), groups.tolist(), strict=True):
        if place < free:
            continue
        if group in seen:
            characters += int(ends[place + n] - ends[place])
            free = place + n
        else:
            seen.add(group)
    return characters

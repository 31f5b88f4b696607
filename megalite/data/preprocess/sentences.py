"""Splits texts into sentences with ``sentencex`` (MIT; Wikimedia's rules for some 240 languages; works offline)."""

from megalite.config.errors import DataError

LONGEST_STRETCH = 1_000_000
"""Maximum number of characters split at once, as in Megatron-LM; a longer text is cut first."""


def splitter_version() -> str:
    """Name and version of the splitter. Raises: DataError if it is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"sentencex {version('sentencex')}"
    except PackageNotFoundError:
        raise DataError("--level sentence: sentencex is not installed; pip install sentencex") from None


def split_sentences(text: str, language: str) -> list[str]:
    """The sentences without surrounding whitespace, as Megatron-LM's default; none is empty."""
    import sentencex

    sentences: list[str] = []
    for start in range(0, len(text), LONGEST_STRETCH):
        sentences += map(str.strip, sentencex.segment(language, text[start : start + LONGEST_STRETCH]))
    return [sentence for sentence in sentences if sentence]

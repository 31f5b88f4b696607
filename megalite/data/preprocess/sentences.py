"""Texts into sentences, by ``sentencex`` (MIT, rules of Wikimedia's for some 240 languages; works offline)."""

from megalite.config.errors import DataError

LONGEST_STRETCH = 1_000_000
"""Characters split at once, as in Megatron-LM: a longer text is cut there first."""


def splitter_version() -> str:
    """What decides the boundaries. Raises: DataError where it is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"sentencex {version('sentencex')}"
    except PackageNotFoundError:
        raise DataError("--level sentence: sentencex is not installed; pip install sentencex") from None


def split_sentences(text: str, language: str) -> list[str]:
    """The sentences without the whitespace around them, as Megatron-LM has them by default; none is empty."""
    import sentencex

    sentences: list[str] = []
    for start in range(0, len(text), LONGEST_STRETCH):
        sentences += map(str.strip, sentencex.segment(language, text[start : start + LONGEST_STRETCH]))
    return [sentence for sentence in sentences if sentence]

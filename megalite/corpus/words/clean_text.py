"""Normalization of characters and white space that keeps the meaning of a text."""

import re
import unicodedata

LINE_BREAK = re.compile("\r\n|[\r\x0b\x0c\x1c-\x1e\x85\u2028]")
"""Line endings of other systems, including page breaks (Unicode 5.8, newline guidelines)."""
PARAGRAPH_BREAK = "\u2029"
INVISIBLE = re.compile("[\x00-\x08\x0e-\x1b\x1f\x7f\ufeff\u200b]")
SURROGATE = re.compile("[\ud800-\udfff]")
TRAILING_SPACE = re.compile(r"[ \t]+$", re.MULTILINE)
BLANK_LINES = re.compile(r"\n{4,}")


def clean_text(text: str) -> str:
    """Returns the text in NFC with Unix line endings and at most two consecutive blank lines.

    Removes control characters, invisible characters and trailing spaces. Lone surrogates become U+FFFD.
    """
    text = LINE_BREAK.sub("\n", text)
    if not text.isascii():
        text = SURROGATE.sub("\ufffd", text).replace(PARAGRAPH_BREAK, "\n\n")
        text = unicodedata.normalize("NFC", text)
    text = TRAILING_SPACE.sub("", INVISIBLE.sub("", text))
    return BLANK_LINES.sub("\n\n\n", text).strip("\n")

"""Characters put in order, without changing what is said."""

import re
import unicodedata

LINE_BREAK = re.compile("\r\n|[\r\x0b\x0c\x1c-\x1e\x85\u2028]")
"""What ends a line elsewhere, page breaks among them (Unicode 5.8, newline guidelines)."""
PARAGRAPH_BREAK = "\u2029"
INVISIBLE = re.compile("[\x00-\x08\x0e-\x1b\x1f\x7f\ufeff\u200b]")
SURROGATE = re.compile("[\ud800-\udfff]")
TRAILING_SPACE = re.compile(r"[ \t]+$", re.MULTILINE)
BLANK_LINES = re.compile(r"\n{4,}")


def clean_text(text: str) -> str:
    """NFC, Unix line ends, no control or invisible characters, no trailing spaces, at most two blank lines in a row.

    A lone surrogate, which no UTF-8 file can hold, becomes U+FFFD.
    """
    text = LINE_BREAK.sub("\n", text)
    if not text.isascii():
        text = SURROGATE.sub("\ufffd", text).replace(PARAGRAPH_BREAK, "\n\n")
        text = unicodedata.normalize("NFC", text)
    text = TRAILING_SPACE.sub("", INVISIBLE.sub("", text))
    return BLANK_LINES.sub("\n\n\n", text).strip("\n")

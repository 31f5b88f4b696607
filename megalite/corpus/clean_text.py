"""Characters put in order, without changing what is said."""

import re
import unicodedata

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff\u200b\u2028\u2029]")
TRAILING_SPACE = re.compile(r"[ \t]+$", re.MULTILINE)
BLANK_LINES = re.compile(r"\n{4,}")


def clean_text(text: str) -> str:
    """NFC, Unix line ends, no control or invisible characters, no trailing spaces, at most two blank lines in a row.

    A lone surrogate, which no UTF-8 file can hold, becomes U+FFFD.
    """
    text = text.encode("utf-8", "replace").decode("utf-8") if not text.isascii() else text
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
    text = TRAILING_SPACE.sub("", CONTROL.sub("", text))
    return BLANK_LINES.sub("\n\n\n", text).strip("\n")

"""The names under which the ledger counts a document: its source and its language."""

from megalite.files.readers.documents import Document

LANGUAGE_KEY = "detected_language"
LONGEST_CODE = 3


def source_of(document: Document) -> str:
    """The name of a document's source."""
    return str(document.meta.get("source") or document.path.rpartition("/")[2])


def language_of(document: Document) -> str | None:
    """The language under which the recipe's filters judged a document, if they know several."""
    code = document.meta.get(LANGUAGE_KEY)
    return code if isinstance(code, str) and len(code) <= LONGEST_CODE else None

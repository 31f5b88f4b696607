"""A corpus that exists on every machine: documentation and docstrings of the installed Python packages.

Nothing is imported or executed; sources are parsed. The texts belong to their authors and are read in place.
"""

import ast
import re
import sysconfig
import warnings
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from inspect import cleandoc
from pathlib import Path

from megalite.files.readers.documents import Document

SHORTEST_DOCSTRING = 200
"""Minimum number of characters; shorter ones add little to the signature."""
LARGEST_FILE = 2_000_000
LONG_STRING = re.compile(rf'"""(?:[^"]|"(?!"")){{{SHORTEST_DOCSTRING}}}')
Definition = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
TEXT_SUFFIXES = (".md", ".rst", ".txt")
NOT_READ = {"..", "site-packages", "test", "tests", "testing"}
WRITTEN_FOR_MACHINES = ("RECORD", "top_level.txt", "entry_points.txt", "SOURCES.txt", "requires.txt")


def installed_documents(max_bytes: int | None = None) -> Iterator[Document]:
    """Docstrings (one document per module), READMEs, licenses and other prose, in a fixed order.

    ``meta`` has the package, the path inside it and the kind. Stops after ``max_bytes`` of UTF-8.
    """
    total = 0
    for document in _all_documents():
        total += len(document.text.encode("utf-8", "replace"))
        if max_bytes is not None and total > max_bytes:
            return
        yield document


def _all_documents() -> Iterator[Document]:
    # A distribution parses its metadata at every access, so read its name and description only once.
    found = ((_name(item), item) for item in distributions())
    named = [(name, item) for name, item in found if name]
    packages = sorted(named, key=lambda pair: pair[0].lower())
    for name, package in packages:
        description = (package.read_text("METADATA") or "").partition("\n\n")[2]
        if len(description) >= SHORTEST_DOCSTRING:
            yield _document(description, name, "METADATA", "description")
        for file in sorted(package.files or (), key=str):
            if not NOT_READ & set(file.parts):
                yield from _file_documents(Path(str(file.locate())), name, str(file))
    library = Path(sysconfig.get_path("stdlib"))
    for path in sorted(library.rglob("*.py")):
        inside = path.relative_to(library)
        if not NOT_READ & set(inside.parts):
            yield from _file_documents(path, "python", str(inside))


def _name(package: Distribution) -> str | None:
    """None for the remains of an interrupted pip; with the importlib_metadata package imported, these raise instead."""
    try:
        return package.name
    except FileNotFoundError:
        return None


def _file_documents(path: Path, package: str, inside: str) -> Iterator[Document]:
    is_source, is_prose = path.suffix == ".py", path.suffix in TEXT_SUFFIXES or "LICENSE" in path.name
    if not (is_source or is_prose) or path.name in WRITTEN_FOR_MACHINES:
        return
    try:
        if path.stat().st_size > LARGEST_FILE:
            return
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return
    if is_prose:
        if len(text) >= SHORTEST_DOCSTRING:
            yield _document(text, package, inside, "prose")
        return
    if docstrings := module_docstrings(text):
        yield _document("\n\n".join(docstrings), package, inside, "docstrings")


def module_docstrings(source: str) -> list[str]:
    """Returns the longer docstrings of a module, its classes and functions, in source order."""
    if not LONG_STRING.search(source):  # parsing is expensive
        return []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # other people's invalid escapes
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return []
    found = (ast.get_docstring(node, clean=False) for node in _definitions(tree))
    return [cleandoc(text) for text in found if text is not None and len(text) >= SHORTEST_DOCSTRING]


def _definitions(node: ast.AST) -> Iterator[Definition]:
    """The module and all nested classes and functions, in source order; expressions are not visited."""
    if isinstance(node, Definition):
        yield node
    for statement in getattr(node, "body", ()):
        yield from _definitions(statement)


def _document(text: str, package: str, inside: str, kind: str) -> Document:
    return Document(text, {"source": package, "path": inside, "kind": kind}, f"{package}/{inside}", 1)

"""``tools/dedup.py``: the command line of :mod:`~megalite.corpus.dedup.deduplicate` and its audit."""

from pathlib import Path

from megalite.config.command_line import CommandParser, number_of_workers, real_number, whole_number
from megalite.config.errors import one_line_errors
from megalite.config.explain import validate
from megalite.config.screen import screen
from megalite.corpus.dedup.audit import audit
from megalite.corpus.dedup.deduplicate import DedupOptions, deduplicate
from megalite.corpus.dedup.minhash import MOST_MINIMA, MOST_WORDS, Bands
from megalite.files.readers.options import add_read_options, read_options


@one_line_errors
def main() -> None:
    """``tools/dedup.py``."""
    parser = CommandParser(
        description="Remove exact and near-duplicate documents, and list every removed one with its twin."
    )
    parser.add_argument("--input", nargs="+", required=True, metavar="FILE", help="files or quoted globs")
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder for shards, ledger and removed documents")
    add_read_options(parser)
    defaults = Bands()
    parser.add_argument(
        "--threshold", type=real_number(0, 1), default=defaults.threshold, help="Jaccard similarity of duplicates"
    )
    parser.add_argument(
        "--ngram", type=whole_number(1, MOST_WORDS), default=defaults.ngram, help="length of an n-gram, in words"
    )
    parser.add_argument(
        "--bands", type=whole_number(1, MOST_MINIMA), default=defaults.bands, help="number of MinHash bands"
    )
    parser.add_argument(
        "--rows", type=whole_number(1, MOST_MINIMA), default=defaults.rows, help="MinHash values in a band"
    )
    parser.add_argument("--keep", choices=("first", "longest", "best"), default="first", help="which copy to keep")
    parser.add_argument("--quality_key", help="key of the quality score in the metadata; required with --keep best")
    parser.add_argument(
        "--against",
        nargs="+",
        type=Path,
        default=[],
        metavar="DIR",
        help="also remove duplicates of these indexed outputs",
    )
    parser.add_argument("--write_index", action="store_true", help="write an index for a later --against")
    parser.add_argument("--workers", type=number_of_workers, default=1, help="worker processes; the output is the same")
    parser.add_argument(
        "--memory_mb", type=whole_number(), default=2048, help="memory limit of all processes together, in MB"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")
    parser.add_argument("--audit", action="store_true", help="write nothing: measure recall on inserted copies")
    a = parser.parse_args()
    bands = validate(
        Bands, {key: getattr(a, key) for key in ("threshold", "ngram", "bands", "rows")}, "the command line"
    )
    console = screen()
    if a.audit:
        audit(a.input, bands, a.text_key, console, a.workers, a.memory_mb, a.max_malformed)
        return
    if a.output is None:
        parser.error("--output is needed (or --audit)")
    options = DedupOptions(a.keep, a.quality_key, tuple(a.against), a.write_index, read_options(a))
    deduplicate(a.input, a.output, bands, console, options, a.workers, a.memory_mb, a.overwrite)

"""Trains a classifier (toxicity, spam, quality) on labelled documents and measures it on held-out ones."""

import argparse
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from scipy.sparse import csr_array
from scipy.special import expit

from megalite.config.command_line import CommandParser, whole_number
from megalite.config.errors import ConfigError, DataError, one_line_errors
from megalite.config.screen import screen
from megalite.config.text_files import kind_of
from megalite.corpus.classify.classifier import FEWEST_BITS, MOST_BITS, WORD, Classifier, Features, load_classifier
from megalite.corpus.classify.logistic import Buckets, Doubles, calibrate, feature_matrix, fit, log_loss
from megalite.corpus.words.clean_text import clean_text
from megalite.files.place import check_output_file
from megalite.files.readers.documents import Document, read_documents
from megalite.files.readers.input_files import expand_inputs
from megalite.files.readers.malformed import add_max_malformed

PENALTIES = (1e-4, 1e-5, 1e-6)
"""Strongest first; each fit starts from the previous one."""
FEWEST = 20
"""Minimum number of documents of each class in each part."""
PRECISIONS = (0.5, 0.8, 0.9, 0.95, 0.99)


@one_line_errors
def main() -> None:
    """``tools/train_classifier.py``."""
    parser = CommandParser(description="Train a linear document classifier and print its precision and recall.")
    parser.add_argument(
        "--input", nargs="+", default=[], metavar="GLOB", help="labelled documents: files or quoted globs"
    )
    parser.add_argument(
        "--label_key", default="label", metavar="KEY", help="key of the label, in the record or in its metadata"
    )
    parser.add_argument("--positive", nargs="+", default=[], metavar="LABEL", help="labels of the documents to detect")
    parser.add_argument(
        "--negative", nargs="+", default=[], metavar="LABEL", help="the other labels; default: all others"
    )
    parser.add_argument(
        "--positive_input", nargs="+", default=[], metavar="GLOB", help="files that contain only positive documents"
    )
    parser.add_argument(
        "--negative_input", nargs="+", default=[], metavar="GLOB", help="files that contain only negative documents"
    )
    parser.add_argument("--text_key", default="text", metavar="KEY", help="JSON key or parquet column of the text")
    add_max_malformed(parser)
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FILE", help="classifier to write, a .safetensors file"
    )
    parser.add_argument(
        "--bits", type=whole_number(FEWEST_BITS, MOST_BITS), default=20, help="2**BITS weights; 20 bits are 4 MB"
    )
    parser.add_argument(
        "--max_characters", type=whole_number(1, 10**9), default=20000, help="characters to read of a longer document"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")
    arguments = parser.parse_args()
    check_arguments(arguments)
    console = screen()
    labelled = _labelled_documents(arguments)
    features = Features(bits=arguments.bits, max_characters=arguments.max_characters)
    classifier, report = train_classifier(labelled, features, console)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    classifier.save(arguments.output)
    report.print(console, str(arguments.output))


def check_arguments(arguments: argparse.Namespace) -> None:
    """Raises: ConfigError, DataError, OSError."""
    if arguments.input and not arguments.positive:
        raise ConfigError("--input: name the labels of the positive class with --positive")
    if both := set(arguments.positive) & set(arguments.negative):
        raise ConfigError(f"--positive {min(both)}: is also under --negative; remove it from one")
    if not arguments.input and not (arguments.positive_input and arguments.negative_input):
        raise ConfigError("no training data; give --input with --positive, or --positive_input and --negative_input")
    inputs = (arguments.input, arguments.positive_input, arguments.negative_input)
    read = [path for patterns in inputs for path in expand_inputs(patterns)]
    check_output_file(arguments.output, read, arguments.overwrite)
    if arguments.output.exists():
        load_classifier(arguments.output)  # --overwrite replaces a classifier, and no other file


def _labelled_documents(arguments: argparse.Namespace) -> Iterator[tuple[str, bool]]:
    for is_positive, patterns in ((True, arguments.positive_input), (False, arguments.negative_input)):
        for document in read_documents(
            expand_inputs(patterns), arguments.text_key, max_malformed=arguments.max_malformed
        ):
            yield document.text, is_positive
    positive, negative = set(arguments.positive), set(arguments.negative)
    for document in read_documents(
        expand_inputs(arguments.input), arguments.text_key, max_malformed=arguments.max_malformed
    ):
        label = _label(document, arguments.label_key)
        if label in positive or label in negative or not negative:
            yield document.text, label in positive


def _label(document: Document, key: str) -> str:
    if key not in document.meta:
        found = ", ".join(list(document.meta)[:8]) or "none"
        raise DataError(
            f"{document.path}:{document.line}: no '{key}' in the record; its keys are {found}; see --label_key"
        )
    label = document.meta[key]
    if not isinstance(label, str | int | float):
        place, kind = f"{document.path}:{document.line}", kind_of(label)
        raise DataError(f"{place}: '{key}' is {kind}; a label is text, a number or a boolean; see --label_key")
    return str(label)


@dataclass(frozen=True)
class Report:
    """Results of a classifier on held-out documents."""

    counts: dict[str, tuple[int, int]]
    """Number of documents and of positive ones, by part."""
    chances: Doubles
    raw_chances: Doubles
    labels: Doubles
    penalty: float

    def facts(self) -> dict[str, Any]:
        """Returns the figures for the classifier file."""
        return {
            "documents": {part: list(counts) for part, counts in self.counts.items()},
            "area_under_roc": round(area_under_roc(self.chances, self.labels), 4),
            "calibration_error": round(calibration_error(self.chances, self.labels), 4),
            "thresholds": [[round(float(value), 4) for value in row] for row in self.rows()],
        }

    def rows(self) -> list[tuple[float, float, float, float]]:
        """Returns (threshold, precision, recall, share of documents above) at 0.5 and for each of ``PRECISIONS``."""
        order = np.argsort(-self.chances, kind="stable")
        chances, hits = self.chances[order], np.cumsum(self.labels[order])
        precision, recall = hits / np.arange(1, len(order) + 1), hits / max(1.0, hits[-1])
        is_last = np.append(chances[1:] != chances[:-1], True)  # equal scores are on the same side
        places = []
        half = np.flatnonzero(chances > 0.5)
        if len(half):
            places.append(int(half[-1]))
        for wanted in PRECISIONS:
            good = np.flatnonzero((precision >= wanted) & is_last)
            if len(good):
                places.append(int(good[-1]))
        rows = {
            (float(chances[place]), float(precision[place]), float(recall[place]), (place + 1) / len(order))
            for place in places
        }
        return sorted(rows)

    def print(self, console: Console, title: str) -> None:
        """Prints the training data, precision and recall by threshold, and the calibration error."""
        for part, (documents, positives) in self.counts.items():
            console.print(f"{part:<12} {documents:,} documents, {positives:,} positive", highlight=False)
        table = Table(
            "probability", "precision", "recall", "share above", title=f"{title}: held-out", title_justify="left"
        )
        for threshold, precision, recall, share in self.rows():
            table.add_row(f"{threshold:.3f}", f"{precision:.1%}", f"{recall:.1%}", f"{share:.1%}")
        console.print(table)
        roc = area_under_roc(self.chances, self.labels)
        before, after = (calibration_error(chances, self.labels) for chances in (self.raw_chances, self.chances))
        console.print(
            f"area under ROC {roc:.4f}; calibration error {before:.3f} before, {after:.3f} after", highlight=False
        )


def train_classifier(
    labelled: Iterator[tuple[str, bool]], features: Features, console: Console
) -> tuple[Classifier, Report]:
    """Fits on 80 % of the documents, selects the penalty and calibrates on 10 %, and tests on the rest.

    A hash of its words decides the part of a document, so all copies of a text are in the same part.

    Raises: DataError if a class is missing or too small.
    """
    rows: dict[str, list[Buckets]] = {"trained on": [], "calibrated": [], "held out": []}
    labels: dict[str, list[bool]] = {part: [] for part in rows}
    columns = (SpinnerColumn(), TextColumn("{task.completed:,} documents"), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None)
        for text, is_positive in labelled:
            text = clean_text(text)
            part = _part(text)
            rows[part].append(features.buckets(text))
            labels[part].append(is_positive)
            progress.advance(task)
    for part, found in labels.items():
        fewest = min(sum(found), len(found) - sum(found))
        if fewest < FEWEST:
            raise DataError(
                f"'{part}' has {sum(found)} positive of {len(found)} documents; each part needs at least {FEWEST} of each "
                "class: give more documents, or other --positive labels"
            )
    train, tune, test = (feature_matrix(found, 1 << features.bits) for found in rows.values())
    y_train, y_tune, y_test = (np.asarray(found, dtype=np.float64) for found in labels.values())
    occurring, indices = np.unique(train.indices, return_inverse=True)
    train = csr_array((train.data, indices, train.indptr), shape=(len(y_train), len(occurring)))
    best, least, penalty_chosen, point = None, np.inf, 0.0, np.zeros(len(occurring) + 1)
    for penalty in PENALTIES:
        point = fit(train, y_train, penalty, point)
        weights = np.zeros(1 << features.bits, dtype=np.float32)
        weights[occurring] = point[:-1]
        loss = log_loss(tune @ weights + point[-1], y_tune)
        if loss < least:
            best, least, penalty_chosen = (weights, float(point[-1])), loss, penalty
    assert best is not None
    weights, bias = best
    slope, offset = calibrate(tune @ weights + bias, y_tune)
    raw = test @ weights + bias
    counts = {part: (len(found), sum(found)) for part, found in labels.items()}
    report = Report(counts, expit(slope * raw + offset), expit(raw), y_test, penalty_chosen)
    return Classifier(weights, bias, slope, offset, features, report.facts()), report


def _part(text: str) -> str:
    words = " ".join(WORD.findall(text.lower())).encode("utf-8", "replace")
    lot = hashlib.blake2b(words, digest_size=4).digest()[0] % 10
    return "trained on" if lot < 8 else "calibrated" if lot == 8 else "held out"


def area_under_roc(scores: Doubles, labels: Doubles) -> float:
    """The probability that a positive document scores above a negative one; ties count half (Mann and Whitney)."""
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[place]
    positives = labels.sum()
    negatives = len(labels) - positives
    return float((ranks[labels > 0.5].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def calibration_error(chances: Doubles, labels: Doubles) -> float:
    """The expected calibration error over ten bins (Guo et al. 2017, arXiv:1706.04599, section 2)."""
    bins = np.minimum((chances * 10).astype(int), 9)
    gaps = np.bincount(bins, weights=chances, minlength=10) - np.bincount(bins, weights=labels, minlength=10)
    return float(np.abs(gaps).sum() / len(labels))

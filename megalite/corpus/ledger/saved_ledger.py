"""A ledger as JSON and back, so that the units of a stage can be counted by different processes."""

from collections import Counter
from typing import Any

from megalite.corpus.ledger.ledger import Ledger

PLAIN = ("stage", "read", "kept", "malformed", "malformed_examples", "kept_bytes")
COUNTED = ("dropped", "dropped_bytes", "kept_by_source", "kept_by_language", "fired", "alone", "edited")
BY_NAME = ("dropped_by_source", "dropped_by_language", "histograms")


def ledger_to_json(ledger: Ledger) -> dict[str, Any]:
    """Everything in a ledger, for :func:`ledger_from_json`."""
    assert ledger.read == ledger.kept + ledger.dropped.total(), "a document was lost"
    values = {name: getattr(ledger, name) for name in (*PLAIN, *COUNTED, *BY_NAME, "_samples")}
    return values | {"overlaps": [[*pair, count] for pair, count in ledger.overlaps.items()]}


def ledger_from_json(values: dict[str, Any], read_before: int = 0) -> Ledger:
    """The ledger; ``read_before`` documents of the same stage come before its own."""
    ledger = Ledger(**{name: values[name] for name in PLAIN})
    for name in COUNTED:
        setattr(ledger, name, Counter(values[name]))
    for name in ("dropped_by_source", "dropped_by_language"):
        setattr(ledger, name, {key: Counter(counts) for key, counts in values[name].items()})
    ledger.histograms = {
        rule: Counter({int(bar): count for bar, count in bars.items()}) for rule, bars in values["histograms"].items()
    }
    ledger.overlaps = Counter({(first, second): count for first, second, count in values["overlaps"]})
    ledger._samples = {
        rule: [(lot, number + read_before, example) for lot, number, example in sample]
        for rule, sample in values["_samples"].items()
    }
    return ledger

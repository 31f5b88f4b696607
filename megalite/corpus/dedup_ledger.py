"""The books of a deduplication, added up over its units."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from megalite.corpus.ledger import VICTIMS_KEPT, Ledger
from megalite.corpus.readers import EXAMPLES_KEPT


def merge_ledgers(ledgers: Sequence[dict[str, Any]]) -> Ledger:
    """One ledger of many, as ``Ledger.to_json`` gives them; the first victims and examples are kept."""
    total = Ledger()
    for ledger in ledgers:
        total.read += ledger["read"]
        total.kept += ledger["kept"]
        total.malformed += ledger["malformed"]
        total.malformed_examples = (total.malformed_examples + ledger["malformed_examples"])[:EXAMPLES_KEPT]
        total.kept_bytes += ledger["kept_bytes"]
        total.dropped.update(ledger["dropped"])
        total.kept_by_source.update(ledger["kept_by_source"])
        for source, counts in ledger["dropped_by_source"].items():
            total.dropped_by_source.setdefault(source, Counter()).update(counts)
        for rule, sample in ledger["victims"].items():
            total.victims[rule] = (total.victims.get(rule, []) + sample)[:VICTIMS_KEPT]
    return total

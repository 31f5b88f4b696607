"""What pages of one template cost ``tools/dedup.py``: under the threshold all are candidates, and none is a duplicate.

``python benchmarks/dedup_templates.py`` prints CPU seconds of the whole command by the number of pages. A page has 150 words
of the template and ``--own`` words of its own: 62 give a Jaccard similarity of 0.54, 32 one of 0.7.
"""

import argparse
import json
import random
import sys
import tempfile
from pathlib import Path

from dedup import REPOSITORY, measured

WORDS = [f"word{number}" for number in range(20_000)]
TEMPLATE = 150


def write_pages(path: Path, count: int, own: int) -> None:
    """Pages as jsonl, the same each time."""
    draw = random.Random(count)
    template = " ".join(draw.choices(WORDS, k=TEMPLATE))
    with path.open("w") as file:
        for _ in range(count):
            file.write(json.dumps({"text": f"{template} {' '.join(draw.choices(WORDS, k=own))}"}) + "\n")


def main() -> None:
    """Time some numbers of pages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, nargs="+", default=[2_000, 16_000, 64_000])
    parser.add_argument("--own", type=int, default=62)
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        for count in a.pages:
            source = Path(name) / f"{count}.jsonl"
            write_pages(source, count, a.own)
            command = [sys.executable, str(REPOSITORY / "tools/dedup.py"), "--input", str(source)]
            seconds, peak = measured([*command, "--output", str(source.with_suffix(""))])
            print(f"{count:>7,} pages: {seconds:6.1f} CPU seconds, peak {peak:.0f} MB")


if __name__ == "__main__":
    main()

"""The whole set, or cases chosen by name: ``python -m bad_input [--only WORDS] [--sample N [--seed N]]`` in ``tests/``."""

import argparse
import collections
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bad_input.cases import SEED, all_cases, chosen, sample
from bad_input.run_case import run_cases, warm_up


def main() -> None:
    """Run the chosen cases; print each that is not judged right, and the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="comma-separated parts of case names")
    parser.add_argument("--sample", type=int, help="take so many, spread over all")
    parser.add_argument("--seed", type=int, default=SEED, help="of --sample")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--world", type=Path, help="a world made before")
    parser.add_argument("--list", action="store_true")
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        world = a.world or Path(made) / "world"
        if a.world is None:
            world.mkdir()
            script = Path(__file__).with_name("world.py")
            subprocess.run([sys.executable, script, world], check=True, stdout=subprocess.DEVNULL)
        cases = chosen(all_cases(world), a.only)
        if a.sample is not None:
            cases = sample(cases, a.sample, a.seed)
        if a.list:
            print(*(case.name for case in cases), len(cases), sep="\n")
            return
        warm_up()
        counts: collections.Counter[str] = collections.Counter()
        began = time.monotonic()
        for ended in run_cases(cases, world, Path(made), a.workers):
            counts["cases"] += 1
            counts["refused" if ended.code == 2 else f"exit {ended.code}"] += 1
            if ended.faults:
                counts["with faults"] += 1
                counts.update(f"fault: {fault.split(':')[0]}" for fault in ended.faults)
                print(f"FAULT {ended.case.name}: {'; '.join(ended.faults)}", flush=True)
                for line in ended.stderr.strip().splitlines()[-2:]:
                    print(f"      {line[:240]}", flush=True)
        print(f"{time.monotonic() - began:.0f} s", dict(counts))
        raise SystemExit(counts["with faults"] > 0)


if __name__ == "__main__":
    main()

"""Trainers of byte-level BPE on the same sample, interleaved: CPU seconds, peak memory, and whether the merges are equal.

``python benchmarks/vocabulary.py --input 'corpus/*.jsonl.zst' --vocab_size 32768``: the sample is taken once, as
``tools/train_tokenizer.py`` takes it. Each trainer then runs in a process of its own on its file; reading the file is part
of the job, importing is not. ``tokenizers`` is Hugging Face's trainer as it is called by hand; the others are what
``--trainer`` chooses, with the check beside ``tokenizers`` that goes before and the derivation of the merges that comes
after. One core unless ``--threads`` says more.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console

from megalite.tokenizer.formats.byte_level import SPLITS
from megalite.tokenizer.sample.mix import sources_of
from megalite.tokenizer.sample.sampling import Sampling, print_sample, take_sample

REPOSITORY = Path(__file__).parents[1]
TRAINERS = {"triple": ("tokenizers", "rustbpe"), "single": ("tokenizers", "rustbpe")}
TRAINERS["free"] = ("tokenizers", "rustbpe", "gigatoken")
JOB = """
import hashlib, json, resource, sys, time
from pathlib import Path
from megalite.tokenizer.learn.bpe_trainers import by_tokenizers, train_merges
trainer, sample, digits, merges = sys.argv[1:]
start = time.perf_counter(), time.process_time()
if trainer == "tokenizers":
    found, how = by_tokenizers(Path(sample), digits, int(merges))[1], trainer
else:
    __import__(trainer)
    found, how = train_merges(Path(sample), digits, int(merges), trainer)
wall, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
digest = hashlib.sha256(repr(found).encode()).hexdigest()[:12]
print(json.dumps({"wall": wall, "cpu": cpu, "peak": peak, "merges": len(found), "digest": digest, "how": how}))
"""


def run(trainer: str, sample: Path, digits: str, merges: int, threads: int) -> dict[str, float | str]:
    """One trainer in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "RAYON_NUM_THREADS": str(threads)}
    environment["TOKENIZERS_PARALLELISM"] = "false" if threads == 1 else "true"
    command = [sys.executable, "-c", JOB, trainer, str(sample), digits, str(merges)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Time all, interleaved."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--input", nargs="+", required=True)
    parser.add_argument("--vocab_size", type=int, default=32_768)
    parser.add_argument("--sample_bytes", type=int, default=200_000_000)
    parser.add_argument("--digits", choices=tuple(SPLITS), nargs="+", default=["triple", "free"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    a = parser.parse_args()
    merges = a.vocab_size - 256
    with tempfile.TemporaryDirectory() as name:
        sampling, console = Sampling(a.sample_bytes), Console()
        sample = take_sample(sources_of(a.input, None), sampling, Path(name), console)
        print_sample(sample, sampling, console)
        for digits in a.digits:
            trainers = [each for each in TRAINERS[digits] if find_spec(each) is not None]
            rounds = [
                {each: run(each, sample.training, digits, merges, a.threads) for each in trainers}
                for _ in range(a.rounds)
            ]
            print(f"--digits {digits}, {merges:,} merges, {a.threads} threads")
            for each in trainers:
                seen = [results[each] for results in rounds]
                cpu, wall, peak = (
                    statistics.median(float(one[key]) for one in seen) for key in ("cpu", "wall", "peak")
                )
                ratio = statistics.median(float(one["tokenizers"]["cpu"]) / float(one[each]["cpu"]) for one in rounds)
                equal = all(one["tokenizers"]["digest"] == one[each]["digest"] for one in rounds)
                print(
                    f"  {each:<11} {cpu:7.2f} CPU s {wall:7.2f} s wall {peak:6.0f} MB peak   {ratio:5.2f} x tokenizers   "
                    f"merges {'equal' if equal else 'DIFFER'} ({seen[0]['how']})"
                )


if __name__ == "__main__":
    main()

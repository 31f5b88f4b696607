"""Reading training samples: ours, megatron-core's ``GPTDataset`` and a plain memory map, on the same files, interleaved.

``python benchmarks/dataset.py``. Samples are read in the order of training, from a warm page cache, in samples a CPU
second: ``GPTDataset[i]`` of ours, and the whole of our loader (batches of tensors, fingerprints taken); Megatron's
``GPTDataset[i]`` as served to a loader (masks cached, attention mask off), and its bare token query, with the index built
by its C++ helpers. Cold reads drop the page cache of the ``.bin`` before every round and count wall time and the disk's
bytes. Start-up opens a dataset in a fresh process up to the first sample: ours at ``--documents`` and at
``--index_documents`` from a cold index, Megatron's at ``--documents`` with an empty cache folder. Temporary files: 20
bytes a document of the index, and the tokens.
"""

import argparse
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from megalite.data.index_file import write_index
from megalite.data.samples.gpt_dataset import GPTDataset
from megalite.data.samples.loader import BatchLoader

TOKENS = np.dtype(np.uint16)
STEP = 64
START_UP = """
import json, time
began = time.perf_counter()
{imports}
imported = time.perf_counter()
dataset = {opened}
sample = dataset[0]
done = time.perf_counter()
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([done - imported, imported - began, int(peak.split()[1]) / 1024]))
"""


def write_dataset(prefix: Path, documents: int, mean: float) -> int:
    """Random tokens in documents of log-normal lengths. Returns the number of tokens."""
    random = np.random.default_rng(0)
    lengths = np.maximum(1, random.lognormal(np.log(mean) - 0.5, 1.0, documents)).astype("<i4")
    with Path(f"{prefix}.bin").open("wb") as file:
        left = int(lengths.sum())
        while left:
            count = min(left, 1 << 24)
            random.integers(0, 50_000, count, dtype=TOKENS).tofile(file)
            left -= count
        os.fsync(file.fileno())
    with Path(f"{prefix}.idx").open("wb") as file:
        write_index(file, TOKENS, lengths)
    return int(lengths.sum())


def write_index_alone(prefix: Path, documents: int) -> None:
    """The index of so many documents of 1,000 tokens, over a ``.bin`` without a byte on the disk."""
    with Path(f"{prefix}.lengths").open("wb") as file:
        for start in range(0, documents, 1 << 22):
            np.full(min(1 << 22, documents - start), 1000, dtype="<i4").tofile(file)
    with Path(f"{prefix}.idx").open("wb") as file:
        write_index(file, TOKENS, np.memmap(f"{prefix}.lengths", mode="r", dtype="<i4"))
        file.flush()
        os.fsync(file.fileno())
    Path(f"{prefix}.lengths").unlink()
    with Path(f"{prefix}.bin").open("wb") as file:
        file.truncate(documents * 1000 * TOKENS.itemsize)


MEGATRON = """
import logging, warnings
warnings.simplefilter("ignore")
logging.disable(logging.WARNING)
import numpy
from megatron.core.datasets.gpt_dataset import GPTDataset, GPTDatasetConfig
from megatron.core.datasets.utils import Split
class Vocabulary:
    vocab_size, eod, pad, unique_identifiers = 50_000, 49_999, 49_998, {{"name": "none"}}
config = GPTDatasetConfig(random_seed=1, sequence_length={length}, blend=([{prefix!r}], None), split="1,0,0",
    path_to_cache={cache!r}, tokenizer=Vocabulary(), reset_position_ids=False, reset_attention_mask=False,
    eod_mask_loss=False, create_attention_mask=False)
def opened():
    tokens = GPTDataset.build_low_level_dataset({prefix!r}, config)
    documents = numpy.arange(GPTDataset.numel_low_level_dataset(tokens), dtype=numpy.int32)
    return GPTDataset(tokens, {prefix!r}, documents, None, Split.train, config)
"""


def megatron_dataset(prefix: Path, length: int, cache: Path) -> Any:
    """Megatron's dataset over one epoch of the same files."""
    names: dict[str, Any] = {}
    exec(MEGATRON.format(prefix=str(prefix), length=length, cache=str(cache)), names)
    return names["opened"]()


def start_up(imports: str, opened: str) -> list[float]:
    """Seconds to open and read a sample, seconds of imports, peak MB: in a process of its own."""
    code = START_UP.format(imports=imports, opened=opened)
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return json.loads(run.stdout.splitlines()[-1])


def drop_page_cache(path: Path) -> None:
    """Forget the file's pages; they must not be dirty."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def disk_bytes() -> int:
    """Read from the disk by this process so far."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("read_bytes")).split()[1])


def main() -> None:
    """Measure all, print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="for the temporary files; the system's default otherwise")
    parser.add_argument("--documents", type=int, default=500_000)
    parser.add_argument("--mean_tokens", type=float, default=700, help="in a document")
    parser.add_argument("--sequence_length", type=int, default=2048)
    parser.add_argument("--index_documents", type=int, default=100_000_000)
    parser.add_argument("--samples", type=int, default=5_000, help="a round, from a warm page cache")
    parser.add_argument("--cold_samples", type=int, default=400, help="a round")
    parser.add_argument("--rounds", type=int, default=7)
    a = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory(dir=a.folder) as name:
        folder = Path(name)
        warm_and_cold(folder, a)
        opening(folder, a)


def warm_and_cold(folder: Path, a: argparse.Namespace) -> None:
    """Samples a CPU second from memory, samples a second from the disk."""
    prefix, length = folder / "tokens", a.sequence_length
    tokens = write_dataset(prefix, a.documents, a.mean_tokens)
    print(f"{a.documents:,} documents, {tokens:,} tokens, samples of {length:,}")
    ours = GPTDataset(str(prefix), length, seed=1)
    theirs = megatron_dataset(prefix, length, folder / "cache")
    samples = min(a.samples, len(theirs), tokens // length) // STEP * STEP
    steps = BatchLoader(ours, 8, STEP, data_rank=0, data_size=1)
    readers: dict[str, Callable[[int], object]] = {
        "megalite": ours.__getitem__,
        "megalite, its loader": lambda sample: None if sample % STEP else steps.step_batches(sample),
        "Megatron, as served": theirs.__getitem__,
        "Megatron, token query": theirs._query_document_sample_shuffle_indices,
    }
    Path(f"{prefix}.bin").read_bytes()
    speeds: dict[str, list[float]] = {label: [] for label in readers}
    for number in range(a.rounds):
        for label, read in readers.items():
            began = time.process_time()
            for sample in range(samples):
                read(sample)
            if number:  # the first round warms up
                speeds[label].append(samples / (time.process_time() - began))
    for label, values in speeds.items():
        ratio = statistics.median(own / value for own, value in zip(speeds["megalite"], values, strict=True))
        print(f"{label:<24}{statistics.median(values):>10,.0f} samples a CPU second   megalite / this {ratio:6.2f}")

    del theirs, readers  # a page that anyone has mapped is not dropped
    mapped: np.ndarray | None = None
    cold: dict[str, Callable[[int], object]] = {
        "megalite, pread": lambda at: ours.source.read(at, length + 1).astype(np.int64),
        "plain memory map": lambda at: mapped[at : at + length + 1].astype(np.int64),
    }
    rates: dict[str, list[float]] = {label: [] for label in cold}
    disk: dict[str, list[float]] = {label: [] for label in cold}
    for number in range(a.rounds):
        places = np.random.default_rng(number).integers(0, tokens - length - 1, a.cold_samples).tolist()
        for label, read in cold.items():
            mapped = None
            drop_page_cache(Path(f"{prefix}.bin"))
            mapped = np.memmap(f"{prefix}.bin", mode="r", dtype=TOKENS)
            before, began = disk_bytes(), time.perf_counter()
            for at in places:
                read(at)
            rates[label].append(a.cold_samples / (time.perf_counter() - began))
            disk[label].append((disk_bytes() - before) / a.cold_samples)
    for label, values in rates.items():
        ratio = statistics.median(own / value for own, value in zip(rates["megalite, pread"], values, strict=True))
        print(
            f"{label:<24}{statistics.median(values):>10,.0f} cold samples a second    megalite / this {ratio:6.2f}"
            f"   {statistics.median(disk[label]) / 1e3:,.0f} kB of disk a sample"
        )


def opening(folder: Path, a: argparse.Namespace) -> None:
    """Seconds and memory from the call to the first sample."""
    prefix, length = folder / "index", a.sequence_length
    write_index_alone(prefix, a.index_documents)
    imports = "from megalite.data.samples.gpt_dataset import GPTDataset"
    for documents, path in ((a.documents, folder / "tokens"), (a.index_documents, prefix)):
        results = []
        for _ in range(3):
            drop_page_cache(Path(f"{path}.idx"))
            results.append(start_up(imports, f"GPTDataset({str(path)!r}, {length}, 1)"))
        print_opening("megalite", documents, results)
    results = []
    for number in range(3):
        cache = folder / f"empty{number}"
        setup = MEGATRON.format(prefix=str(folder / "tokens"), length=length, cache=str(cache))
        results.append(start_up(setup, "opened()"))
    print_opening("Megatron", a.documents, results)


def print_opening(label: str, documents: int, results: list[list[float]]) -> None:
    """Medians of one line."""
    opened, imports, peak = (statistics.median(values) for values in zip(*results, strict=True))
    print(
        f"{label:<10} first sample of {documents:>12,} documents after {opened:6.3f} s (imports {imports:.2f} s), peak "
        f"{peak:,.0f} MB"
    )


if __name__ == "__main__":
    main()

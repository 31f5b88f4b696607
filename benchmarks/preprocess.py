"""``tools/preprocess_data.py`` against the bare encoders and against Megatron-LM's way, interleaved in one run.

``python benchmarks/preprocess.py --input corpus.jsonl --tokenizer DIR``: every program runs once a round; medians over the
rounds are printed, and ratios as medians of the rounds' ratios. Every file that is written must be the same bytes. *net* is
without start-up, which is the same command on an input of one document a worker. A bare encoder gets the texts in memory,
never seen before, in blocks like ours. CPU seconds are of all processes together, memory is the highest sum of their
proportional set sizes (PSS), looked at twenty times a second. What the peer is stands in preprocess_megatron.py; without
megatron-core it is left out.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

REPOSITORY = Path(__file__).parents[1]
BLOCK = 4 << 20
LOOK_EVERY_SECONDS = 0.05


class Cost(NamedTuple):
    """Of one run."""

    wall: float
    cpu: float
    pss: int = 0


def run(command: list[str]) -> Cost:
    """Run a program to its end."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "TOKENIZERS_PARALLELISM": "false"}
    began, before, pss = time.perf_counter(), os.times(), 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment) as process:
        while process.poll() is None:
            pss = max(pss, tree_pss(process.pid))
            time.sleep(LOOK_EVERY_SECONDS)
        wall = time.perf_counter() - began
        output = process.stdout.read().decode() if process.stdout else ""
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}\n{output}")
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Cost(wall, cpu, pss)


def tree_pss(pid: int) -> int:
    """Bytes of a process and all below it, shared pages counted once."""
    total = 0
    try:
        for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
            total += process.memory_full_info().pss
    except (psutil.Error, OSError):
        return 0
    return total


def ours(inputs: list[Path], tokenizer: Path, prefix: Path, workers: int, encoder: str) -> Cost:
    """Our command."""
    command = [sys.executable, str(REPOSITORY / "tools/preprocess_data.py"), "--overwrite", "--workers", str(workers)]
    command += ["--tokenizer", str(tokenizer), "--output", str(prefix), "--encoder", encoder, "--input"]
    return run([*command, *map(str, inputs)])


def megatron(inputs: list[Path], tokenizer: Path, prefix: Path, workers: int) -> Cost:
    """The peer; it takes one file."""
    script = str(Path(__file__).with_name("preprocess_megatron.py"))
    return run([sys.executable, script, str(inputs[0]), str(tokenizer), str(prefix), str(workers)])


def bare(source: Path, tokenizer_path: Path, name: str) -> Cost:
    """One core, texts in memory."""
    from megalite.data.preprocess.encoders import open_encoder
    from megalite.tokenizer.load import load_tokenizer

    encoder = open_encoder(name, load_tokenizer(tokenizer_path).tokenizer)  # type: ignore[arg-type]
    blocks = list(text_blocks(source))
    wall, cpu = time.perf_counter(), time.process_time()
    for block in blocks:
        encoder.encode(block)
    return Cost(time.perf_counter() - wall, time.process_time() - cpu)


def text_blocks(source: Path) -> Iterator[list[str]]:
    """New strings in blocks of the size that the command takes."""
    block: list[str] = []
    size = 0
    with source.open("rb") as lines:
        for line in lines:
            block.append(json.loads(line)["text"])
            size += len(line)
            if size >= BLOCK:
                yield block
                block, size = [], 0
    yield block


def digest(prefix: Path) -> str:
    """Of both files."""
    return hashlib.sha256(Path(f"{prefix}.bin").read_bytes() + Path(f"{prefix}.idx").read_bytes()).hexdigest()


def main() -> None:
    """Time all, interleaved, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--input", type=Path, required=True, help="a .jsonl file without empty documents")
    parser.add_argument("--tokenizer", type=Path, required=True, help="a folder with tokenizer.json and its eos token")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--fast_only", action="store_true", help="leave out what takes the time of the slow encoder")
    a = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    encoders = [name for name in ("gigatoken", "fastokens", "tokenizers") if importlib.util.find_spec(name)]
    if a.fast_only:
        encoders.remove("tokenizers")
    with_peer = not a.fast_only and importlib.util.find_spec("megatron") is not None
    megabytes = a.input.stat().st_size / 1e6
    costs: dict[str, list[Cost]] = {}
    digests: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tiny = [folder / "one.jsonl", folder / "two.jsonl"]
        for path in tiny:
            path.write_text(json.dumps({"text": "Nothing much."}) + "\n")

        def measure(label: str, cost: Cost, prefix: Path | None = None) -> None:
            costs.setdefault(label, []).append(cost)
            if prefix:
                digests[label] = digest(prefix)

        for _ in range(a.rounds):
            for encoder in encoders:
                measure(f"bare {encoder}", bare(a.input, a.tokenizer, encoder))
                for workers in (1, 2):
                    label = f"ours, {encoder}, {workers}"
                    measure(f"{label} start-up", ours(tiny[:workers], a.tokenizer, folder / "t", workers, encoder))
                    measure(label, ours([a.input], a.tokenizer, folder / "x", workers, encoder), folder / "x")
            for workers in (1, 2) if with_peer else ():
                label = f"megatron, {workers}"
                measure(f"{label} start-up", megatron(tiny, a.tokenizer, folder / "t", workers))
                measure(label, megatron([a.input], a.tokenizer, folder / "x", workers), folder / "x")
    if len(set(digests.values())) != 1:
        raise SystemExit(f"the files differ: {digests}")
    print(f"{megabytes:.1f} MB, {a.rounds} rounds; the files of all {len(digests)} programs are the same bytes\n")
    print_costs(costs, megabytes)
    print_ratios(costs, encoders, with_peer)


def net(costs: dict[str, list[Cost]], label: str, field: str) -> list[float]:
    """Seconds of every round, less the start-up's; nan where the input is too small for that."""
    values = [getattr(cost, field) for cost in costs[label]]
    idle = [getattr(cost, field) for cost in costs.get(f"{label} start-up", [])] or [0.0] * len(values)
    return [value - less if value > less else float("nan") for value, less in zip(values, idle, strict=True)]


def print_costs(costs: dict[str, list[Cost]], megabytes: float) -> None:
    """A line for each program."""
    print(f"{'':<32}{'wall s':>9}{'CPU s':>9}{'net MB/s':>10}{'net MB/CPU s':>14}{'peak PSS MB':>13}")
    for label, measured in costs.items():
        wall, cpu = (statistics.median(getattr(cost, field) for cost in measured) for field in ("wall", "cpu"))
        rates = [megabytes / statistics.median(net(costs, label, field)) for field in ("wall", "cpu")]
        shown = ("", "") if label.endswith("start-up") else (f"{rates[0]:.2f}", f"{rates[1]:.2f}")
        pss = statistics.median(cost.pss for cost in measured) / 1e6
        print(f"{label:<32}{wall:>9.2f}{cpu:>9.2f}{shown[0]:>10}{shown[1]:>14}{f'{pss:.0f}' if pss else '':>13}")


def print_ratios(costs: dict[str, list[Cost]], encoders: list[str], with_peer: bool) -> None:
    """Medians of the rounds' ratios."""

    def ratio(what: str, above: list[float], below: list[float]) -> None:
        print(f"{statistics.median(up / down for up, down in zip(above, below, strict=True)):8.3f}  {what}")

    print()
    for encoder in encoders:
        one, two = (f"ours, {encoder}, {workers}" for workers in (1, 2))
        ratio(
            f"of the speed of bare {encoder}, by CPU time", net(costs, f"bare {encoder}", "cpu"), net(costs, one, "cpu")
        )
        ratio(f"times as fast with 2 workers as with 1, {encoder}", net(costs, one, "wall"), net(costs, two, "wall"))
        for workers in (1, 2) if with_peer else ():
            mine, theirs = f"ours, {encoder}, {workers}", f"megatron, {workers}"
            ratio(
                f"times as fast as megatron, {encoder}, {workers}", net(costs, theirs, "wall"), net(costs, mine, "wall")
            )
            starts = [[cost.cpu for cost in costs[f"{label} start-up"]] for label in (mine, theirs)]
            ratio(f"of megatron's start-up by CPU time, {encoder}, {workers}", *starts)
            memory = [[float(cost.pss) for cost in costs[label]] for label in (mine, theirs)]
            ratio(f"of megatron's peak memory, {encoder}, {workers}", *memory)


if __name__ == "__main__":
    main()

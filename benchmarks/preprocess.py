"""``tools/preprocess_data.py`` against the bare encoder of ``tokenizers`` on the same text, one core, interleaved.

``python benchmarks/preprocess.py --input corpus.jsonl --tokenizer DIR``: the encoder alone gets the texts in memory, in
blocks like ours. The command's start-up is measured by an input of one document and subtracted. Seconds are CPU time for
one core, so that other programs on the machine do not count, and wall time for two workers.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
BLOCK = 4 << 20


def run_command(inputs: Path, tokenizer: Path, prefix: Path, workers: int) -> tuple[float, float]:
    """CPU and wall seconds of the whole command."""
    command = [sys.executable, str(REPOSITORY / "tools/preprocess_data.py"), "--input", str(inputs), "--overwrite"]
    command += ["--tokenizer", str(tokenizer), "--output_prefix", str(prefix), "--workers", str(workers)]
    wall, before = time.perf_counter(), os.times()
    subprocess.run(command, check=True, capture_output=True)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return cpu, time.perf_counter() - wall


def bare_encoder(texts: list[str], tokenizer_path: Path) -> tuple[float, float]:
    """CPU and wall seconds of ``encode_batch_fast`` alone."""
    from megalite.tokenizer.load import load_tokenizer

    tokenizer = load_tokenizer(tokenizer_path).tokenizer
    blocks, size = [[]], 0
    for text in texts:
        blocks[-1].append(text)
        size += len(text)
        if size > BLOCK:
            blocks.append([])
            size = 0
    wall, cpu = time.perf_counter(), time.process_time()
    for block in blocks:
        tokenizer.encode_batch_fast(block, add_special_tokens=False)
    return time.process_time() - cpu, time.perf_counter() - wall


def main() -> None:
    """Time both, interleaved."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--input", type=Path, required=True, help="a .jsonl file")
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    a = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    texts = [json.loads(line)["text"] for line in a.input.open()]
    megabytes = a.input.stat().st_size / 1e6
    names = ("start-up", "bare encoder", "1 worker", "2 workers")
    cpu: dict[str, list[float]] = {name: [] for name in names}
    wall: dict[str, list[float]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        one = folder / "one.jsonl"
        one.write_text(json.dumps({"text": texts[0][:100]}) + "\n")
        for _ in range(a.rounds):
            start_up = run_command(one, a.tokenizer, folder / "one", 1)
            measured = {"start-up": start_up, "bare encoder": bare_encoder(texts, a.tokenizer)}
            for workers in (1, 2):
                seconds = run_command(a.input, a.tokenizer, folder / "x", workers)
                label = "1 worker" if workers == 1 else "2 workers"
                measured[label] = (seconds[0] - start_up[0], seconds[1] - start_up[1])
            for label, (cpu_seconds, wall_seconds) in measured.items():
                cpu[label].append(cpu_seconds)
                wall[label].append(wall_seconds)
    for label in names:
        print(
            f"{label:<14} median {statistics.median(cpu[label]):7.2f} CPU s, {statistics.median(wall[label]):7.2f} s wall"
        )
    print(f"bare encoder: {megabytes / statistics.median(cpu['bare encoder']):.2f} MB a CPU second")
    ratio = statistics.median(b / w for b, w in zip(cpu["bare encoder"], cpu["1 worker"], strict=True))
    print(f"1 worker / bare encoder, by CPU time: {ratio:.3f} (median of the rounds' ratios, start-up left out)")
    ratio = statistics.median(one / two for one, two in zip(wall["1 worker"], wall["2 workers"], strict=True))
    print(f"2 workers / 1 worker, by wall time: {ratio:.3f}")


if __name__ == "__main__":
    main()

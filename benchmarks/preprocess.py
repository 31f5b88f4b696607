"""``tools/preprocess_data.py`` against the bare encoder of ``tokenizers`` on the same text, one core, interleaved.

``python benchmarks/preprocess.py --input corpus.jsonl --tokenizer DIR``: the encoder alone gets the texts in memory, in
blocks like ours. The command's start-up is measured by an input of one document and subtracted.
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


def run_command(inputs: Path, tokenizer: Path, prefix: Path, workers: int) -> float:
    """Seconds of the whole command."""
    command = [sys.executable, str(REPOSITORY / "tools/preprocess_data.py"), "--input", str(inputs), "--overwrite"]
    command += ["--tokenizer", str(tokenizer), "--output_prefix", str(prefix), "--workers", str(workers)]
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def bare_encoder(texts: list[str], tokenizer_path: Path) -> float:
    """Seconds of ``encode_batch_fast`` alone."""
    from megalite.tokenizer.load import load_tokenizer

    tokenizer = load_tokenizer(tokenizer_path).tokenizer
    blocks, size = [[]], 0
    for text in texts:
        blocks[-1].append(text)
        size += len(text)
        if size > BLOCK:
            blocks.append([])
            size = 0
    start = time.perf_counter()
    for block in blocks:
        tokenizer.encode_batch_fast(block, add_special_tokens=False)
    return time.perf_counter() - start


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
    rows: dict[str, list[float]] = {name: [] for name in ("start-up", "bare encoder", "1 worker", "2 workers")}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        one = folder / "one.jsonl"
        one.write_text(json.dumps({"text": texts[0][:100]}) + "\n")
        for _ in range(a.rounds):
            rows["start-up"].append(run_command(one, a.tokenizer, folder / "one", 1))
            rows["bare encoder"].append(bare_encoder(texts, a.tokenizer))
            rows["1 worker"].append(run_command(a.input, a.tokenizer, folder / "x", 1) - rows["start-up"][-1])
            rows["2 workers"].append(run_command(a.input, a.tokenizer, folder / "x", 2) - rows["start-up"][-1])
    for name, values in rows.items():
        speed = "" if name == "start-up" else f"{megabytes / statistics.median(values):8.2f} MB/s"
        print(f"{name:<14} median {statistics.median(values):8.2f} s {speed}")
    for name in ("1 worker", "2 workers"):
        ratio = statistics.median(b / w for b, w in zip(rows["bare encoder"], rows[name], strict=True))
        print(f"{name} / bare encoder: {ratio:.3f} (median of the rounds' ratios, start-up left out)")


if __name__ == "__main__":
    main()

"""Fetch the evaluation sets that the examples decontaminate against and evaluate on; needs the network once."""

from pathlib import Path

FOLDER = Path("data/eval")
SETS = {
    "arc_easy_test": ("allenai/ai2_arc", "ARC-Easy"),
    "arc_challenge_test": ("allenai/ai2_arc", "ARC-Challenge"),
    "hellaswag_validation": ("Rowan/hellaswag", None),
    "lambada_openai_test": ("EleutherAI/lambada_openai", "default"),
    "openbookqa_test": ("allenai/openbookqa", "main"),
    "piqa_validation": ("baber/piqa", None),
    "winogrande_validation": ("allenai/winogrande", "winogrande_xl"),
    "gsm8k_test": ("openai/gsm8k", "main"),
}
"""File -> name and subset on the hub; the file's name says benchmark and split, as tools/evaluate.py looks for them."""


def main() -> None:
    """Write ``data/eval/BENCHMARK_SPLIT.jsonl``; what is there already is left alone."""
    import datasets

    FOLDER.mkdir(parents=True, exist_ok=True)
    for file, (name, subset) in SETS.items():
        path = FOLDER / f"{file}.jsonl"
        if not path.exists():
            part = path.with_suffix(".part")
            datasets.load_dataset(name, subset, split=file.rsplit("_", 1)[1]).to_json(part)
            part.rename(path)
        print(path)


if __name__ == "__main__":
    main()

"""Download the evaluation sets that the examples decontaminate against and evaluate on."""

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
"""File name (benchmark and split, as ``tools/evaluate.py`` expects them) -> name and subset on the hub."""


def main() -> None:
    """Write ``data/eval/BENCHMARK_SPLIT.jsonl``; existing files are kept."""
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

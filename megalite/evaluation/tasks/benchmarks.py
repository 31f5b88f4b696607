"""Benchmarks that can run from local data files: file names, record format, splits and source."""

import re
from dataclasses import dataclass
from pathlib import Path

TASK_FILES = Path(__file__).parent / "shipped"
"""One lm-eval task file per benchmark."""


@dataclass(frozen=True)
class Benchmark:
    """The data files of one benchmark."""

    form: str
    """Key of :data:`megalite.evaluation.tasks.record_forms.FORMS`."""
    pattern: str
    """Regular expression that matches the lower-case path of each file."""
    splits: tuple[str, ...]
    """Splits that have answers; lm-eval uses the first."""
    source: str
    """Dataset name on the hub."""

    def matches(self, path: str) -> bool:
        return re.search(self.pattern, path.lower()) is not None


_START = "(?<![a-z])"
BENCHMARKS = {
    "arc_easy": Benchmark("arc", _START + r"arc\W*_*e(asy|(?![a-z]))", ("test", "validation"), "allenai/ai2_arc"),
    "arc_challenge": Benchmark("arc", _START + r"arc\W*_*c(hal|(?![a-z]))", ("test", "validation"), "allenai/ai2_arc"),
    "blimp": Benchmark("blimp", _START + "blimp", ("validation",), "nyu-mll/blimp"),
    "copa": Benchmark("copa", _START + "copa", ("validation",), "aps/super_glue"),
    "gsm8k": Benchmark("gsm8k", "gsm8k|grade.school.math", ("test",), "openai/gsm8k"),
    "hellaswag": Benchmark("hellaswag", "hellaswag", ("validation",), "Rowan/hellaswag"),
    "lambada_openai": Benchmark("lambada", "lambada", ("test",), "EleutherAI/lambada_openai"),
    "openbookqa": Benchmark("openbookqa", "openbook_?-?qa|obqa", ("test", "validation"), "allenai/openbookqa"),
    "piqa": Benchmark("piqa", _START + "piqa", ("validation",), "baber/piqa"),
    "truthfulqa_mc1": Benchmark("truthfulqa_mc1", "truthful_?-?qa", ("validation",), "truthfulqa/truthful_qa"),
    "truthfulqa_mc2": Benchmark("truthfulqa_mc2", "truthful_?-?qa", ("validation",), "truthfulqa/truthful_qa"),
    "truthfulqa_gen": Benchmark("truthfulqa_gen", "truthful_?-?qa", ("validation",), "truthfulqa/truthful_qa"),
    "winogrande": Benchmark("winogrande", "winogrande", ("validation",), "allenai/winogrande"),
}
TAGS = {
    "ai2_arc": ("arc_easy", "arc_challenge"),
    "lambada": ("lambada_openai",),
    "truthfulqa": ("truthfulqa_gen", "truthfulqa_mc1", "truthfulqa_mc2"),
}
"""lm-eval's names for sets of tasks."""
PARADIGM = "blimp_"
"""Prefix of a single BLiMP paradigm (``blimp_adjunct_island``); ``blimp`` is all paradigms in the files."""


def split_of(path: str) -> str | None:
    """``train``, ``validation`` or ``test``, by the last such word in the path; None if there is none."""
    words = re.findall(r"train|valid|dev(?![a-z])|val(?![a-z])|test", path.lower())
    if not words:
        return None
    return {"train": "train", "test": "test"}.get(words[-1], "validation")

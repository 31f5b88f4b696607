"""The benchmarks that run from local data files: how their files are named, what is in them, where they come from."""

import re
from dataclasses import dataclass
from pathlib import Path

TASK_FILES = Path(__file__).parent / "tasks"
"""One lm-eval task file a benchmark."""


@dataclass(frozen=True)
class Benchmark:
    """What is known of a benchmark's data files."""

    form: str
    """Key into :data:`megalite.evaluation.record_forms.FORMS`."""
    pattern: str
    """Found in the lower-case path of each of its files."""
    splits: tuple[str, ...]
    """Splits with answers to evaluate on; the first is the one that lm-eval takes."""
    source: str
    """The data set's name on the hub."""

    def names(self, path: str) -> bool:
        """Whether a path looks like one of this benchmark's files."""
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
"""Names for several tasks, as lm-eval has them."""
PARADIGM = "blimp_"
"""``blimp_adjunct_island`` is one paradigm of BLiMP; ``blimp`` all that the files hold."""


def split_of(path: str) -> str | None:
    """``train``, ``validation`` or ``test`` as a file's path says it last, or None."""
    words = re.findall(r"train|valid|dev(?![a-z])|val(?![a-z])|test", path.lower())
    if not words:
        return None
    return {"train": "train", "test": "test"}.get(words[-1], "validation")

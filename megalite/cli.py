"""``megalite VERB ...``: every command by one name, imported only when asked for."""

import difflib
import importlib
import sys

import megalite
from megalite.config.errors import ConfigError, one_line_errors

VERBS = {
    "prepare-corpus": (
        "megalite.data.prepare_corpus",
        "text from files, packages or a dataset becomes clean shards, and tokens",
    ),
    "recount-corpus": ("megalite.corpus.ledger.recount", "a dry run counted again by other thresholds"),
    "train-classifier": ("megalite.corpus.classify.train", "labelled text becomes a filter"),
    "dedup": ("megalite.corpus.dedup.command", "exact and near-duplicates out"),
    "decontaminate": ("megalite.corpus.decontaminate.command", "documents with evaluation items out"),
    "train-tokenizer": ("megalite.tokenizer.train", "clean text becomes a vocabulary that AutoTokenizer loads"),
    "preprocess": ("megalite.data.preprocess.command", "clean text becomes token ids in .bin/.idx"),
    "merge": ("megalite.data.merge", "several .bin/.idx become one"),
    "adopt": ("megalite.data.adopt", "Megatron's own .bin/.idx checked, to be trained on and merged"),
    "inspect-data": (
        "megalite.data.inspect.command",
        "statistics of .bin/.idx; any training sample as text, file and line",
    ),
    "pretrain": ("megalite.pretrain", "train; --check prints the plan of a run and exits"),
    "make-chat-rows": (
        "megalite.posttraining.rows.docstrings",
        "chats and preferences from installed docstrings",
    ),
    "sft": ("megalite.posttraining.sft", "fine-tune a Hugging Face folder on conversations or instructions"),
    "preferences": ("megalite.posttraining.preferences", "DPO, KTO or GRPO on a Hugging Face folder"),
    "evaluate": ("megalite.evaluation.evaluate", "benchmarks by lm-eval, several models compared"),
    "bits-per-byte": ("megalite.evaluation.bits_per_byte", "how well a model predicts a text"),
    "make-cloze-task": ("megalite.evaluation.cloze", "held-out documents become a multiple-choice task for lm-eval"),
    "export-hf": ("megalite.export.export_hf", "a checkpoint becomes a Hugging Face folder in the precision asked for"),
    "parity": ("megalite.parity.matrix", "prove on this machine that every layout trains the same model"),
    "generate": ("megalite.generation.generate", "continue a prompt, chat, or answer a file of prompts"),
    "quantize": ("megalite.generation.quantize", "a model in int8 or as GGUF, bits per byte before and after"),
    "chat": ("megalite.generation.chat", "a local web page to talk to a model"),
}


@one_line_errors
def run(verb: str) -> None:
    """Run one command with the arguments of this process. Its libraries are imported inside the guard."""
    importlib.import_module(VERBS[verb][0]).main()


@one_line_errors
def main() -> None:
    """Run one verb with the rest of the command line; without one, or with an unknown one, list them."""
    verb = sys.argv[1] if len(sys.argv) > 1 else ""
    if verb in VERBS:
        sys.argv = [f"megalite {verb}", *sys.argv[2:]]
        run(verb)
        return
    if verb == "--version":
        print(f"megalite {megalite.__version__}")
        return
    if verb not in ("", "-h", "--help"):
        near = difflib.get_close_matches(verb.replace("_", "-"), VERBS, n=1)
        hint = f"did you mean '{near[0]}'?" if near else "megalite alone lists them"
        raise ConfigError(f"unknown verb '{verb[:80]}'; {hint}")
    width = max(map(len, VERBS))
    lines = "\n".join(f"  {name:<{width}}  {gives}" for name, (_, gives) in VERBS.items())
    print(f"usage: megalite VERB ...   (megalite VERB --help tells more)\n\n{lines}")

"""``megalite VERB ...``: one entry point for all commands; each is imported only when it runs."""

import importlib
import sys

import megalite
from megalite.config.errors import ConfigError, one_line_errors
from megalite.config.suggest import suggestion

ROAD = {
    "prepare text": {
        "prepare-corpus": ("megalite.data.prepare_corpus", "Clean, filter, deduplicate and tokenize text by a recipe"),
        "recount-corpus": (
            "megalite.corpus.prepare.recount",
            "Count the documents of a dry run again with other thresholds",
        ),
        "train-classifier": ("megalite.corpus.classify.train", "Train a document classifier to use as a filter"),
        "dedup": ("megalite.corpus.dedup.command", "Remove exact and near-duplicate documents"),
        "decontaminate": ("megalite.corpus.decontaminate.command", "Remove documents that contain evaluation items"),
    },
    "tokenize": {
        "train-tokenizer": ("megalite.tokenizer.train", "Train a tokenizer that AutoTokenizer loads"),
        "preprocess-data": ("megalite.data.preprocess.command", "Tokenize documents into .bin/.idx"),
        "merge-datasets": ("megalite.data.merge", "Concatenate several .bin/.idx datasets"),
        "adopt": ("megalite.data.adopt", "Check .bin/.idx made by Megatron-LM so that they can be used here"),
        "inspect-data": (
            "megalite.data.inspect.command",
            "Show dataset statistics, or trace a training sample to its file",
        ),
    },
    "train": {
        "pretrain": ("megalite.pretrain", "Pretrain a model; --check prints the plan and exits"),
        "parity": ("megalite.parity.matrix", "Verify that every parallel layout trains the same model"),
        "export-hf": ("megalite.export.export_hf", "Export a checkpoint as a Hugging Face folder in a given precision"),
    },
    "fine-tune": {
        "make-chat-rows": (
            "megalite.posttraining.rows.docstrings",
            "Make example conversations from installed docstrings",
        ),
        "sft": ("megalite.posttraining.sft", "Fine-tune a model on conversations or instructions"),
        "preferences": ("megalite.posttraining.preferences", "Tune a model with DPO, KTO or GRPO"),
    },
    "evaluate": {
        "evaluate": ("megalite.evaluation.evaluate", "Run benchmarks and compare models"),
        "bits-per-byte": ("megalite.evaluation.bits_per_byte", "Measure how well a model predicts a text"),
        "make-cloze-task": ("megalite.evaluation.cloze", "Make a multiple-choice task from held-out documents"),
    },
    "use a model": {
        "generate": ("megalite.generation.generate", "Continue a prompt, chat, or answer a file of prompts"),
        "chat": ("megalite.generation.chat", "Serve a local web page to chat with a model"),
        "quantize": ("megalite.generation.quantize", "Write a model as int8 or GGUF and measure the loss in quality"),
    },
}
"""Every verb with its module and a line of help, in the order in which a model is made. A verb is its tool's file name."""
VERBS = {verb: entry for verbs in ROAD.values() for verb, entry in verbs.items()}
RENAMED = {"preprocess": "preprocess-data", "merge": "merge-datasets"}


@one_line_errors
def run(verb: str) -> None:
    """Run one verb with the arguments of this process; its libraries are imported inside the guard."""
    importlib.import_module(VERBS[verb][0]).main()


@one_line_errors
def main() -> None:
    """Run the verb that is the first argument, or list the verbs if there is none."""
    verb = sys.argv[1] if len(sys.argv) > 1 else ""
    if verb in VERBS:
        sys.argv = [f"megalite {verb}", *sys.argv[2:]]
        run(verb)
        return
    if verb == "--version":
        print(f"megalite {megalite.__version__}")
        return
    if verb not in ("", "-h", "--help"):
        raise ConfigError(f"unknown verb '{verb[:80]}'; {_hint(verb)}")
    print(_listing())


def _hint(verb: str) -> str:
    if verb in RENAMED:
        return f"it is now '{RENAMED[verb]}'"
    return suggestion(verb.replace("_", "-"), VERBS, "run megalite without arguments to list the verbs")


def _listing() -> str:
    width = max(map(len, VERBS))
    lines = ["usage: megalite VERB [options]"]
    for title, verbs in ROAD.items():
        lines += ["", title, *(f"   {verb:<{width}}   {summary}" for verb, (_, summary) in verbs.items())]
    return "\n".join([*lines, "", "Run 'megalite VERB --help' for the options of a verb."])

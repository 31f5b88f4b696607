"""Train a byte-level BPE vocabulary (Sennrich et al. 2016, arXiv:1508.07909) and write a folder for ``AutoTokenizer``."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from megalite.config.errors import ConfigError, DataError, one_line_errors
from megalite.corpus.readers import Document, expand_inputs, read_documents
from megalite.corpus.whole_folder import check_output, whole_folder
from megalite.tokenizer.report import design_report, print_report
from megalite.tokenizer.special_tokens import CHAT_TEMPLATE, END_OF_TEXT, PAD, TURN_END, TURN_START, special_tokens

SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""The word pattern that cl100k and Llama 3 use (digits in groups of up to three): fast encoders know it."""
WRITTEN = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "design_report.json",
)
BYTES = 256
LONGEST_DOCUMENT = 100_000
"""Characters of one document that are looked at, so that a single huge file does not shape the vocabulary."""


@one_line_errors
def main() -> None:
    """``tools/train_tokenizer.py``."""
    parser = argparse.ArgumentParser(description="Train a byte-level BPE tokenizer.")
    parser.add_argument("--input", nargs="+", required=True, metavar="GLOB", help=".jsonl, .txt (.gz, .zst), .parquet")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--vocab_size", type=int, required=True, help="ids in all, special tokens included")
    parser.add_argument("--text_key", default="text")
    parser.add_argument("--reserved", type=int, default=12, help="special tokens kept free for later use")
    parser.add_argument("--max_bytes", type=int, default=1_000_000_000, help="sample at most so much, over all files")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")
    a = parser.parse_args()
    train_tokenizer(
        a.input, a.output, a.vocab_size, Console(soft_wrap=True), a.text_key, a.reserved, a.max_bytes, a.overwrite
    )


def train_tokenizer(
    inputs: list[str],
    output: Path,
    vocab_size: int,
    console: Console,
    text_key: str = "text",
    reserved: int = 12,
    max_bytes: int = 1_000_000_000,
    overwrite: bool = False,
) -> None:
    """Write the folder ``output``, as a whole or not at all.

    Raises: FileNotFoundError; ConfigError for a vocabulary too small; DataError where the output exists or the corpus has
        too little text for so many tokens.
    """
    if reserved < 0 or max_bytes < 1:
        raise ConfigError(f"--reserved {reserved}, --max_bytes {max_bytes}: give at least 0 slots and 1 byte")
    special = special_tokens(reserved)
    if vocab_size <= BYTES + len(special):
        raise ConfigError(
            f"--vocab_size {vocab_size}: {BYTES} bytes and {len(special)} special tokens alone need "
            f"{BYTES + len(special)}; give a larger vocabulary"
        )
    check_output(output, WRITTEN, overwrite)
    paths = expand_inputs(inputs)
    tokenizer = _byte_level_bpe()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in special],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=console.is_terminal,
    )
    tokenizer.train_from_iterator((document.text for document in sample(paths, text_key, max_bytes)), trainer)
    if (reached := tokenizer.get_vocab_size()) != vocab_size:
        raise DataError(
            f"{', '.join(inputs)}: gives {reached} tokens, --vocab_size {vocab_size} was asked for; take more text or a "
            f"smaller vocabulary"
        )
    report = design_report(tokenizer, sample(paths, text_key, max_bytes // 20))
    with whole_folder(output) as partial:
        write_tokenizer(tokenizer, partial)
        (partial / "design_report.json").write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    print_report(report, console, str(output))


def sample(paths: list[Path], text_key: str, max_bytes: int) -> Iterator[Document]:
    """Documents up to ``max_bytes`` in all, from every file in proportion to its size."""
    total = sum(path.stat().st_size for path in paths)
    for path in paths:
        share, taken = max_bytes * path.stat().st_size / max(1, total), 0
        for document in read_documents([path], text_key):
            if taken >= share:
                break
            text = document.text[:LONGEST_DOCUMENT]
            taken += len(text.encode("utf-8", "replace"))
            yield document._replace(text=text)


def write_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """The files by which transformers, TRL and vLLM load a fast tokenizer."""
    roles = {"bos_token": END_OF_TEXT, "eos_token": END_OF_TEXT, "pad_token": PAD}
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": 10**9,
        "clean_up_tokenization_spaces": False,
        "add_bos_token": False,
        "model_input_names": ["input_ids", "attention_mask"],
        "extra_special_tokens": {"turn_start": TURN_START, "turn_end": TURN_END},
        **roles,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "special_tokens_map.json").write_text(json.dumps(roles, indent=2) + "\n")
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)


def _byte_level_bpe() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer

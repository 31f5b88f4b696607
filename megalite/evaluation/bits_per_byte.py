"""Bits per byte: how well a model predicts a text, comparable across tokenizers."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from rich.progress import track
from rich.table import Table

from megalite.config.command_line import MOST, CommandParser, whole_number
from megalite.config.errors import ConfigError, DataError, one_line_errors
from megalite.config.screen import screen
from megalite.files.json_file import check_json_output, write_json
from megalite.files.model_folder import model_folder_of
from megalite.files.readers.documents import Document, read_documents
from megalite.files.readers.input_files import expand_inputs
from megalite.files.readers.malformed import ReadReport
from megalite.huggingface.check_folder import check_model_folder
from megalite.huggingface.load import load_model, start_of_text
from megalite.tokenizer.chat_text import text_ids


@dataclass(frozen=True)
class BitsPerByte:
    """Totals over the documents."""

    bits_per_byte: float
    nats_per_token: float
    documents: int
    tokens: int
    bytes: int


@one_line_errors
def main() -> None:
    parser = CommandParser(description="Measure the bits per byte of a Hugging Face model on documents.")
    parser.add_argument("model", type=model_folder_of, help="Hugging Face folder or run folder")
    parser.add_argument(
        "--input", nargs="+", required=True, metavar="GLOB", help=".jsonl, .txt (.gz, .zst) or .parquet files"
    )
    parser.add_argument("--text_key", default="text", help="JSON key or parquet column of the text")
    parser.add_argument("--max_documents", type=whole_number(), help="number of documents to use; default: all")
    parser.add_argument(
        "--window", type=whole_number(-MOST), metavar="N", help="context length in tokens; default: the model's maximum"
    )
    parser.add_argument(
        "--stride", type=whole_number(-MOST), metavar="N", help="new tokens per window; default: half the window"
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the result as JSON")
    arguments = parser.parse_args()
    check_model_folder(arguments.model)
    paths = expand_inputs(arguments.input)
    check_json_output(arguments.output, [arguments.model, *paths])
    documents = islice(whole_documents(paths, arguments.text_key), arguments.max_documents)
    texts = [document.text for document in documents]
    model, tokenizer = load_model(arguments.model)
    result = bits_per_byte(model, tokenizer, texts, arguments.window, arguments.stride)
    table = Table(title=f"{arguments.model} on {len(paths)} file(s)", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column()
    table.add_row("bits per byte", f"{result.bits_per_byte:.4f}")
    table.add_row("loss", f"{result.nats_per_token:.4f} nats per token")
    table.add_row("over", f"{result.documents:,} documents, {result.tokens:,} tokens, {result.bytes:,} bytes")
    screen().print(table)
    if arguments.output:
        write_json(arguments.output, asdict(result))


def whole_documents(paths: Sequence[Path], text_key: str) -> Iterator[Document]:
    """All documents. Raises: DataError for a malformed record: a measurement must not skip any silently."""
    return read_documents(paths, text_key, "fatal", ReadReport(remedy="fix the line, or remove it"))


def bits_per_byte(
    model: Any, tokenizer: Any, texts: Sequence[str], window: int | None = None, stride: int | None = None
) -> BitsPerByte:
    """Summed negative log-likelihood of all tokens, divided by ``ln 2`` and the number of UTF-8 bytes.

    Each token is predicted once. A document is preceded by the bos (or eos) token, as in pretraining. If it is longer
    than the window, the window moves by ``stride`` and predicts only tokens that it has not predicted yet.

    Raises: ConfigError if window or stride is out of range; DataError if there is no text, or no bos and eos token.
    """
    window, stride = window_and_stride(model, window, stride)
    start = start_of_text(tokenizer)
    scores = []
    for text in track(texts, "scoring", disable=not screen().is_terminal):
        ids = [start, *text_ids(tokenizer, text)]
        scores.append((document_nats(model, ids, window, stride), len(ids) - 1, len(text.encode("utf-8"))))
    return total(scores)


def window_and_stride(model: Any, window: int | None = None, stride: int | None = None) -> tuple[int, int]:
    """Window and stride in tokens; the defaults are the model's context length and half the window. Raises: ConfigError."""
    longest = getattr(model.config, "max_position_embeddings", None)
    window = window if window is not None else longest
    if window is None:
        raise ConfigError("--window: the config has no max_position_embeddings; give a window")
    if window < 1 or (longest is not None and window > longest):
        raise ConfigError(f"--window {window}: give 1 to {longest or 'any number of'} tokens")
    stride = stride if stride is not None else max(1, window // 2)
    if not 0 < stride <= window:
        raise ConfigError(f"--stride {stride} with a window of {window}: give at least 1 and at most the window")
    return window, stride


def total(scores: Sequence[Sequence[float]]) -> BitsPerByte:
    """Sums ``(nats, tokens, bytes)`` over documents. Raises: DataError if there is no token or the loss is not finite."""
    nats = sum(score[0] for score in scores)
    tokens, size = (int(sum(score[place] for score in scores)) for place in (1, 2))
    if tokens == 0:
        raise DataError("no text to score: the input contains no document with a token")
    if not math.isfinite(nats):
        raise DataError(f"the loss of the text is {nats}: the model's outputs are not finite; it is damaged")
    if size == 0:
        raise DataError("no text to score: the documents are empty")
    return BitsPerByte(nats / math.log(2) / size, nats / tokens, len(scores), tokens, size)


def document_nats(model: Any, ids: list[int], window: int, stride: int) -> float:
    """Sum of ``-log p(ids[i] | ids[..i])`` for i >= 1, in windows of at most ``window`` inputs."""
    import torch

    nats, done = 0.0, 1
    with torch.inference_mode():
        while done < len(ids):
            end = min(len(ids), done + (window if done == 1 else stride))
            begin = max(0, end - 1 - window)
            row = torch.tensor([ids[begin:end]], device=model.device)
            logits = model(row[:, :-1]).logits[0, done - 1 - begin :].float()
            nats += float(torch.nn.functional.cross_entropy(logits, row[0, done - begin :], reduction="sum"))
            done = end
    return nats

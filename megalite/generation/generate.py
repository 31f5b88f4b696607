"""Continues a prompt, holds a conversation, or answers a file of prompts."""

import argparse
import sys
from pathlib import Path

from megalite.config.command_line import MOST, CommandParser, whole_number
from megalite.config.errors import ConfigError, one_line_errors
from megalite.files.json_file import check_json_output
from megalite.files.model_folder import model_folder_of
from megalite.generation.batch_generation import answer_file, plan_of, tokenized
from megalite.generation.continuation import prompt_tokens, stream_continuation
from megalite.generation.kv_cache import CACHES, check_cache
from megalite.generation.prompt_file import read_prompts
from megalite.generation.settings import GenerationSettings, add_generation_options, settings_from
from megalite.generation.speculation import DRAFT_TOKENS, compare, comparison_line, load_draft, summary
from megalite.generation.stream import Tally
from megalite.generation.terminal_chat import chat, say
from megalite.generation.text_model import TextModel
from megalite.huggingface.check_folder import check_model_folder
from megalite.huggingface.load import load_model
from megalite.tokenizer.chat_text import require_template


@one_line_errors
def main() -> None:
    """The text goes to stdout as it is generated, counts and speed to stderr."""
    arguments = _parser().parse_args()
    settings = settings_from(arguments)
    _check_combination(arguments)
    check_model_folder(arguments.model)
    if arguments.draft is not None:
        check_model_folder(arguments.draft)
    read = [path for path in (arguments.model, arguments.draft, arguments.input) if path is not None]
    check_json_output(arguments.output, read)
    rows = read_prompts(arguments.input) if arguments.input else []
    model, tokenizer = load_model(arguments.model)
    check_cache(settings.cache, _proposes(arguments), str(model.device))
    draft = None
    if arguments.draft is not None:
        draft = load_draft(arguments.draft, model, tokenizer, arguments.draft_tokens or DRAFT_TOKENS)
    lm = TextModel(model, tokenizer, draft)
    if arguments.chat:
        require_template(tokenizer)
    if arguments.input:
        prompts = tokenized(rows, lm, settings)
        plan = plan_of(arguments.model, arguments.input.read_bytes(), settings, arguments.batch_size, arguments.draft)
        tally = answer_file(lm, prompts, arguments.output, plan, arguments.batch_size)
        _report(arguments.compare, lm, [prompt.tokens for prompt in prompts], settings, tally)
    elif arguments.chat and arguments.prompt is None:
        chat(lm, settings, arguments.system)
    elif arguments.chat:
        system = [{"role": "system", "content": arguments.system}] if arguments.system else []
        say(lm, [*system, {"role": "user", "content": arguments.prompt}], settings)
    else:
        ids, tally = prompt_tokens(tokenizer, arguments.prompt), Tally()
        pieces = stream_continuation(lm, ids, settings, tally)
        print(tokenizer.decode(ids), end="", flush=True)
        for piece in pieces:
            print(piece, end="", flush=True)
        print(flush=True)
        _report(arguments.compare, lm, [ids], settings, tally)


def _parser() -> CommandParser:
    parser = CommandParser(description="Continue a prompt, hold a conversation, or answer a file of prompts.")
    parser.add_argument("model", type=model_folder_of, help="Hugging Face folder, run folder or .gguf file")
    parser.add_argument("prompt", nargs="?", help="text to continue; with --chat, the user's turn")
    parser.add_argument("--chat", action="store_true", help="use the chat template; interactive without a prompt")
    parser.add_argument("--system", metavar="TEXT", help="system message of the conversation")
    parser.add_argument(
        "--input", type=Path, metavar="JSONL", help='prompts, {"prompt": ...} or {"messages": [...]} per line'
    )
    parser.add_argument("--output", type=Path, metavar="JSONL", help="where to write the rows of --input with answers")
    parser.add_argument(
        "--batch_size", type=whole_number(1, 1 << 16), default=8, metavar="N", help="prompts of --input per batch"
    )
    add_generation_options(parser)
    parser.add_argument(
        "--cache",
        default="dynamic",
        metavar="|".join(CACHES),
        help="; ".join(f"{name}: {what}" for name, what in CACHES.items()),
    )
    faster = parser.add_argument_group("speculative decoding: the same text (or distribution) in fewer forward passes")
    faster.add_argument(
        "--draft", type=model_folder_of, metavar="SMALL", help="model with the same vocabulary that proposes tokens"
    )
    faster.add_argument(
        "--draft_tokens",
        type=whole_number(1, 1 << 16),
        metavar="N",
        help=f"tokens that the draft proposes at once (default: {DRAFT_TOKENS})",
    )
    faster.add_argument(
        "--prompt_lookup",
        type=whole_number(-MOST, 1 << 16),
        default=0,
        metavar="N",
        help="propose up to N tokens copied from the text so far; 0 is off",
    )
    faster.add_argument(
        "--compare",
        type=whole_number(0),
        metavar="ROUNDS",
        help="measure the speed-up over no proposals; 0 is off (default: 1 round)",
    )
    return parser


def _proposes(arguments: argparse.Namespace) -> bool:
    return arguments.draft is not None or arguments.prompt_lookup > 0


def _check_combination(arguments: argparse.Namespace) -> None:
    """Refuse options that contradict each other. Raises: ConfigError."""
    given = {name: getattr(arguments, name) is not None for name in ("prompt", "input", "output", "draft", "system")}
    for wrong, message in (
        (given["prompt"] and given["input"], "a prompt and --input: give one of them"),
        (not (given["prompt"] or given["input"] or arguments.chat), "give a prompt, --chat, or --input with --output"),
        (given["input"] != given["output"], "--input and --output go together; give both or neither"),
        (given["input"] and arguments.chat, "--chat with --input: put 'messages' into the file instead"),
        (given["system"] and not arguments.chat, "--system needs --chat"),
        (given["draft"] and arguments.prompt_lookup > 0, "--draft and --prompt_lookup: give one of them"),
        (not given["draft"] and arguments.draft_tokens is not None, "--draft_tokens needs --draft"),
        (arguments.compare and not _proposes(arguments), "--compare needs --draft or --prompt_lookup"),
        (arguments.compare and arguments.chat, "--compare measures a prompt or --input, not a conversation"),
    ):
        if wrong:
            raise ConfigError(message)


def _report(
    rounds: int | None, lm: TextModel, prompts: list[list[int]], settings: GenerationSettings, tally: Tally
) -> None:
    """Print the counts and, with proposals, the speed-up."""
    print(summary(tally, lm.proposes(settings)), file=sys.stderr, flush=True)
    if rounds is None:
        rounds = int(lm.proposes(settings))
    if rounds:
        print(comparison_line(compare(lm, prompts, settings, rounds), settings.temperature == 0), file=sys.stderr)

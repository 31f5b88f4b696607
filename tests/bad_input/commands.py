"""A healthy command line of every verb; each input and output is named, so that the generator can spoil it."""

from dataclasses import dataclass
from pathlib import Path

READ_A_MODEL = {"generate", "evaluate", "bits-per-byte", "quantize", "chat", "sft", "preferences"}


@dataclass(frozen=True)
class Command:
    """``argv`` of a verb. A word ``{docs.jsonl}`` is an input of the world, ``<out>`` the output."""

    verb: str
    argv: str
    configs: tuple[str, ...] = ()
    """YAML and JSON files among the inputs, whose keys are spoiled one by one."""
    also: tuple[str, ...] = ()
    """What the command reads because a config names it."""
    runs: bool = True
    """False where a command that is not refused would run for long, or for ever."""

    @property
    def reads_weights(self) -> bool:
        """Whether the command takes a model's folder for more than its tokenizer."""
        return self.verb in READ_A_MODEL

    @property
    def inputs(self) -> list[str]:
        """Paths that the command reads, relative to the world."""
        return [word[1:-1] for word in self.argv.split() if word.startswith("{")]

    @property
    def files(self) -> list[str]:
        """All that is read: ``inputs`` and ``also``."""
        return [*self.inputs, *self.also]

    @property
    def output(self) -> str | None:
        """Where the command writes, if it takes an output."""
        return next((word[1:-1] for word in self.argv.split() if word.startswith("<")), None)

    def words(self, replace: dict[str, str] | None = None) -> list[str]:
        """The command line, with single paths replaced."""
        names = replace or {}
        words = []
        for word in self.argv.split():
            plain = word[1:-1] if word[0] in "{<" else word
            words.append(names.get(plain, plain))
        return [self.verb, *words]


COMMANDS = (
    Command(
        "prepare-corpus",
        "--recipe {recipe.yaml} --output <out>",
        configs=("recipe.yaml",),
        also=("docs.jsonl",),
    ),
    Command("prepare-corpus", "--recipe {recipe.yaml} --output <out> --dry_run --workers 1"),
    Command("recount-corpus", "{dry} --recipe {recipe.yaml}"),
    Command(
        "train-classifier",
        "--input {labelled.jsonl} --label_key label --positive a --negative b --output <out.safetensors>",
    ),
    Command("dedup", "--input {docs.jsonl} --output <out> --workers 1"),
    Command("dedup", "--input {docs.jsonl.zst} --output <out> --workers 1"),
    Command("decontaminate", "--input {docs.jsonl} --against {eval.jsonl} --output <out>"),
    Command("train-tokenizer", "--input {docs.jsonl} --vocab_size 300 --output <out>"),
    Command("preprocess-data", "--input {docs.jsonl} --tokenizer {model} --output_prefix <out> --workers 1"),
    Command("preprocess-data", "--input {docs.txt} --tokenizer {model} --output_prefix <out> --workers 1"),
    Command("merge-datasets", "--input {train} {train2} --output_prefix <merged>"),
    Command("adopt", "{raw} --tokenizer {model}"),
    Command("inspect-data", "{train} --tokenizer {model}"),
    Command("inspect-data", "--config {run.yaml} --step 1 --sample 0"),
    Command(
        "pretrain",
        "--config {run.yaml} --ds_config {ds.json} --check",
        configs=("run.yaml", "ds.json"),
        also=("train", "valid", "model"),
    ),
    Command("sft", "--config {sft.yaml} --check", configs=("sft.yaml",), also=("model", "chats.jsonl")),
    Command("preferences", "--config {dpo.yaml} --check", configs=("dpo.yaml",), also=("model", "pairs.jsonl")),
    Command(
        "evaluate",
        "{model} --tasks {task.yaml} --limit 2 --output <out>",
        configs=("task.yaml",),
        also=("items.jsonl",),
    ),
    Command("evaluate", "{model} --text {docs.jsonl} --limit 2 --output <out>"),
    Command("bits-per-byte", "{model} --input {docs.jsonl} --max_documents 2"),
    Command("make-cloze-task", "--input {docs.jsonl} --output <out> --max_items 3"),
    Command("export-hf", "{step} --output <out>"),
    Command("generate", "{model} Hello --max_new_tokens 3"),
    Command("generate", "{model} --input {prompts.jsonl} --output <out.jsonl> --max_new_tokens 3"),
    Command("generate", "{model} Hello --chat --max_new_tokens 3"),
    Command("quantize", "{model} --output <out.gguf> --format gguf-q8-0"),
    Command("chat", "{model} --port 0", runs=False),
    Command("parity", "--config {run.yaml} --sequence_length 16", runs=False),
    Command("make-chat-rows", "--output <out>", runs=False),
)


def case_id(command: Command) -> str:
    """The verb, with a number from its second command line on."""
    number = [other for other in COMMANDS if other.verb == command.verb].index(command)
    return command.verb + (f"#{number + 1}" if number else "")


def files_of(world: Path, name: str) -> list[str]:
    """The files behind an input: itself, those of a folder, or ``.bin``, ``.idx`` and manifest of a prefix."""
    path = world / name
    if path.is_dir():
        return sorted(str(file.relative_to(world)) for file in path.rglob("*") if file.is_file())
    if path.is_file():
        return [name]
    made = [f"{name}{suffix}" for suffix in (".bin", ".idx", ".manifest.json")]
    return [file for file in made if (world / file).is_file()]

"""``megalite generate``: batches from a file, conversations from a pipe, and refused requests."""

import io
import json
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from megalite.generation import batch_generation, generate
from megalite.generation.continuation import stream_reply
from megalite.generation.settings import GenerationSettings
from megalite.generation.text_model import TextModel
from megalite.huggingface.load import load_model

PROMPTS = [
    "Once upon a time",
    "The",
    "One day, a little girl named Lily found a needle in her room. She",
    "",
    "Tim was",
]


class Command:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys

    def __call__(self, *words: object) -> tuple[str, str]:
        self.monkeypatch.setattr(sys, "argv", ["generate", *map(str, words)])
        generate.main()
        return self.capsys.readouterr()

    def refused(self, *words: object) -> str:
        with pytest.raises(SystemExit) as exit_:
            self(*words)
        assert exit_.value.code == 2
        lines = self.capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1
        return lines[0].removeprefix("megalite: error: ")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capsys)


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.jsonl"
    path.write_text(
        "".join(json.dumps({"prompt": prompt, "id": 10 * place}) + "\n" for place, prompt in enumerate(PROMPTS))
    )
    return path


def rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_batch_gives_the_answers_of_single_prompts_in_order(
    stories_folder: Path, prompts: Path, tmp_path: Path, command: Command
) -> None:
    base = (stories_folder, "--input", prompts, "--max_new_tokens", 24, "--stop", "She loved", "zebra")
    for name, more in (("one", ("--batch_size", 1)), ("two", ("--batch_size", 2)), ("all", ("--batch_size", 8))):
        command(*base, "--output", tmp_path / name, *more)
    told = command(*base, "--output", tmp_path / "looked_up", "--prompt_lookup", 5)[1]
    assert "proposed tokens accepted" in told and "same text" in told
    answered = rows(tmp_path / "one")
    assert [row["id"] for row in answered] == [0, 10, 20, 30, 40]
    assert {row["finish_reason"] for row in answered} == {"stop", "length"}
    assert all(row["tokens"] == 24 for row in answered if row["finish_reason"] == "length")
    assert "She loved" not in "".join(str(row["text"]) for row in answered)
    for name in ("two", "all", "looked_up"):
        assert rows(tmp_path / name) == answered


def test_a_killed_batch_resumes(
    stories_folder: Path, prompts: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (stories_folder, "--input", prompts, "--max_new_tokens", 8, "--batch_size", 2, "--temperature", 1)
    command(*words, "--output", tmp_path / "whole")
    answer, calls = batch_generation._answers, []

    def twice(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return answer(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(batch_generation, "_answers", twice)
    with pytest.raises(SystemExit, match="130"):
        command(*words, "--output", tmp_path / "out")
    work = tmp_path / "out.work" / batch_generation.ANSWERS
    assert not (tmp_path / "out").exists() and len(rows(work)) == 4
    with work.open("a") as file:
        file.write('{"torn')
    calls.clear()
    command(*words, "--output", tmp_path / "out")
    assert len(calls) == 1
    assert rows(tmp_path / "out") == rows(tmp_path / "whole")
    assert not work.parent.exists()


def test_a_conversation_from_a_pipe(talker_folder: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    lm, settings = TextModel(*load_model(str(talker_folder))), GenerationSettings(6)

    def reply(*contents: str) -> str:
        roles = ("user", "assistant", "user")
        messages = [{"role": role, "content": content} for role, content in zip(roles, contents, strict=False)]
        return "".join(stream_reply(lm, [{"role": "system", "content": "be"}, *messages], settings))

    first = reply("the cat")
    monkeypatch.setattr(sys, "stdin", io.StringIO("the cat\n\nsat\n/reset\nthe cat\n/nothing\n/exit\nnever\n"))
    out, err = command(talker_folder, "--chat", "--system", "be", "--max_new_tokens", 6)
    assert out == f"{first}\n{reply('the cat', first, 'sat')}\n{first}\n"
    assert "/nothing: unknown" in err and err.count("tokens in") == 3
    assert command(talker_folder, "the cat", "--chat", "--system", "be", "--max_new_tokens", 6)[0] == f"{first}\n"


def test_a_full_conversation_ends_a_pipe_and_not_a_terminal(
    talker_folder: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = "the cat sat " * 200
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{long}\nthe cat\n"))
    assert "the conversation has" in command.refused(talker_folder, "--chat")
    typed = io.StringIO(f"{long}\nthe cat\n")
    typed.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stdin", typed)
    err = command(talker_folder, "--chat", "--max_new_tokens", 4)[1]
    assert "the conversation has" in err and "/reset starts over" in err and err.count("tokens in") == 1


def test_counts_and_the_speed_up_go_to_stderr(stories_folder: Path, command: Command) -> None:
    out, err = command(stories_folder, "Once upon a time", "--draft", stories_folder, "--max_new_tokens", 12)
    assert out.startswith("Once upon a time, there was a little girl")
    assert "12 tokens in" in err and "9 of 9 proposed tokens accepted (100%), 4.00 tokens per forward pass" in err
    assert "times as fast as without proposals" in err and "same text" in err
    err = command(stories_folder, "Once", "--prompt_lookup", 3, "--max_new_tokens", 5, "--compare", 0)[1]
    assert "times as fast" not in err


def test_a_broken_file_of_prompts_is_refused_with_its_line(
    stories_folder: Path, tmp_path: Path, command: Command
) -> None:
    path = tmp_path / "broken.jsonl"
    for line, message in (
        ("{", "not readable as JSON"),
        ("[1]", "give a JSON object with either 'prompt' or 'messages'"),
        ('{"prompt": 5}', "'prompt' is a number, not text"),
        ('{"prompt": "a", "text": "b"}', "has a key 'text', which the answer would overwrite"),
        ('{"messages": []}', "'messages' must be a list with at least one message"),
        ('{"messages": [{"role": "user"}]}', "a message needs 'role' and 'content'"),
        ('{"prompt": "' + "word " * 600 + '"}', "the prompt has"),
        ('{"messages": [{"role": "user", "content": "a"}]}', "has no chat template"),
    ):
        path.write_text('{"prompt": "fine"}\n\n' + line + "\n")
        told = command.refused(stories_folder, "--input", path, "--output", tmp_path / "out")
        assert told.startswith(f"{path}:3: ") and message in told
    path.write_text("\n")
    assert "contains no prompt" in command.refused(stories_folder, "--input", path, "--output", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_impossible_requests_are_refused_in_one_line(
    stories_folder: Path, prompts: Path, tmp_path: Path, command: Command
) -> None:
    for words, message in (
        ((), "give a prompt, --chat, or --input with --output"),
        (("x", "--input", prompts, "--output", tmp_path / "o"), "a prompt and --input: give one"),
        (("--input", prompts), "--input and --output go together"),
        (("--input", prompts, "--output", prompts), "is the input"),
        (("--input", tmp_path / "none", "--output", tmp_path / "o"), "no such file of prompts"),
        (("x", "--system", "y"), "--system needs --chat"),
        (("x", "--draft", stories_folder, "--prompt_lookup", 3), "--draft and --prompt_lookup: give one"),
        (("x", "--draft_tokens", 3), "--draft_tokens needs --draft"),
        (("x", "--draft", stories_folder, "--draft_tokens", 0), "--draft_tokens 0: give at least 1"),
        (("x", "--draft", tmp_path), "is not a model folder"),
        (("x", "--compare", 2), "--compare needs --draft"),
        (("x", "--cache", "big"), "--cache big: unknown"),
        (("x", "--cache", "static", "--prompt_lookup", 3), "--cache static: only 'dynamic'"),
        (("x", "--chat"), "has no chat template"),
        (("word " * 600,), "the prompt has"),
    ):
        assert message in command.refused(stories_folder, *words)


@pytest.mark.parametrize("prompt", ["def f", ""])
def test_generation_continues_greedily_also_from_nothing(talker_folder: Path, prompt: str, command: Command) -> None:
    printed = command(talker_folder, prompt, "--max_new_tokens", 5)[0]
    model, tokenizer = AutoModelForCausalLM.from_pretrained(talker_folder), AutoTokenizer.from_pretrained(talker_folder)
    ids = tokenizer(prompt)["input_ids"] or [1]
    for _ in range(5):
        with torch.no_grad():
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] == tokenizer.eos_token_id:
            break
    assert printed == tokenizer.decode(ids) + "\n"

"""Impossible prompts, numbers and models end in one line with exit code 2; a model's own settings are ignored."""

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from chats import write_model
from damage import change_json, change_tensors, copied

from megalite.config.errors import ConfigError
from megalite.generation import generate
from megalite.generation.chat import open_port
from megalite.templates import render


@pytest.fixture(scope="module")
def talker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("talker") / "hf", positions=64)


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def run(*words: object, typed: str = "") -> str:
        monkeypatch.setattr(sys, "argv", ["generate", *map(str, words)])
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        with pytest.raises(SystemExit) as end:
            generate.main()
        lines = capsys.readouterr().err.strip().splitlines()
        assert end.value.code == 2 and len(lines) == 1, lines
        return lines[0]

    return run


@pytest.mark.parametrize(
    "words",
    [
        ("--max_new_tokens", "0"),
        ("--max_new_tokens", "-3"),
        ("--temperature", "nan"),
        ("--temperature", "inf"),
        ("--temperature", "-1"),
        ("--temperature", "1e-300"),
        ("--top_p", "0"),
        ("--top_p", "1.5"),
        ("--top_p", "nan"),
        ("--top_k", "-1"),
        ("--min_p", "2"),
        ("--repetition_penalty", "0"),
        ("--repetition_penalty", "1e-300"),
        ("--seed", "-1"),
        ("--seed", str(2**64)),
        ("--stop", ""),
        ("--cache", "moon"),
        ("--prompt_lookup", "-1"),
        ("--prompt_lookup", "1000000000"),
        ("--compare", "-1"),
        ("--batch_size", "0"),
    ],
    ids=" ".join,
)
def test_an_impossible_number_is_named(refused: Callable[..., str], talker: Path, words: tuple[str, str]) -> None:
    assert words[0] in refused(talker, "the", *words)


def test_prompts_that_do_not_fit_are_refused(refused: Callable[..., str], talker: Path, tmp_path: Path) -> None:
    assert "the model's context is 64; shorten it" in refused(talker, "cat " * 500)
    assert "not UTF-8 text" in refused(talker, "a\udcff")
    assert "the model's context is 64; shorten it" in refused(talker, "--chat", typed="cat " * 500)
    file = tmp_path / "prompts.jsonl"
    words = (talker, "--input", file, "--output", tmp_path / "out.jsonl")
    for content in (
        b"",
        b"null",
        b"[]",
        b"\xff\xfe",
        b'{"prompt": 3}',
        b'{"prompt": ["a"]}',
        b'{"messages": []}',
        b'{"messages": "a"}',
        b'{"messages": [3]}',
        b'{"messages": [{"role": "user", "content": 3}]}',
        b'{"messages": [{"role": null, "content": "a"}]}',
        b'{"prompt": "a", "messages": []}',
        b'{"prompt": "a", "text": "b"}',
        b'{"prompt": "' + b"cat " * 500 + b'"}',
        b"[" * 100000,
    ):
        file.write_bytes(content)
        assert str(file) in refused(*words)
        assert not (tmp_path / "out.jsonl").exists()


def test_a_byte_order_mark_loses_no_prompt(talker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in.jsonl").write_bytes(b'\xef\xbb\xbf{"prompt": "the"}\n')
    words = [str(talker), "--input", str(tmp_path / "in.jsonl"), "--output", str(tmp_path / "out.jsonl")]
    monkeypatch.setattr(sys, "argv", ["generate", *words, "--max_new_tokens", "2"])
    generate.main()
    assert (tmp_path / "out.jsonl").read_text().startswith('{"prompt":"the"')


def test_outputs_that_are_not_numbers_are_reported(refused: Callable[..., str], talker: Path, tmp_path: Path) -> None:
    huge = copied(talker, tmp_path / "huge", change_tensors(lambda t: t["model.norm.weight"].fill_(3e38)))
    for words in (("the",), ("the", "--temperature", "1"), ("the", "--chat"), ("the", "--prompt_lookup", "3")):
        assert "is not a number" in refused(huge, *words)
    (tmp_path / "in.jsonl").write_text('{"prompt": "the"}\n{"prompt": "cat"}\n')
    assert "is not a number" in refused(huge, "--input", tmp_path / "in.jsonl", "--output", tmp_path / "out.jsonl")


def test_a_models_own_settings_do_not_change_the_text(
    talker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own = {"repetition_penalty": 9.0, "suppress_tokens": list(range(100, 300)), "stop_strings": ["a"], "num_beams": 3}
    own |= {"do_sample": True, "temperature": 5.0, "min_new_tokens": 20, "max_time": 0.001, "guidance_scale": 3.0}
    changed = copied(talker, tmp_path / "changed", change_json("generation_config.json", **own))
    texts = []
    for folder in (talker, changed):
        monkeypatch.setattr(sys, "argv", ["generate", str(folder), "the cat", "--max_new_tokens", "12"])
        generate.main()
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]


LOOP = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
TEMPLATES = {
    "raises": ("{{ raise_exception('never') }}", "never"),
    "does not parse": ("{% for %}", "refuses the conversation"),
    "reaches out": ("{{ cycler.__init__.__globals__ }}", "refuses the conversation"),
    "multiplies": ("{{ 'a' * 10 ** 11 }}", "bytes of memory"),
    "never ends": (LOOP, "takes more than 0.1 seconds"),
    "wants no such field": ("{{ messages[7].content }}", "refuses the conversation"),
}


@pytest.mark.parametrize("case", TEMPLATES.values(), ids=TEMPLATES)
def test_a_chat_template_that_cannot_be_rendered_is_reported(
    refused: Callable[..., str],
    talker: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    case: tuple[str, str],
) -> None:
    if case[0] == LOOP:
        monkeypatch.setattr(render, "SECONDS", 0.1)
        monkeypatch.setattr(render, "_workers", [])
    folder = copied(talker, tmp_path / "hf", lambda path: (path / "chat_template.jinja").write_text(case[0]) and None)
    assert case[1] in refused(folder, "hello", "--chat")


def test_a_draft_with_another_vocabulary_is_refused(refused: Callable[..., str], talker: Path, tmp_path: Path) -> None:
    from small_models import write_small_model

    other = write_small_model(tmp_path / "other", seed=0)
    assert "vocabulary" in refused(talker, "the", "--draft", other)
    assert "no such model folder" in refused(talker, "the", "--draft", tmp_path / "none")


@pytest.mark.parametrize(
    ("host", "port"), [("a" * 300, 0), ("nowhere.invalid", 0), ("127.0.0.1", -1), ("127.0.0.1", 70000)]
)
def test_impossible_addresses_are_refused(host: str, port: int) -> None:
    with pytest.raises(ConfigError, match=r"--host|--port"):
        open_port(host, port)

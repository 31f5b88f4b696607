"""``megalite chat``: what it refuses before any work, and a whole conversation in a browser."""

import os
import signal
import socket
import sys
import threading
from pathlib import Path

import pytest
from chat_pages import browser, wait_until
from chats import write_model

from megalite.generation.chat import main, open_port, page_address, shown_name


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("chat") / "talker" / "hf", positions=512)


def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    monkeypatch.setattr(sys, "argv", ["chat", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("megalite: error: ")
    return lines[0]


def test_impossible_requests_are_refused_in_one_line(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "no such model folder" in refused(monkeypatch, capsys, str(tmp_path / "none" / "here"))
    assert "is not a model folder" in refused(monkeypatch, capsys, str(tmp_path))
    with open_port("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert f"--port {port}: is in use" in refused(monkeypatch, capsys, str(folder), "--port", str(port))
    assert "--port 70000" in refused(monkeypatch, capsys, str(folder), "--port", "70000")
    assert "--host 192.0.2.1: cannot be opened" in refused(monkeypatch, capsys, str(folder), "--host", "192.0.2.1")
    assert "--token: has 3" in refused(monkeypatch, capsys, str(folder), "--token", "abc")
    assert "--temperature -1" in refused(monkeypatch, capsys, str(folder), "--temperature", "-1")


def test_a_model_without_template_is_refused_before_loading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import AutoTokenizer

    model = write_model(tmp_path / "mute")
    (model / "model.safetensors").write_bytes(b"never looked at")
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.chat_template = None
    (model / "chat_template.jinja").unlink()
    tokenizer.save_pretrained(model)
    capsys.readouterr()  # transformers' progress bar
    assert "has no chat template" in refused(monkeypatch, capsys, str(model), "--port", "0")


def test_addresses_and_names() -> None:
    assert page_address("127.0.0.1", 8000, None) == "http://127.0.0.1:8000/"
    assert page_address("::1", 80, "a b&c") == "http://[::1]:80/#token=a%20b%26c"
    assert "0.0.0.0" not in page_address("0.0.0.0", 80, None)
    assert shown_name("owner/name-1B") == "owner/name-1B"


def test_the_command_talks_to_a_browser_as_transformers_would(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command runs in the main thread, as it handles Ctrl-C, and the browser in another."""
    with open_port("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    address = page_address("127.0.0.1", port, "correct horse")
    words = [str(folder), "--port", str(port), "--token", "correct horse", "--max_new_tokens", "40", "--no_browser"]
    monkeypatch.setattr(sys, "argv", ["chat", *words])
    failures: list[BaseException] = []

    def user() -> None:
        try:
            wait_until(lambda: _answers(port), "the page")
            _talk(address, folder)
        except BaseException as error:
            failures.append(error)
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=user)
    thread.start()
    main()
    thread.join()
    for failure in failures:
        raise failure
    printed = capsys.readouterr()
    assert address in printed.out and "talker" in printed.out and printed.err == ""


def _answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def _talk(address: str, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with browser() as window:
        page = window.new_page()
        page.goto(address)
        page.wait_for_selector("#talk")
        page.evaluate("document.querySelector('details').open = true")
        page.fill("#temperature", "0")
        turns: list[dict[str, str]] = []
        for number, text in enumerate(("the cat sat", "and then?"), 1):
            page.fill("#text", text)
            page.press("#text", "Enter")
            done = f"document.querySelectorAll('.turn.assistant:not(.working)').length == {number}"
            wait_until(lambda done=done: page.evaluate(done), done)
            said = page.locator(".turn.assistant").nth(number - 1).text_content()
            turns.append({"role": "user", "content": text})
            tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
            inputs = tokenizer.apply_chat_template(
                turns, add_generation_prompt=True, return_tensors="pt", return_dict=True
            )
            with torch.no_grad():
                made = model.generate(**inputs, max_new_tokens=40, do_sample=False)
            wanted = tokenizer.decode(made[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
            assert said == wanted and len(said) > 0
            turns.append({"role": "assistant", "content": said})

"""The chat page's server through a plain HTTP client."""

import json
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from typing import Any
from urllib.parse import urlsplit

import pytest
from chat_pages import PATIENCE, ScriptedModel, chat_page, wait_until

from megalite.config.errors import ConfigError
from megalite.generation.web_chat.guard import Guard, is_loopback
from megalite.generation.web_chat.reply_queue import LONGEST_QUEUE

TOKEN = "open sesame, 1001 nights"
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def pages() -> Iterator[tuple[ScriptedModel, str, str]]:
    """One model, its page on loopback, and its page behind a token as on another address."""
    model = ScriptedModel()
    with chat_page(model) as free, chat_page(model, TOKEN, host="0.0.0.0") as locked:
        yield model, free, locked


def ask(url: str, method: str, path: str, headers: dict[str, str], body: Any = None) -> HTTPResponse:
    connection = HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE)
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    return connection.getresponse()


def leave(connection: HTTPConnection, answer: HTTPResponse) -> None:
    """Both hold the socket."""
    answer.close()
    connection.close()


def question(text: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **more}


def test_a_reply_is_one_line_per_piece_with_the_given_settings(pages: tuple[ScriptedModel, str, str]) -> None:
    model, free, _ = pages
    turns = [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": "drei €"},
    ]
    answer = ask(free, "POST", "/reply", JSON, {"messages": turns, "temperature": 0.25, "max_new_tokens": 3})
    events = [json.loads(line) for line in answer.read().splitlines()]
    assert [event.get("text") for event in events] == ["You", " said turn 3:", " drei", " €", None]
    assert events[-1]["tokens"] == 4 and events[-1]["cut"]
    asked, settings = model.asked[-1]
    assert asked == turns
    assert (settings.temperature, settings.max_new_tokens, settings.top_p) == (0.25, 3, 0.9)


def test_a_piece_is_sent_before_the_next_one_is_made(pages: tuple[ScriptedModel, str, str]) -> None:
    model, free, _ = pages
    model.hold = True
    model.go.clear()
    try:
        answer = ask(free, "POST", "/reply", JSON, question("held"))
        assert json.loads(answer.readline()) == {"text": "You"}
    finally:
        model.hold = False
        model.go.set()
    assert b"held" in answer.read()


def test_replies_are_generated_one_at_a_time_and_others_wait(pages: tuple[ScriptedModel, str, str]) -> None:
    model, free, _ = pages
    model.most_running = 0
    answers: list[list[dict[str, Any]]] = []

    def talk() -> None:
        answers.append(
            [
                json.loads(line)
                for line in ask(free, "POST", "/reply", JSON, question("a b c d e f")).read().splitlines()
            ]
        )

    threads = [threading.Thread(target=talk) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join(PATIENCE) for thread in threads]
    assert [answer[-1]["tokens"] for answer in answers] == [8] * 4
    assert model.most_running == 1
    assert sorted(answer[0].get("waiting", 0) for answer in answers) == [0, 1, 2, 3]


def test_a_disconnected_reader_ends_or_cancels_its_reply(
    pages: tuple[ScriptedModel, str, str],
) -> None:
    model, free, _ = pages
    before, asked = len(model.ended), len(model.asked)
    first = HTTPConnection(urlsplit(free).netloc)
    first.request("POST", "/reply", json.dumps(question("forever")), JSON)
    first_answer = first.getresponse()
    assert b"la" in first_answer.readline()
    second = HTTPConnection(urlsplit(free).netloc)
    second.request("POST", "/reply", json.dumps(question("never heard")), JSON)
    in_line = second.getresponse()
    assert json.loads(in_line.readline()) == {"waiting": 1}
    leave(second, in_line)
    time.sleep(0.1)  # the second disconnects before the first frees the queue
    leave(first, first_answer)
    wait_until(lambda: len(model.ended) > before, "the endless reply to end")
    assert model.ended[before:] == ["closed"]
    assert b"You" in ask(free, "POST", "/reply", JSON, question("next")).read()
    assert len(model.asked) == asked + 2, "the reply whose reader had gone was made"


def test_errors_are_sent_in_the_stream_without_details_of_a_bug(
    pages: tuple[ScriptedModel, str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    _, free, _ = pages
    assert "shorten it" in json.loads(ask(free, "POST", "/reply", JSON, question("too much")).read())["error"]
    told = json.loads(ask(free, "POST", "/reply", JSON, question("bug")).read())["error"]
    assert "RuntimeError" in told and "secret" not in told
    assert "RuntimeError: a secret path" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({}, "messages"),
        ({"messages": []}, "messages"),
        (question("x", temperature=-1), "temperature"),
        (question("x", max_new_tokens=0), "max_new_tokens"),
        (question("x", max_new_tokens="many"), "max_new_tokens"),
        (question("x", shell="rm"), "shell"),
        ({"messages": [{"role": "root", "content": "x"}]}, "messages.0.role"),
        ([1], ""),
    ],
)
def test_an_invalid_question_is_refused_with_its_key(
    pages: tuple[ScriptedModel, str, str], body: Any, place: str
) -> None:
    answer = ask(pages[1], "POST", "/reply", JSON, body)
    assert answer.status == 400
    assert json.loads(answer.read())["error"].startswith(place)


def test_broken_bodies_are_refused(pages: tuple[ScriptedModel, str, str]) -> None:
    connection = HTTPConnection(urlsplit(pages[1]).netloc, timeout=PATIENCE)
    connection.request("POST", "/reply", "{", JSON)
    assert connection.getresponse().status == 400
    assert ask(pages[1], "POST", "/reply", JSON, question("x" * 3_000_000)).status == 413


def test_without_the_token_there_is_neither_page_nor_stream(pages: tuple[ScriptedModel, str, str]) -> None:
    model, _, locked = pages
    asked = len(model.asked)
    for wrong in (
        {},
        {"Authorization": "Bearer open sesame"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Cookie": f"megalite_chat_{urlsplit(locked).port}={TOKEN}"},
        {
            "Authorization": "Bearer wrong",
            "Cookie": f"megalite_chat_{urlsplit(locked).port}={Guard('0.0.0.0', TOKEN).cookie}",
        },
    ):
        page = ask(locked, "GET", "/", wrong)
        assert page.status == 401 and b'id="talk"' not in page.read()
        assert ask(locked, "POST", "/reply", JSON | wrong, question("let me in")).status == 401
        assert ask(locked, "GET", "/other", wrong).status == 401
    assert ask(locked, "POST", "/enter", JSON, {"token": "open sesame"}).status == 401
    assert ask(locked, "POST", "/enter", JSON, {"token": None}).status == 401
    assert ask(locked, "POST", "/enter", JSON, []).status == 401
    assert len(model.asked) == asked


def test_the_token_opens_as_header_and_as_cookie(pages: tuple[ScriptedModel, str, str]) -> None:
    _, _, locked = pages
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    assert b"You" in ask(locked, "POST", "/reply", JSON | bearer, question("hello")).read()
    entered = ask(locked, "POST", "/enter", JSON, {"token": TOKEN})
    cookie = entered.headers["Set-Cookie"]
    assert entered.status == 204 and "HttpOnly" in cookie and "SameSite=Strict" in cookie and TOKEN not in cookie
    kept = {"Cookie": cookie.split(";")[0]}
    assert b'id="talk"' in ask(locked, "GET", "/", kept).read()
    assert b"You" in ask(locked, "POST", "/reply", JSON | kept, question("hello")).read()


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},  # DNS rebinding
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "192.0.2.7"},
        {"Host": "[::1"},
        {"Host": ""},
        {"Origin": "http://evil.example"},  # another page in the same browser
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_another_page_or_name_is_refused(pages: tuple[ScriptedModel, str, str], headers: dict[str, str]) -> None:
    model, free, _ = pages
    asked = len(model.asked)
    assert ask(free, "POST", "/reply", JSON | headers, question("x")).status in (400, 403)
    if "Host" in headers:
        assert ask(free, "GET", "/", headers).status in (400, 403)
    assert len(model.asked) == asked


def test_a_form_of_another_page_cannot_ask(pages: tuple[ScriptedModel, str, str]) -> None:
    assert ask(pages[1], "POST", "/reply", {"Content-Type": "text/plain"}, question("x")).status == 415


def test_own_names_are_let_in(pages: tuple[ScriptedModel, str, str]) -> None:
    _, free, locked = pages
    port = urlsplit(free).port
    for host in (f"localhost:{port}", f"127.0.0.1:{port}", "[::1]:8000", "LOCALHOST"):
        assert ask(free, "GET", "/", {"Host": host}).status == 200, host
    assert ask(locked, "GET", "/", {"Host": "192.0.2.7:80"}).status == 401, (
        "an address cannot be rebound; the token is asked"
    )
    assert ask(locked, "GET", "/", {"Host": "evil.example"}).status == 403


def test_beyond_loopback_there_is_always_a_token() -> None:
    assert Guard.of("127.0.0.1", None).token is None
    assert Guard.of("localhost", None).token is None
    made = [Guard.of("0.0.0.0", None).token for _ in range(2)]
    assert all(token is not None and len(token) >= 32 for token in made) and made[0] != made[1]
    assert Guard.of("127.0.0.1", "eight ch").token == "eight ch"
    with pytest.raises(ConfigError, match="--token: has 5 characters"):
        Guard.of("127.0.0.1", "short")
    assert [
        is_loopback(host) for host in ("127.0.0.9", "::1", "Localhost", "0.0.0.0", "::", "192.168.0.2", "", "box")
    ] == ([True] * 3 + [False] * 5)


def test_the_queue_is_bounded(pages: tuple[ScriptedModel, str, str]) -> None:
    model, free, _ = pages
    waiting = []
    try:
        for _ in range(LONGEST_QUEUE):
            connection = HTTPConnection(urlsplit(free).netloc, timeout=PATIENCE)
            connection.request("POST", "/reply", json.dumps(question("forever")), JSON)
            waiting.append((connection, connection.getresponse()))
        assert "try again later" in json.loads(ask(free, "POST", "/reply", JSON, question("one more")).read())["error"]
    finally:
        for connection, answer in waiting:
            leave(connection, answer)
    wait_until(lambda: model.running == 0, "all replies to end")

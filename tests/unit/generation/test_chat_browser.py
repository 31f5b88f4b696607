"""The chat page in a real browser: what a user sees and what the browser requests."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from chat_pages import PATIENCE, ScriptedModel, browser, chat_page, wait_until

TOKEN = "open sesame, 1001 nights"
REPLY = ".turn.assistant"


@pytest.fixture(scope="module")
def window() -> Iterator[Any]:
    with browser() as opened:
        yield opened


@pytest.fixture
def model() -> Iterator[ScriptedModel]:
    scripted = ScriptedModel()
    yield scripted
    scripted.go.set()


@pytest.fixture
def page(window: Any, model: ScriptedModel) -> Iterator[Any]:
    """The open page. Afterwards: it has contacted no other host, and no script has failed."""
    with chat_page(model) as url:
        tab = window.new_page()
        tab.set_default_timeout(PATIENCE * 1000)
        asked, failed = [], []
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("pageerror", lambda error: failed.append(str(error)))
        tab.on("console", lambda message: failed.append(message.text) if message.type == "error" else None)
        tab.goto(url)
        yield tab
        outside = [it for it in asked if urlsplit(it).scheme != "data" and urlsplit(it).netloc != urlsplit(url).netloc]
        tab.close()
    assert len(asked) >= 1 and outside == [] and failed == []


def say(page: Any, text: str) -> None:
    page.fill("#text", text)
    page.press("#text", "Enter")


def until(page: Any, expression: str) -> None:
    """Not playwright's ``wait_for_function``: the page's policy forbids what it needs (eval)."""
    wait_until(lambda: page.evaluate(expression), expression)


def finished(page: Any, replies: int) -> None:
    until(page, f"document.querySelectorAll('{REPLY}:not(.working)').length == {replies}")
    page.wait_for_selector("#send", state="visible")


def test_a_reply_is_shown_as_it_is_generated(page: Any, model: ScriptedModel) -> None:
    model.hold = True
    say(page, "hello there")
    until(page, f"document.querySelector('{REPLY}')?.textContent == 'You'")
    assert model.ended == [], "the first piece stands there before the second is made"
    assert page.is_visible("#stop") and not page.is_visible("#send")
    page.evaluate(
        f"window.states = []; new MutationObserver(() => states.push(document.querySelector('{REPLY}').textContent))"
        f".observe(document.querySelector('{REPLY}'), {{childList: true, characterData: true, subtree: true}})"
    )
    model.hold = False
    model.go.set()
    finished(page, 1)
    states = page.evaluate("states")
    assert len(set(states)) >= 3 and states[-1] == "You said turn 1: hello there"
    say(page, "and again")
    finished(page, 2)
    assert page.locator(REPLY).nth(1).text_content() == "You said turn 3: and again"
    assert [turn["content"] for turn in model.asked[1][0]] == ["hello there", states[-1], "and again"]
    assert [turn["role"] for turn in model.asked[1][0]] == ["user", "assistant", "user"]
    page.reload()
    assert page.locator(".turn").all_text_contents()[-1] == "You said turn 3: and again", (
        "a reload keeps the conversation"
    )


def test_stop_ends_the_reply_and_the_conversation_goes_on(page: Any, model: ScriptedModel) -> None:
    say(page, "forever")
    until(page, f"document.querySelector('{REPLY}')?.textContent.length > 9")
    page.click("#stop")
    finished(page, 1)
    wait_until(lambda: model.ended == ["closed"], "the model to stop")
    assert "Stopped" in page.inner_text("#talk")
    said = page.locator(REPLY).text_content()
    say(page, "next")
    finished(page, 2)
    assert model.asked[1][0][1] == {"role": "assistant", "content": said}


def test_new_chat_forgets_everything_and_ends_what_is_running(page: Any, model: ScriptedModel) -> None:
    say(page, "forever")
    until(page, f"document.querySelector('{REPLY}')?.textContent.length > 0")
    page.click("#reset")
    wait_until(lambda: model.ended == ["closed"], "the model to stop")
    assert page.locator(".turn").count() == 0
    say(page, "fresh")
    finished(page, 1)
    assert [turn["content"] for turn in model.asked[1][0]] == ["fresh"]


def test_a_closed_tab_ends_its_reply(window: Any, model: ScriptedModel) -> None:
    with chat_page(model) as url:
        tab = window.new_page()
        tab.goto(url)
        say(tab, "forever")
        until(tab, f"document.querySelector('{REPLY}')?.textContent.length > 0")
        tab.close()
        wait_until(lambda: model.ended == ["closed"], "the model to stop")


def test_settings_go_with_the_question(page: Any, model: ScriptedModel) -> None:
    page.click("summary")
    assert (page.input_value("#temperature"), page.input_value("#max_new_tokens")) == ("0.5", "64")
    page.fill("#temperature", "0")
    page.fill("#max_new_tokens", "4")
    say(page, "a")
    finished(page, 1)
    assert (model.asked[0][1].temperature, model.asked[0][1].max_new_tokens) == (0, 4)
    page.fill("#max_new_tokens", "0")
    say(page, "not sent")
    assert len(model.asked) == 1 and page.input_value("#text") == "not sent"


def test_a_reply_is_text_never_markup(page: Any, model: ScriptedModel) -> None:
    said = "<img src=//outside.example onerror=document.title='taken'><script>document.title='taken'</script>"
    say(page, said)
    finished(page, 1)
    assert said in page.locator(REPLY).text_content()
    assert page.locator("#talk img, #talk script").count() == 0 and page.title() == "a small model"


def test_a_refusal_is_shown_and_the_question_given_back(page: Any, model: ScriptedModel) -> None:
    say(page, "too much")
    page.wait_for_selector("[role=alert]")
    assert "shorten it" in page.inner_text("[role=alert]")
    assert page.input_value("#text") == "too much" and page.locator(".turn").count() == 0
    say(page, "less")
    finished(page, 1)
    assert len(model.asked[1][0]) == 1


def test_the_page_accepts_the_token_typed_or_in_the_address(window: Any, model: ScriptedModel) -> None:
    with chat_page(model, TOKEN, host="0.0.0.0") as url:
        stranger = window.new_context().new_page()
        assert stranger.goto(f"{url}#token=wrong").status == 401
        until(stranger, "document.getElementById('refusal').textContent == 'Wrong token.'")
        assert stranger.locator("#talk").count() == 0
        assert stranger.evaluate("fetch('reply', {method: 'POST'}).then(answer => answer.status)") == 401
        stranger.fill("#token", TOKEN)
        stranger.press("#token", "Enter")
        stranger.wait_for_selector("#talk")
        say(stranger, "typed")
        finished(stranger, 1)
        guest = window.new_context().new_page()
        guest.goto(f"{url}#token={TOKEN.replace(' ', '%20')}")
        guest.wait_for_selector("#talk")
        assert guest.url == url, "the token does not stay in the address"
        assert guest.evaluate("document.cookie") == "", "no script can read it"


def test_the_browser_itself_refuses_other_hosts(window: Any, model: ScriptedModel) -> None:
    other = ScriptedModel()
    with chat_page(model) as url, chat_page(other) as elsewhere:
        tab = window.new_page()
        tab.goto(url)
        for attempt in (
            f"fetch('{elsewhere}').then(() => 'came', () => 'refused')",
            f"new Promise(end => Object.assign(new Image(), {{onerror: () => end('refused'), src: '{elsewhere}x.png'}}))",
        ):
            seen: list[str] = []
            tab.on("response", lambda answer, seen=seen: seen.append(answer.url))
            assert tab.evaluate(attempt) == "refused"
            assert seen == []


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (360, 640)], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_fits_the_window(window: Any, model: ScriptedModel, width: int, height: int, scheme: str) -> None:
    model.seconds_per_word = 0
    with chat_page(model, name="runs/a-run-with-a-long-name-20261121-120000-that-does-not-end-soon") as url:
        tab = window.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        tab.goto(url)
        for number in range(4):
            say(tab, f"turn {number} " + "x" * 200 + " words " * 12)
            finished(tab, number + 1)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        for part in ("#text", "#send", "#reset"):
            box = tab.locator(part).bounding_box()
            assert box["x"] >= 0 and box["x"] + box["width"] <= width and 0 <= box["y"] <= height - box["height"], part
        scrolled = tab.evaluate(
            "(m => m.scrollTop + m.clientHeight - m.scrollHeight)(document.getElementById('scroll'))"
        )
        assert abs(scrolled) < 3, "the newest turn is in view"
        channels = tab.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
        assert (sum(channels) / 3 < 128) == (scheme == "dark")
        tab.close()

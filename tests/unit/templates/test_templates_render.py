"""Untrusted templates render as in lm-eval and transformers, stay in the sandbox, and always end."""

import threading
from collections.abc import Iterator
from typing import Any

import jinja2
import pytest
from chats import TEMPLATES, conversation

from megalite.templates import render
from megalite.templates.render import render_jinja_template, render_text

ESCAPES = (
    "{{ cycler.__init__.__globals__.os.system('true') }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ lipsum.__globals__['os'] }}",
    "{{ self.__init__.__globals__ }}",
    "{{ joiner.__init__.__globals__.os.getcwd() }}",
    "{{ '{0.__class__.__init__.__globals__}'.format(x) }}",
    "{{ x|attr('__class__') }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
)
BOMBS = (
    "{% for i in range(99999) %}{% for j in range(99999) %}{% for k in range(99999) %}{% endfor %}{% endfor %}{% endfor %}",
    "{{ 'a' * 10 ** 11 }}",
    "{{ '%099999999999d' % 1 }}",
    "{{ '{:99999999999}'.format(1) }}",
    "{{ 'a'.center(10 ** 11) }}",
    "{{ 'a'|center(10 ** 11) }}",
    "{{ 9 ** (9 ** (9 ** 9)) }}",
    "{% set n = namespace(t='ab') %}{% for i in range(99) %}{% set n.t = n.t ~ n.t %}{% endfor %}{{ n.t|length }}",
    "{% for i in range(99999) %}{{ 'a' * 9999 }}{% endfor %}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{{ x|regex_replace('(a+)+$', '') }}",
)


def test_texts_are_lm_evals() -> None:
    lm_eval = pytest.importorskip("lm_eval.utils")
    values: dict[str, Any] = {"q": " a\n", "choices": {"text": ["x", "y"], "label": ["A", "B"]}, "key": "B", "n": 3}
    for template in (
        "Q: {{q}}\nA:",
        "{{choices.label.index(key)}}",
        "{{choices.text}}",
        "{{q|trim|upper}}{% if n > 2 %}!{% endif %}\n",
        "{% for c in choices.text %}{{loop.index}}. {{c}}\n{% endfor %}",
        "{{q|regex_replace('a', 'b')}}",
    ):
        assert render_text(template, values) == lm_eval.env.from_string(template).render(**values)


@pytest.mark.parametrize("name", TEMPLATES)
def test_chats_are_transformers(name: str) -> None:
    from transformers.utils.chat_template_utils import render_jinja_template as theirs

    turns = [conversation(seed, system=bool(seed % 2)) for seed in range(4)]
    arguments: dict[str, Any] = {"chat_template": TEMPLATES[name], "bos_token": "<s>", "eos_token": "</s>"}
    arguments |= {"return_assistant_tokens_mask": name == "chatml with marks"}
    ours, spans = render_jinja_template(turns, **arguments)
    expected, expected_spans = theirs(conversations=turns, **arguments)
    assert ours == expected and [list(map(tuple, s)) for s in spans] == [list(map(tuple, s)) for s in expected_spans]


@pytest.mark.parametrize("template", ESCAPES)
def test_no_template_leaves_the_sandbox(template: str) -> None:
    with pytest.raises(jinja2.TemplateError):
        render_text(template, {"x": 1})
    try:
        chat, _ = render_jinja_template([[{"role": "user", "content": "x"}]], chat_template=template, x=1)
        assert chat == [""]  # undefined
    except jinja2.TemplateError:
        pass


@pytest.fixture
def short_limit(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(render, "SECONDS", 0.1)
    render._workers.clear()
    yield
    render._workers.clear()


@pytest.mark.usefixtures("short_limit")
@pytest.mark.parametrize("template", BOMBS)
def test_a_bomb_ends_within_bounds_and_the_next_template_works(template: str) -> None:
    with pytest.raises(jinja2.TemplateError) as refused:
        render_text(template, {"x": "a" * 40 + "b"})
    assert "\n" not in str(refused.value)
    assert render_text("{{ 1 + 1 }}", {}) == "2"


def test_an_undefined_name_is_an_error() -> None:
    with pytest.raises(jinja2.TemplateError, match="'question' is undefined"):
        render_text("{{ question }}", {"query": 1})


def test_threads_get_their_own_answers() -> None:
    found: dict[int, str] = {}

    def ask(number: int) -> None:
        found[number] = render_text("{{ n * 2 }}", {"n": number})

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: str(number * 2) for number in range(20)}


def test_a_killed_process_is_restarted() -> None:
    assert render_text("{{ 1 }}", {}) == "1"
    process = render._worker()._started()
    process.kill()
    process.wait()
    assert render_text("{{ 2 }}", {}) == "2"
    assert render._worker()._started().pid != process.pid


def test_a_process_that_never_answers_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render.sys, "executable", "/bin/false")
    monkeypatch.setattr(render, "_workers", [])
    with pytest.raises(render.TemplateLimitError, match="crashes the process that renders it"):
        render_text("{{ 1 }}", {})

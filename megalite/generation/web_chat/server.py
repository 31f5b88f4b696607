"""The HTTP server of the chat page: the page, the login, and the stream of a reply."""

import html
import json
import secrets
from contextlib import aclosing, suppress
from importlib.resources import files
from typing import Annotated, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from megalite.generation.settings import GenerationSettings
from megalite.generation.web_chat.guard import Guard, cookie_name, guarded
from megalite.generation.web_chat.reply_queue import Reply, ReplyQueue

POLICY = (
    "default-src 'none'; connect-src 'self'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Keeps the browser from contacting other hosts and from running scripts in a reply."""
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
MOST_CHARACTERS = 500_000


class _Turn(BaseModel):
    model_config = ConfigDict(extra="forbid")
    role: Literal["system", "user", "assistant"]
    content: Annotated[str, Field(max_length=MOST_CHARACTERS)]


class _Question(BaseModel):
    """What the page sends: the whole conversation; the server stores none."""

    model_config = ConfigDict(extra="forbid")
    messages: Annotated[list[_Turn], Field(min_length=1, max_length=1000)]
    temperature: Annotated[float, Field(ge=0, le=5)] = 0.0
    max_new_tokens: Annotated[int, Field(ge=1, le=1_000_000)] = 256


def chat_app(reply: Reply, name: str, guard: Guard, defaults: GenerationSettings) -> web.Application:
    """``GET /`` is the page, ``POST /reply`` streams a reply as JSON lines, ``POST /enter`` accepts the token.

    Args:
        name: the model's name on the page.
        defaults: initial settings; the page can change temperature and length.
    """
    queue = ReplyQueue(reply)

    async def page(request: web.Request) -> web.Response:
        return _page(
            "page.html",
            name=name,
            temperature=str(defaults.temperature),
            max_new_tokens=str(defaults.max_new_tokens),
        )

    async def login(request: web.Request) -> web.Response:
        if request.method == "GET" and request.path == "/":
            return _page("enter.html", status=401, name=name)
        return web.json_response({"error": "the token is missing or wrong"}, status=401, headers=HEADERS)

    async def enter(request: web.Request) -> web.Response:
        body = await _json(request)
        token = body.get("token") if isinstance(body, dict) else None
        if not isinstance(token, str) or not guard.is_token(token):
            return await login(request)
        response = web.Response(status=204, headers=HEADERS)
        response.set_cookie(cookie_name(request), guard.cookie, httponly=True, samesite="Strict", path="/")
        return response

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            question = _Question.model_validate(await _json(request))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            return web.json_response({"error": f"{place}: {first['msg']}"}, status=400, headers=HEADERS)
        settings = GenerationSettings(
            **vars(defaults) | {"temperature": question.temperature, "max_new_tokens": question.max_new_tokens}
        )
        response = web.StreamResponse(headers=HEADERS | {"X-Accel-Buffering": "no"})
        response.content_type, response.charset = "application/x-ndjson", "utf-8"
        await response.prepare(request)
        turns = [turn.model_dump() for turn in question.messages]
        with suppress(ConnectionResetError):  # the reader disconnected, which ends the reply
            async with aclosing(queue.events(turns, settings)) as events:
                async for event in events:
                    await response.write(json.dumps(event, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
        return response

    app = web.Application(
        middlewares=[guarded(guard, login, frozenset({"/enter"}))], client_max_size=4 * MOST_CHARACTERS
    )
    app.add_routes([web.get("/", page), web.post("/enter", enter), web.post("/reply", answer)])
    return app


async def _json(request: web.Request) -> object:
    """The body as JSON. Another page's form could send other content types (CSRF). Raises: an HTTP error."""
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text="send application/json\n")
    try:
        return await request.json()
    except (ValueError, RecursionError):
        raise web.HTTPBadRequest(text="the body is not JSON\n") from None


def _page(file: str, status: int = 200, **shown: str) -> web.Response:
    nonce = secrets.token_urlsafe(16)
    text = (files("megalite.generation.web_chat") / file).read_text(encoding="utf-8")
    for key, value in {**shown, "nonce": nonce}.items():
        text = text.replace(f"{{{{{key}}}}}", html.escape(value))
    policy = {"Content-Security-Policy": POLICY.format(nonce=nonce)}
    return web.Response(text=text, content_type="text/html", status=status, headers=HEADERS | policy)

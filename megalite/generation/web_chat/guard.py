"""Access control of the chat page: loopback or a token, and never another web page in the user's browser."""

import hashlib
import hmac
import ipaddress
import secrets
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from aiohttp import web

from megalite.config.errors import ConfigError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
SHORTEST_TOKEN = 8
OWN_PAGE = ("same-origin", "none")
"""Values of ``Sec-Fetch-Site`` for requests that no other site made; "none" is a typed address."""


@dataclass(frozen=True)
class Guard:
    """The address that the page listens on, and its token; without one, everyone on this machine has access."""

    host: str
    token: str | None = None

    @classmethod
    def of(cls, host: str, token: str | None) -> "Guard":
        """The guard for ``--host`` and ``--token``. Generates a token if the host is not loopback. Raises: ConfigError."""
        if token is not None and len(token) < SHORTEST_TOKEN:
            raise ConfigError(f"--token: has {len(token)} characters; give at least {SHORTEST_TOKEN}, or omit it")
        if token is None and not is_loopback(host):
            token = secrets.token_urlsafe(24)
        return cls(host, token)

    @property
    def cookie(self) -> str:
        """What the browser stores instead of the token."""
        return hashlib.sha256(f"megalite chat:{self.token}".encode()).hexdigest()

    def knows_host(self, name: str | None) -> bool:
        """Whether ``Host`` is ours. A foreign name that resolves to this machine is DNS rebinding."""
        wanted = _host_name(name)
        if wanted is None:
            return False
        if is_loopback(wanted) or wanted == self.host.lower():
            return True
        if is_loopback(self.host):
            return False
        return _is_address(wanted) or wanted in (socket.gethostname().lower(), socket.getfqdn().lower())

    def is_own_page(self, headers: Mapping[str, str]) -> bool:
        """Whether a request comes from our page or from no page. Browsers send these headers with every POST."""
        origin = headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc.lower() != headers.get("Host", "").lower():
            return False
        return headers.get("Sec-Fetch-Site", "none") in OWN_PAGE

    def admits(self, cookie: str | None, authorization: str | None) -> bool:
        """Whether a request carries the token, in its cookie or as ``Authorization: Bearer TOKEN``."""
        if self.token is None:
            return True
        if authorization is not None and authorization.startswith("Bearer "):
            return self.is_token(authorization.removeprefix("Bearer "))
        return cookie is not None and _same(cookie, self.cookie)

    def is_token(self, token: str) -> bool:
        return self.token is not None and _same(token, self.token)


def is_loopback(host: str) -> bool:
    """Whether an address or name cannot be reached from another machine."""
    return host.lower() == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def guarded(
    guard: Guard, enter: Handler, without_token: frozenset[str]
) -> Callable[..., Awaitable[web.StreamResponse]]:
    """A middleware that checks every request; ``enter`` handles those without a token."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not guard.knows_host(request.headers.get("Host")):
            raise web.HTTPForbidden(text="unknown host name; open the page at the printed address\n")
        if request.method != "GET" and not guard.is_own_page(request.headers):
            raise web.HTTPForbidden(text="requests from other pages are refused\n")
        known = guard.admits(request.cookies.get(cookie_name(request)), request.headers.get("Authorization"))
        if not known and request.path not in without_token:
            return await enter(request)
        return await handler(request)

    return check


def cookie_name(request: web.Request) -> str:
    """One name per port: browsers share cookies between all ports of a host."""
    return f"megalite_chat_{(request.transport.get_extra_info('sockname') if request.transport else (0, 0))[1]}"


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), wanted.encode())


def _host_name(header: str | None) -> str | None:
    """The name in a ``Host`` header, without port and brackets; None if there is none."""
    try:
        return urlsplit(f"//{header or ''}").hostname
    except ValueError:
        return None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True

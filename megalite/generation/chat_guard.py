"""Who may use the chat page: loopback alone, or whoever has the token; never another web page in the user's browser."""

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
"""``Sec-Fetch-Site`` of a request that no other site has made; "none" is the user's own typing."""


@dataclass(frozen=True)
class Guard:
    """The address that the page is bound to, and the token that opens it; None lets everyone on this machine in."""

    host: str
    token: str | None = None

    @classmethod
    def of(cls, host: str, token: str | None) -> "Guard":
        """The guard of ``--host`` and ``--token``: beyond loopback there is always one. Raises: ConfigError."""
        if token is not None and len(token) < SHORTEST_TOKEN:
            raise ConfigError(f"--token: has {len(token)} characters; give at least {SHORTEST_TOKEN}, or leave it out")
        if token is None and not is_loopback(host):
            token = secrets.token_urlsafe(24)
        return cls(host, token)

    @property
    def cookie(self) -> str:
        """What the browser keeps in the token's stead."""
        return hashlib.sha256(f"megalite chat:{self.token}".encode()).hexdigest()

    def knows_host(self, name: str | None) -> bool:
        """Whether a request's ``Host`` is ours: a foreign name that resolves to this machine is DNS rebinding."""
        wanted = _host_name(name)
        if wanted is None:
            return False
        if is_loopback(wanted) or wanted == self.host.lower():
            return True
        if is_loopback(self.host):
            return False
        return _is_address(wanted) or wanted in (socket.gethostname().lower(), socket.getfqdn().lower())

    def is_own_page(self, headers: Mapping[str, str]) -> bool:
        """Whether a request comes from our page or from no page at all; browsers send these headers with every POST."""
        origin = headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc.lower() != headers.get("Host", "").lower():
            return False
        return headers.get("Sec-Fetch-Site", "none") in OWN_PAGE

    def lets_in(self, cookie: str | None, authorization: str | None) -> bool:
        """Whether a request has the token, by its cookie or as ``Authorization: Bearer TOKEN``."""
        if self.token is None:
            return True
        if authorization is not None and authorization.startswith("Bearer "):
            return self.opens(authorization.removeprefix("Bearer "))
        return cookie is not None and _same(cookie, self.cookie)

    def opens(self, token: str) -> bool:
        """Whether ``token`` is the token."""
        return self.token is not None and _same(token, self.token)


def is_loopback(host: str) -> bool:
    """Whether an address or name cannot be reached from another machine."""
    return host.lower() == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def guarded(
    guard: Guard, enter: Handler, without_token: frozenset[str]
) -> Callable[..., Awaitable[web.StreamResponse]]:
    """The middleware that asks ``guard`` before every handler; ``enter`` answers where the token is missing."""

    @web.middleware
    async def ask(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not guard.knows_host(request.headers.get("Host")):
            raise web.HTTPForbidden(text="this address is not mine; open the page by the address it was printed with\n")
        if request.method != "GET" and not guard.is_own_page(request.headers):
            raise web.HTTPForbidden(text="another page may not speak to this one\n")
        known = guard.lets_in(request.cookies.get(cookie_name(request)), request.headers.get("Authorization"))
        if not known and request.path not in without_token:
            return await enter(request)
        return await handler(request)

    return ask


def cookie_name(request: web.Request) -> str:
    """Cookies are shared by all ports of a host: two chat pages must not share theirs."""
    return f"megalite_chat_{(request.transport.get_extra_info('sockname') if request.transport else (0, 0))[1]}"


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), wanted.encode())


def _host_name(header: str | None) -> str | None:
    """The name in a ``Host`` header, without port and brackets; None where there is none."""
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

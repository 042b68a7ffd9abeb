"""The dashboard of a fleet in another process: its source at one end of the control socket, collectors at the other.

`install` gives a service the verbs that a dashboard needs (the control layer is below this one and knows nothing of
views); `Remote` is a source that calls them. Each dashboard is a session with a collector of its own; a session that
has not been heard of for a while is forgotten. The order of the list crosses the socket only when it has changed.
"""

from __future__ import annotations

import base64
import secrets
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sandbox.control.verbs import VERBS, Argument, Verb
from sandbox.dashboard.source import Done, Request, Wish
from sandbox.dashboard.view import View
from sandbox.dashboard.wire import decode, encode
from sandbox.errors import ConfigurationError

if TYPE_CHECKING:
    from sandbox.control import Client
    from sandbox.control.service import Service
    from sandbox.dashboard.collector import Collector

_FORGOTTEN = 30.0  # seconds
_MOST_SESSIONS = 64


@dataclass(slots=True)
class _Session:
    collector: Collector
    lock: threading.Lock
    heard: float
    order: tuple[str, ...] = ()
    order_number: int = 0


_SESSIONS: dict[tuple[int, str], _Session] = {}
_GUARD = threading.Lock()


def _session(service: Service, name: str) -> _Session:
    from sandbox.dashboard.collector import Collector

    now = time.monotonic()
    with _GUARD:
        for key, old in list(_SESSIONS.items()):
            if now - old.heard > _FORGOTTEN:
                del _SESSIONS[key]
                old.collector.close()
        key = (id(service), name[:64])
        session = _SESSIONS.get(key)
        if session is None:
            if len(_SESSIONS) >= _MOST_SESSIONS:
                raise ConfigurationError("there are too many dashboards")
            session = _SESSIONS[key] = _Session(Collector(service.hypervisor), threading.Lock(), now)
        session.heard = now
        return session


def _view(service: Service, session: str, wish: dict[str, Any], order: int = -1) -> dict[str, Any]:
    found = _session(service, session)
    with found.lock:
        view = found.collector.observe(decode(Wish, wish))
        if view.order != found.order:
            found.order, found.order_number = view.order, found.order_number + 1
        plain = {"view": encode(replace(view, order=())), "order": found.order_number}
        if order != found.order_number:
            plain["names"] = list(view.order)
        return plain


def _deed(service: Service, session: str, request: dict[str, Any], data: str | None = None) -> dict[str, Any]:
    found = _session(service, session)
    wanted = decode(Request, request)
    if data is not None:
        wanted = replace(wanted, value=base64.b64decode(data))
    with found.lock:
        plain: dict[str, Any] = encode(found.collector.perform(wanted))
        return plain


def _symbols(service: Service, session: str, vm: str, prefix: str = "") -> list[str]:
    found = _session(service, session)
    with found.lock:
        return found.collector.symbols(vm, prefix)


def _leave(service: Service, session: str) -> None:
    with _GUARD:
        found = _SESSIONS.pop((id(service), session), None)
    if found is not None:
        with found.lock:
            found.collector.close()


_WHO = Argument("session", (str,), required=True)
_VERBS = (
    Verb("view", _view, (_WHO, Argument("wish", (dict,), required=True), Argument("order", (int,))), "a picture"),
    Verb("deed", _deed, (_WHO, Argument("request", (dict,), required=True), Argument("data", (str, type(None))))),
    Verb("symbols", _symbols, (_WHO, Argument("vm", (str,), required=True), Argument("prefix", (str,)))),
    Verb("leave", _leave, (_WHO,)),
)


def install() -> None:
    """From now on services of this process answer dashboards. Idempotent."""
    VERBS.update({verb.name: verb for verb in _VERBS})


class Remote:
    """A source for the dashboard: a fleet's service, through a client of its own."""

    def __init__(self, client: Client, read_only: bool = False) -> None:
        self.read_only = read_only
        self._client = client
        self._session = secrets.token_hex(8)
        self._order: tuple[str, ...] = ()
        self._order_number = -1
        self._pictures = 0

    def observe(self, wish: Wish) -> View:
        answer = self._client.call("view", session=self._session, wish=encode(wish), order=self._order_number)
        if "names" in answer:
            self._order, self._order_number = tuple(answer["names"]), answer["order"]
        self._pictures += 1
        return replace(decode(View, answer["view"]), order=self._order)

    def perform(self, request: Request) -> Done:
        data = None
        if isinstance(request.value, bytes):
            data = base64.b64encode(request.value).decode()
            request = replace(request, value=None)
        return decode(Done, self._client.call("deed", session=self._session, request=encode(request), data=data))

    def symbols(self, vm: str, prefix: str, limit: int = 20) -> list[str]:
        names: list[str] = self._client.call("symbols", session=self._session, vm=vm, prefix=prefix)
        return names[:limit]

    def version(self) -> int:
        return self._pictures

    def close(self) -> None:
        self._client.call("leave", session=self._session)

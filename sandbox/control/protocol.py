"""Messages: one JSON object per line, in UTF-8, at most `LONGEST` bytes, with the protocol's version.

    request   {"version": 1, "id": 7, "verb": "pause", "arguments": {"vm": "web-1"}}
    answer    {"version": 1, "id": 7, "ok": true, "result": ...}
              {"version": 1, "id": 7, "ok": false, "error": {"kind": "StateError", "message": "..."}}
    stream    any number of {"version": 1, "id": 7, "ok": true, "more": true, "result": ...}, then an answer

What is longer than allowed, no JSON, or not of this form ends the connection that sent it and nothing else. Keys
that are not known are refused, so that a newer client is not misunderstood.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from sandbox import errors
from sandbox.errors import SandboxError, StateError

VERSION = 1
LONGEST = 1 << 20
DEEPEST = 32


class ProtocolError(SandboxError):
    """The other side does not speak this protocol."""


class Stream(Protocol):
    """What is needed of a socket."""

    def recv(self, size: int, /) -> bytes: ...
    def sendall(self, data: bytes, /) -> None: ...


@dataclass(frozen=True, slots=True)
class Request:
    id: int | str
    verb: str
    arguments: dict[str, Any] = field(default_factory=dict)

    def to_plain(self) -> dict[str, Any]:
        return {"version": VERSION, "id": self.id, "verb": self.verb, "arguments": self.arguments}


def read_messages(stream: Stream, longest: int = LONGEST) -> Iterator[dict[str, Any]]:
    """Messages until the end of the connection; ProtocolError for what is none."""
    pending = bytearray()
    while True:
        end = pending.find(b"\n")
        while end >= 0:
            line = bytes(pending[:end])
            del pending[: end + 1]
            if len(line) > longest:
                raise ProtocolError(f"a message is longer than {longest} bytes")
            yield decode(line)
            end = pending.find(b"\n")
        if len(pending) > longest:
            raise ProtocolError(f"a message is longer than {longest} bytes")
        data = stream.recv(65536)
        if not data:
            if pending:
                raise ProtocolError("the connection ended within a message")
            return
        pending += data


def decode(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise ProtocolError("a message is not JSON") from None
    if not isinstance(message, dict):
        raise ProtocolError("a message is not an object")
    if message.get("version") != VERSION:
        raise ProtocolError(
            f"this is version {VERSION} of the protocol, the message is of {message.get('version')!r:.40}"
        )
    _check_depth(message, DEEPEST)
    return message


def encode(message: dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def parse_request(message: dict[str, Any]) -> Request:
    unknown = set(message) - {"version", "id", "verb", "arguments"}
    if unknown:
        raise ProtocolError(f"a request has no {sorted(unknown)[0]!r:.40}")
    number, verb, arguments = message.get("id"), message.get("verb"), message.get("arguments", {})
    if isinstance(number, bool) or not isinstance(number, (int, str)) or len(str(number)) > 64:
        raise ProtocolError("a request has an id, a number or a short text")
    if not isinstance(verb, str) or not isinstance(arguments, dict):
        raise ProtocolError("a request has a verb (text) and arguments (an object)")
    return Request(number, verb, arguments)


def answer(request_id: int | str | None, result: Any, more: bool = False) -> dict[str, Any]:
    message = {"version": VERSION, "id": request_id, "ok": True, "result": result}
    return message | {"more": True} if more else message


def failure(request_id: int | str | None, error: BaseException) -> dict[str, Any]:
    kind = type(error).__name__ if isinstance(error, SandboxError) else "SandboxError"
    sentence = (
        str(error) if isinstance(error, SandboxError) else f"a defect of the service: {type(error).__name__}: {error}"
    )
    details = {"status": error.status} if isinstance(error, errors.LoadError) else {}
    return {"version": VERSION, "id": request_id, "ok": False, "error": {"kind": kind, "message": sentence, **details}}


def raise_failure(error: Any) -> None:
    """The service's error as an exception of the same kind."""
    if not isinstance(error, dict):
        raise ProtocolError("an answer says neither ok nor what failed")
    kind, message = str(error.get("kind")), str(error.get("message"))
    if kind == "LoadError":
        raise errors.LoadError(message, 127 if error.get("status") == 127 else 126)
    made = getattr(errors, kind, None)
    if isinstance(made, type) and issubclass(made, SandboxError) and made is not errors.OutOfMemory:
        raise made(message)
    raise StateError(message)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _check_depth(value: Any, left: int) -> None:
    if left == 0:
        raise ProtocolError("a message is nested too deeply")
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_depth(inner, left - 1)

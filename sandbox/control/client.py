"""The client: calls a service's verbs; its errors come back as the same exceptions."""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sandbox.control.place import Place
from sandbox.control.protocol import ProtocolError, Request, encode, raise_failure, read_messages
from sandbox.errors import StateError

LONGEST_ANSWER = 64 << 20  # a fleet of thousands in one `ps`


class Client:
    """One connection. Not for several threads at a time; open another one instead."""

    def __init__(self, home: Path | str | None = None) -> None:
        self._connection: socket.socket = Place(home).connect()
        self._connection.settimeout(None)
        self._messages = read_messages(self._connection, LONGEST_ANSWER)
        self._number = 0

    def call(self, verb: str, **arguments: Any) -> Any:
        """The result. Raises the SandboxError that the service answers with; StateError when it has gone."""
        replies = list(self._replies(verb, arguments))
        return replies[-1] if replies else None

    def stream(self, verb: str, **arguments: Any) -> Iterator[Any]:
        """The pieces of a verb that has many; None is a sign of life and left out."""
        replies = self._replies(verb, arguments, pieces=True)
        return (piece for piece in replies if piece is not None)

    def logs(self, vm: str, follow: bool = False, tail: int | None = None) -> Iterator[bytes]:
        for piece in self.stream("logs", vm=vm, follow=follow, tail=tail):
            yield base64.b64decode(piece["data"])

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _replies(self, verb: str, arguments: dict[str, Any], pieces: bool = False) -> Iterator[Any]:
        self._number += 1
        number = self._number
        try:
            self._connection.sendall(encode(Request(number, verb, arguments).to_plain()))
            for message in self._messages:
                if message.get("id") not in (number, None):
                    continue  # what is left of a stream that was given up
                if message.get("ok") is not True:
                    raise_failure(message.get("error"))
                if message.get("more"):
                    yield message.get("result")
                    continue
                if not pieces:
                    yield message.get("result")
                return
        except (OSError, ProtocolError) as error:
            raise StateError(f"the service has gone: {error}") from None
        raise StateError("the service has gone")

"""The service: threads that answer clients of a hypervisor in this process.

One thread accepts, one serves each client (at most `MOST_CLIENTS`), so a client that waits for a VM to stop keeps
nobody else waiting. Who sends nonsense is told so and loses its connection. When time is virtual, one more thread
lets it pass (scheduler/epochs.py: somebody has to wait).
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sandbox.control.place import Place
from sandbox.control.protocol import ProtocolError, answer, encode, failure, parse_request, read_messages
from sandbox.control.verbs import VERBS, check
from sandbox.errors import ConfigurationError, SandboxError, StateError
from sandbox.hypervisor import Hypervisor
from sandbox.vm.execution import Execution

MOST_CLIENTS = 64


class Service:
    def __init__(self, hypervisor: Hypervisor, home: Path | str | None = None, name: str = "fleet") -> None:
        self.hypervisor = hypervisor
        self.name = name
        self.place = Place(home)
        self.closing = False
        self.ending = False
        self._listener: socket.socket | None = None
        self._clients: dict[socket.socket, threading.Thread] = {}
        self._threads: list[threading.Thread] = []
        self._guard = threading.Lock()
        self._executions: dict[int, Execution] = {}
        self._sessions = 0
        self._wanted_end = threading.Event()

    def start(self) -> Service:
        """Listen from now on. StateError when there is a service already."""
        self._listener = self.place.open()
        self._spawn(self._accept, "sandbox-control")
        if self.hypervisor.deterministic:
            self._spawn(self._let_time_pass, "sandbox-time")
        return self

    def serve(self, until_empty: bool = True) -> None:
        """Until `down` is asked for, or (`until_empty`) no VM is left; then close."""
        while not self._wanted_end.wait(0.2):
            if until_empty and not self.hypervisor.vms:
                break
        self.close()

    def request_close(self) -> None:
        """From where one cannot wait for the end: a client's thread, a signal handler."""
        self._wanted_end.set()

    def close(self) -> None:
        """Stop listening and end all connections; the hypervisor is its owner's. Idempotent."""
        with self._guard:
            self.closing = True
            clients = list(self._clients)
            threads = self._threads + list(self._clients.values())
        self._wanted_end.set()
        if self._listener is not None:
            self._shut(self._listener)
            self._listener = None
        for client in clients:
            self._shut(client)
        with self.hypervisor.monitor:
            self.hypervisor.monitor.changed.notify_all()
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join()
        self.place.close()

    def __enter__(self) -> Service:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def wait(self, done: Callable[[], bool], seconds: float | None) -> bool:
        """For a verb that waits: until `done()`, the end of the time, or of the service. Real time, always: virtual
        time is let pass by one thread only."""
        monitor = self.hypervisor.monitor
        with monitor:
            monitor.changed.wait_for(lambda: self.closing or done(), seconds)
            return done()

    # What clients run in VMs

    def open_execution(self, execution: Execution) -> int:
        with self._guard:
            self._sessions += 1
            self._executions[self._sessions] = execution
            return self._sessions

    def execution(self, session: int) -> Execution:
        with self._guard:
            found = self._executions.get(session)
        if found is None:
            raise StateError("it has ended")
        return found

    def close_execution(self, session: int) -> None:
        with self._guard:
            self._executions.pop(session, None)

    # Threads

    def _spawn(self, target: Callable[[], None], name: str) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _let_time_pass(self) -> None:
        room = self.hypervisor
        try:
            with room.monitor:
                room.wait_until(lambda: self.closing)
        except SandboxError:
            return

    def _accept(self) -> None:
        listener = self._listener
        assert listener is not None
        while not self.closing:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with self._guard:
                refused = self.closing or len(self._clients) >= MOST_CLIENTS or not _is_us(client)
                if not refused:
                    thread = threading.Thread(target=self._serve, args=(client,), name="sandbox-client", daemon=True)
                    self._clients[client] = thread
            if refused:
                self._say(client, failure(None, StateError("too many clients, or not of this user")))
                self._shut(client)
            else:
                thread.start()

    def _serve(self, client: socket.socket) -> None:
        try:
            for message in read_messages(client):
                request = parse_request(message)
                for reply in self._answers(request.id, request.verb, request.arguments):
                    client.sendall(encode(reply))
                if self.ending:
                    self.request_close()
                if self.closing:
                    break
        except ProtocolError as error:
            self._say(client, failure(None, error))
        except OSError:
            pass  # gone
        finally:
            self._shut(client)
            with self._guard:
                self._clients.pop(client, None)

    def _answers(self, number: int | str, name: str, arguments: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Never raises for what a verb does."""
        try:
            verb = VERBS.get(name)
            if verb is None:
                raise ConfigurationError(f"there is no verb {name!r:.40}")
            result = verb.run(self, **check(verb, arguments))
            if isinstance(result, Iterator):
                for piece in result:
                    yield answer(number, piece, more=True)
                result = None
            yield answer(number, result)
        except Exception as error:
            yield failure(number, error)

    @staticmethod
    def _say(client: socket.socket, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            client.settimeout(1)
            client.sendall(encode(message))

    @staticmethod
    def _shut(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()


def _is_us(client: socket.socket) -> bool:
    """Who is at the other end, by the kernel's word (unix(7), SO_PEERCRED)."""
    credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    return bool(uid == os.getuid())

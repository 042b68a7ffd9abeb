"""The control socket: verbs, several clients, nonsense, stale sockets, private places."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.control import Client, Place, Service
from sandbox.control.detach import spawn
from sandbox.control.protocol import LONGEST, ProtocolError, decode, encode, parse_request, read_messages
from sandbox.control.verbs import VERBS, span
from sandbox.errors import ConfigurationError, SandboxError, StateError
from sandbox.hypervisor import Hypervisor
from tests.fake_machine import Inventory, hypervisor


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "c"


@pytest.fixture
def room() -> Iterator[Hypervisor]:
    with hypervisor() as made:
        yield made


@pytest.fixture
def client(room: Hypervisor, home: Path) -> Iterator[Client]:
    with Service(room, home), Client(home) as made:
        yield made


def test_a_life_over_the_socket(room: Hypervisor, client: Client) -> None:
    room.create("web", "spin", weight=2)
    assert client.call("hello")["pid"] == os.getpid()
    (row,) = client.call("ps")
    assert (row["name"], row["state"], row["status"], row["program"]) == ("web", "created", "Created", ["spin"])
    client.call("start", vm="web")
    client.call("pause", vm="vm-1")
    assert client.call("ps")[0]["status"] == "Up less than a second (Paused)"
    client.call("set", vm="web", limits={"weight": 5, "cpus": 0.5, "memory": "32M"})
    details = client.call("inspect", vm="web")
    assert details["config"]["weight"] == 5 and details["stats"]["memory_limit"] == 32 << 20
    assert [event["kind"] for event in details["events"]][:3] == ["created", "started", "paused"]
    client.call("resume", vm="web")
    client.call("rename", vm="web", name="site")
    assert client.call("stop", vm="site") == 143
    assert client.call("ps")[0]["status"] == "Exited (143)"
    client.call("start", vm="site")
    client.call("kill", vm="site")
    assert client.call("wait", vm="site") == 137
    assert client.call("top")["vms"][0]["name"] == "site"
    client.call("rm", vm="site")
    assert client.call("ps") == []
    kinds = [event["kind"] for event in client.stream("events")]
    assert kinds[0] == "created" and kinds[-1] == "removed"


def test_console_and_logs(room: Hypervisor, client: Client) -> None:
    vm = room.create("echo", "cat").start()
    assert client.call("type", vm="echo", data=base64.b64encode(b"one ").decode()) == 4
    client.call("type", vm="echo", data=base64.b64encode(b"two").decode(), end=True)
    assert client.call("wait", vm="echo") == 0
    assert b"".join(client.logs("echo")) == b"one two"
    assert b"".join(client.logs("echo", tail=3)) == b"two"
    assert vm.console.read() == b"one two"


def test_logs_are_followed_to_the_end(room: Hypervisor, client: Client, home: Path) -> None:
    vm = room.create("echo", "cat").start()
    pieces: list[bytes] = []
    follower = threading.Thread(target=lambda: pieces.extend(client.logs("echo", follow=True)))
    follower.start()
    for word in (b"a", b"bc", b"def"):
        vm.console.write(word)
    vm.console.close()
    follower.join()
    assert b"".join(pieces) == b"abcdef"


def test_events_are_followed(room: Hypervisor, client: Client, home: Path) -> None:
    kinds: list[str] = []

    def follow() -> None:
        for event in client.stream("events", follow=True):
            kinds.append(event["kind"])
            if event["kind"] == "stopped":
                return

    follower = threading.Thread(target=follow)
    follower.start()
    room.create("it", "exit 0").start().wait(60)
    follower.join()
    assert kinds == ["created", "started", "stopped"]


@pytest.mark.parametrize(
    ("verb", "arguments", "kind", "sentence"),
    [
        ("pause", {"vm": "nobody"}, StateError, "no VM named nobody"),
        ("pause", {"vm": "it"}, StateError, "cannot pause it"),
        ("pause", {}, ConfigurationError, "needs 'vm'"),
        ("pause", {"vm": 3}, ConfigurationError, "vm is not 3"),
        ("pause", {"vm": "it", "force": True}, ConfigurationError, "takes no 'force'"),
        ("rm", {"vm": "it", "force": 1}, ConfigurationError, "force is not 1"),
        ("set", {"vm": "it", "limits": {"weight": "heavy"}}, ConfigurationError, "weight"),
        ("set", {"vm": "it", "limits": {"rootfs": "/"}}, ConfigurationError, "cannot be changed"),
        ("stop", {"vm": "it", "grace": "soon"}, ConfigurationError, "grace"),
        ("type", {"vm": "it", "data": "%%%"}, ConfigurationError, "base64"),
        ("explode", {}, ConfigurationError, "no verb 'explode'"),
        ("events", {"since": "today"}, ConfigurationError, "since"),
    ],
)
def test_errors_come_back_as_what_they_are(
    room: Hypervisor, client: Client, verb: str, arguments: dict[str, Any], kind: type[SandboxError], sentence: str
) -> None:
    room.create("it", "spin")
    with pytest.raises(kind, match=sentence):
        client.call(verb, **arguments)
    assert client.call("hello")["vms"] == 1


def test_every_verb_is_called_somewhere() -> None:
    source = Path(__file__).read_text() + Path(__file__).with_name("test_exec.py").read_text()
    assert [verb for verb in VERBS if f'"{verb}"' not in source] == []


def test_down(room: Hypervisor, home: Path) -> None:
    service = Service(room, home).start()
    server = threading.Thread(target=service.serve)
    room.create("it", "spin").start()
    server.start()
    with Client(home) as client:
        client.call("down")
    server.join()
    with pytest.raises(StateError, match="no fleet is up"):
        Client(home)


def test_it_ends_with_its_last_vm(room: Hypervisor, home: Path) -> None:
    service = Service(room, home).start()
    vm = room.create("it", "exit 0")
    server = threading.Thread(target=service.serve)
    server.start()
    vm.remove()
    server.join()
    assert service.closing


def test_virtual_time_passes_in_a_service(home: Path) -> None:
    with hypervisor(deterministic=True) as room, Service(room, home), Client(home) as client:
        room.create("it", "sleep 1000")
        client.call("start", vm="it")
        assert client.call("wait", vm="it") == 0
        room.create("other", "spin").start()
        client.call("pause", vm="other")
        assert client.call("stop", vm="other", grace=0) == 137


# Strangers


def talk(home: Path, data: bytes, answers: int = 1) -> list[dict[str, Any]]:
    """Send raw bytes; the first `answers` messages that come back, or fewer when the service hangs up."""
    with Place(home).connect() as connection:
        replies = []
        with contextlib.suppress(ProtocolError, OSError):  # it may hang up before it has read everything
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            for message in read_messages(connection):
                replies.append(message)
                if len(replies) == answers:
                    break
        return replies


PING = encode({"version": 1, "id": "p", "verb": "hello", "arguments": {}})


@pytest.mark.parametrize(
    "data",
    [
        b"\n", b"hello\n", b"{}\n", b"[]\n", b'{"version": 2, "id": 1, "verb": "ps"}\n', b'{"version": 1}\n',
        b'{"version": 1, "id": null, "verb": "ps"}\n', b'{"version": 1, "id": 1, "verb": 3}\n',
        b'{"version": 1, "id": 1, "verb": "ps", "arguments": []}\n', b'{"version": 1, "id": 1, "verb": "ps", "x": 1}\n',
        b'{"version": 1, "id": true, "verb": "ps"}\n', b"\xff\xfe\n", b'{"version": NaN}\n', b"[" * 100_000 + b"\n",
        b'{"version": 1, "id": 1, "verb": "set", "arguments": ' + b'{"a":' * 500 + b"1" + b"}" * 500 + b"}\n",
        b'{"version": 1', b"x" * (LONGEST + 2), b'{"version":1,"id":"' + b"y" * (2 * LONGEST) + b'"}\n', b"",
    ],
    ids=range(19),
)  # fmt: skip
def test_nonsense_ends_its_own_connection_only(client: Client, home: Path, data: bytes) -> None:
    replies = talk(home, data + (PING if data.endswith(b"\n") else b""), answers=2)
    assert len(replies) <= 1
    assert all(reply["ok"] is False for reply in replies)
    assert client.call("hello")


def test_messages_in_pieces_and_in_heaps(client: Client, home: Path) -> None:
    with Place(home).connect() as connection:
        for byte in PING:
            connection.sendall(bytes([byte]))
        connection.sendall(PING * 3)
        replies = read_messages(connection)
        assert [next(replies)["id"] for _ in range(4)] == ["p"] * 4


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_any_line_is_a_request_or_refused(line: bytes) -> None:
    try:
        request = parse_request(decode(line))
        assert request.verb
    except ProtocolError:
        pass


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None)
@given(
    verb=st.sampled_from([verb for verb in VERBS if verb not in ("down", "wait", "events", "logs")]),
    arguments=st.dictionaries(
        st.sampled_from(["vm", "force", "grace", "limits", "name", "data", "end"]),
        json_values | st.just("it"),
        max_size=4,
    ),
)
def test_any_arguments_are_served_or_refused_with_a_sentence(verb: str, arguments: dict[str, Any]) -> None:
    room = SHARED_ROOM
    with room.enter():
        if not room.vms:
            room.create("it", "spin")
    with Client(SHARED_HOME) as client:
        try:
            client.call(verb, **arguments)
        except SandboxError as error:
            assert "defect" not in str(error)


SHARED_ROOM = hypervisor()
SHARED_HOME = Path(f"/tmp/sandbox-test-{os.getpid()}")


@pytest.fixture(scope="module", autouse=True)
def shared() -> Iterator[None]:
    with Service(SHARED_ROOM, SHARED_HOME):
        yield
    SHARED_ROOM.close()
    for left in SHARED_HOME.iterdir():
        left.unlink()
    SHARED_HOME.rmdir()


def test_many_clients_at_once(room: Hypervisor, home: Path) -> None:
    room.create("it", "spin").start()
    failures: list[str] = []

    def use(number: int) -> None:
        try:
            with Client(home) as client:
                for step in range(20):
                    client.call("set", vm="it", limits={"weight": number + 1})
                    assert client.call("ps")[0]["name"] == "it"
                    if step % 5 == number % 5:
                        client.call("pause", vm="it")
                        client.call("resume", vm="it")
        except Exception as error:
            failures.append(f"{type(error).__name__}: {error}")

    with Service(room, home):
        threads = [threading.Thread(target=use, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []


def test_a_client_that_leaves_is_forgotten(room: Hypervisor, home: Path) -> None:
    vm = room.create("it", "cat").start()
    with Service(room, home) as service:
        leaving = Client(home)
        stream = leaving.logs("it", follow=True)
        vm.console.write(b"x")
        assert next(stream) == b"x"
        stream.close()  # type: ignore[attr-defined]
        leaving.close()
        with Client(home) as other:
            other.call("kill", vm="it")
        while service._clients:
            os.sched_yield()
        assert vm.console._listeners == []


# Places


def test_the_place_is_private(room: Hypervisor, home: Path) -> None:
    with Service(room, home) as service:
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
        assert stat.S_IMODE(service.place.socket.stat().st_mode) == 0o600
    assert not service.place.socket.exists()
    home.chmod(0o755)
    with pytest.raises(ConfigurationError, match="yours alone"):
        Service(room, home).start()
    with pytest.raises(ConfigurationError, match="yours alone"):
        Client(home)


def test_a_place_that_is_a_link_is_refused(room: Hypervisor, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(ConfigurationError, match="yours alone"):
        Service(room, tmp_path / "link").start()


def test_there_is_one_service_at_a_time(room: Hypervisor, home: Path) -> None:
    with Service(room, home), pytest.raises(StateError, match=f"process {os.getpid()}"):
        Service(room, home).start()
    with Service(room, home), Client(home) as client:
        assert client.call("hello")


def test_a_path_too_long_is_said(room: Hypervisor, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="SANDBOX_HOME"):
        Service(room, tmp_path / ("x" * 120)).start()


KILLED = """
import sys
from pathlib import Path
from tests.fake_machine import hypervisor
from sandbox.control import Service
room = hypervisor()
room.create("it", "spin").start()
Service(room, Path(sys.argv[1])).start()
print("up", flush=True)
sys.stdin.read()
"""


def test_nothing_stale_is_in_the_way_after_kill_9(room: Hypervisor, home: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parent.parent,
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == b"up\n"
        with pytest.raises(StateError, match=f"process {process.pid}"):
            Service(room, home).start()
        with Client(home) as client:
            assert client.call("ps")[0]["name"] == "it"
            process.send_signal(signal.SIGKILL)
            process.wait()
            with pytest.raises(StateError, match="gone"):
                client.call("ps")
    assert (home / "control.sock").exists()
    with pytest.raises(StateError, match="no fleet is up"):
        Client(home)
    with Service(room, home), Client(home) as client:
        assert client.call("ps") == []


DETACHED = """
import sys
from sandbox.control.detach import run_service
from sandbox.fleet import parse_fleet
from tests.fake_machine import FakeBuilder, Inventory
if sys.argv[2] == "bad":
    sys.exit("the fleet file is wrong")
fleet = parse_fleet("[vm.it]\\nprogram='cat'\\ncount=3\\n[vm.other]\\nprogram='exit 3'\\n")
run_service(fleet, sys.argv[1], builder=lambda monitor, exact: FakeBuilder(Inventory(), monitor))
"""


def test_a_detached_service(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parent.parent)
    command = [sys.executable, "-c", DETACHED, str(home)]
    with pytest.raises(ConfigurationError, match="the fleet file is wrong"):
        spawn([*command, "bad"], home)
    pid = spawn([*command, "good"], home)
    with pytest.raises(StateError, match="up already"):
        spawn([*command, "good"], home)
    with Client(home) as client:
        assert client.call("hello")["pid"] == pid
        assert client.call("wait", vm="other") == 3
        assert [row["name"] for row in client.call("ps")] == ["it-1", "it-2", "it-3", "other"]
        client.call("down")
    os.waitpid(pid, 0)
    assert not (home / "control.sock").exists()
    pid = spawn([*command, "good"], home)
    os.kill(pid, signal.SIGTERM)
    assert os.waitpid(pid, 0)[1] == 0
    assert not (home / "control.sock").exists()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "less than a second"),
        (1, "1 second"),
        (59.9, "59 seconds"),
        (60, "1 minute"),
        (7300, "2 hours"),
        (90000, "1 day"),
    ],
)
def test_spans(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_leaks_nothing(home: Path) -> None:
    stock = Inventory()
    threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with hypervisor(stock) as room, Service(room, home), Client(home) as client:
            room.create("it", "spin").start()
            assert json.dumps(client.call("inspect", vm="it"))
    assert threading.active_count() == threads
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert stock.engines == stock.machines == stock.grounds == 0

"""Fleet files: what they may say, what mistakes are told, and the order in which VMs start."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.control.verbs import status_text
from sandbox.errors import ConfigurationError, LoadError
from sandbox.fleet import launch, load_fleet, parse_fleet, unstarted
from sandbox.guests import guest
from tests.fake_machine import FakeBuilder, Inventory, hypervisor

EXAMPLE = """\
# a comment
[fleet]
cores = 2
memory = "1G"
deterministic = true

[vm.db]
program = ["./db", "--data", "/data"]
restart = "on-failure:3"
volumes = ["./data:/data", "/srv:/srv:ro"]
memory = "64M"

[vm.web]
program = "./web.s 8080"
count = 3
depends-on = ["db"]
max-tasks = 10
env = {PORT = "8080"}
cpus = 0.5
engine = "dedicated"
"""


def test_an_example(tmp_path: Path) -> None:
    path = tmp_path / "fleet.toml"
    path.write_text(EXAMPLE)
    fleet = load_fleet(path)
    assert fleet.options == {"cores": 2, "memory": "1G", "deterministic": True}
    configs = {member.config.name: member.config for member in fleet.members}
    assert list(configs) == ["db", "web-1", "web-2", "web-3"]
    db, web = configs["db"], configs["web-2"]
    assert db.program == (f"{tmp_path}/db".encode(), b"--data", b"/data")
    assert (db.restart.mode, db.restart.retries, db.memory) == ("on-failure", 3, 64 << 20)
    assert [volume.source for volume in db.volumes] == [f"{tmp_path}/data", "/srv"]
    assert web.program == (f"{tmp_path}/web.s".encode(), b"8080")
    assert (web.max_tasks, web.cpus, web.dedicated, web.environment) == (10, 0.5, True, ((b"PORT", b"8080"),))
    assert fleet.members[2].depends == {"db": "started"}


def test_guests_of_the_package_go_by_name() -> None:
    fleet = parse_fleet('[vm.a]\nprogram = "counter 3"\narch = "arm64"\n')
    assert fleet.members[0].config.program == (str(guest("counter", "arm64").path).encode(), b"3")


@pytest.mark.parametrize(
    ("text", "place", "sentence"),
    [
        ("", "f", "there is no VM in it"),
        ("[vm]\n", "f", "there is no VM in it"),
        ("[vm.a]\nprogram = 'x\n\n", "f:3: ", "Expected"),
        ("[vm.a]\nprogram = = 'x'\n", "f:2: ", "Invalid value"),
        ("[vms.a]\nprogram = 'x'\n", "f:1: vms", r"a file has \[fleet\]"),
        ("\n\n[vm.a]\nmemory = '64M'\n", "f:3: vm.a", "program is missing"),
        ("[vm.a]\nprogram = 'x'\n\nmemory = '64 apples'\n", "f:4: vm.a.memory", "written like 64M"),
        ("[vm.a]\nprogram = 'x'\nmemmory = '64M'\n", "f:3: vm.a.memmory", "do you mean 'memory'"),
        ("[vm.a]\nprogram = 'x'\nmax-tasks = 0\n", "f:3: vm.a.max-tasks", "whole number"),
        ("[vm.a]\nprogram = 'x'\nweight = 1.5\n", "f:3: vm.a.weight", "whole number"),
        ("[vm.a]\nprogram = 'x'\ncount = 0\n", "f:3: vm.a.count", "number from 1"),
        ("[vm.a]\nprogram = 'x'\nenv = {A = 1}\n", "f:3: vm.a.env", "text"),
        ("[vm]\na = {program = 'x', weight = -1}\n", "f:2: vm.a.weight", "whole number"),
        ("[vm]\na.program = 'x'\na.weight = -1\n", "f:3: vm.a.weight", "whole number"),
        ("[vm]\na = 3\n", "f:2: vm.a", "table"),
        ("vm = 3\n", "f:1: vm", "table"),
        ("[vm.a]\nprogram = 'x'\ndepends-on = ['b']\n", "f:3: vm.a.depends-on", "no VM named 'b'"),
        ("[vm.a]\nprogram = 'x'\ndepends-on = {b = 'tired'}\n", "f:3: vm.a.depends-on", "condition"),
        ("[vm.a]\nprogram = 'x'\ndepends-on = 3\n", "f:3: vm.a.depends-on", "list of names"),
        (
            "[vm.a]\nprogram='x'\ndepends-on=['b']\n[vm.b]\nprogram='x'\ndepends-on=['a']\n",
            "depends-on",
            "circle",
        ),
        ("[vm.a]\nprogram = 'x'\ncount = 1\n[vm.a-1]\nprogram = 'x'\n", "f:4: vm.a-1", "two VMs named a-1"),
        ("[fleet]\nkores = 2\n[vm.a]\nprogram = 'x'\n", "f:2: fleet.kores", "do you mean 'cores'"),
        ("[fleet]\nmemory = 'much'\n[vm.a]\nprogram = 'x'\n", "f:2: fleet.memory", "written like"),
        ("[vm.'not ok']\nprogram = 'x'\n", "f:1: vm.not ok", "name is up to 63"),
        ("[vm.a]\nprogram = '''\nweight = 3\n'''\nweight = 0\n", "f:5: vm.a.weight", "whole number"),
        ("[vm.a]\nprogram = []\n", "f:1: vm.a", "program is missing"),
        ("[vm.a]\nprogram = 'x \"'\n", "f:2: vm.a.program", "quotation"),
    ],
)
def test_mistakes_name_file_line_and_key(text: str, place: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence) as caught:
        parse_fleet(text, "f")
    assert place in str(caught.value)
    assert str(caught.value).startswith("f:")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no such file"):
        load_fleet(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="UTF-8"):
        load_fleet(tmp_path / "binary.toml")
    (tmp_path / "large.toml").write_bytes(b"#" * (2 << 20))
    with pytest.raises(ConfigurationError, match="larger"):
        load_fleet(tmp_path / "large.toml")
    with pytest.raises(ConfigurationError):
        parse_fleet("a=" + "[" * 100_000)


@given(st.text(max_size=200))
def test_any_text_is_a_fleet_or_a_sentence(text: str) -> None:
    try:
        parse_fleet(text, "f")
    except ConfigurationError as error:
        assert str(error).startswith("f:")


ORDER = """\
[vm.last]
program = "exit 0"
depends-on = {first = "finished", middle = "started"}
[vm.middle]
program = "sleep 1"
depends-on = ["first"]
[vm.first]
program = "sleep 0.5"
[vm.failed]
program = "exit 1"
[vm.never]
program = "exit 0"
depends-on = {failed = "finished"}
"""


@pytest.mark.parametrize("deterministic", [False, True])
def test_vms_start_when_what_they_depend_on_is_ready(deterministic: bool) -> None:
    fleet = parse_fleet(ORDER)
    stock = Inventory()
    with hypervisor(stock, deterministic=deterministic) as room:
        vms = {vm.name: vm for vm in launch(fleet, room)}
        assert room.run(60)
        happened = [(event.vm, event.kind) for event in room.events() if event.kind in ("started", "stopped")]
        assert happened.index(("first", "started")) < happened.index(("middle", "started"))
        assert happened.index(("first", "stopped")) < happened.index(("last", "started"))
        assert vms["never"].state == "created"
        assert [vms[name].state for name in ("first", "middle", "last")] == ["stopped"] * 3


def test_nothing_is_left_of_a_fleet_that_cannot_be_made() -> None:
    stock = Inventory()
    with hypervisor(stock) as room:
        with pytest.raises(LoadError):
            launch(parse_fleet("[vm.a]\nprogram='spin'\ncount=5\n[vm.b]\nprogram='unloadable'\n"), room)
        assert room.vms == () and stock.grounds == 0


def test_the_file_sets_the_hypervisor() -> None:
    fleet = parse_fleet('[fleet]\ncores=2\ndeterministic=true\nseed="x"\npolicy="round-robin"\n[vm.a]\nprogram="x"\n')
    with fleet.hypervisor(builder=lambda monitor, exact: FakeBuilder(Inventory(), monitor), cores=1) as room:
        assert (room.cores, room.deterministic, room.seed) == (1, True, "x")
        assert room.scheduler_picture().policy == "round-robin"


def test_a_dependent_that_cannot_be_started_says_why(tmp_path: Path) -> None:
    """In the list of VMs and for who waits for the fleet; what depends on it waits in vain."""
    text = f"""[vm.first]
program = "echo"
[vm.second]
program = "hello"
depends-on = {{first = "finished"}}
volumes = ["{tmp_path.name}-nosuch:/d"]
[vm.third]
program = "hello"
depends-on = ["second"]
"""
    fleet = parse_fleet(text, "fleet", tmp_path)
    with fleet.hypervisor() as room:
        vms = {vm.name: vm for vm in launch(fleet, room)}
        assert room.wait_until(lambda: vms["second"].reason is not None, 60_000_000_000)
        assert (vms["second"].reason or "").startswith("it cannot be started: there is no volume named")
        assert [status_text(vms[name], vms[name].stats) for name in ("second", "third")] == ["Not started", "Created"]
        assert unstarted(fleet, room) == {"third": "it waited for second to be started"}

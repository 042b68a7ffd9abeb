"""The shape of the package, proved: imports point down, every foreign package has one door, files stay small.

`LAYERS` is the order of design from top to bottom. A module may import its own layer and those below, nothing above;
imports for type checkers alone (`if TYPE_CHECKING:`) are free, since they do not exist at run time. A new top-level
module fails here until it has been given its place.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

import sandbox

ROOT = Path(__file__).parent.parent
LAYERS = (
    "__main__ cli",
    "dashboard",
    "control",
    "fleet",
    "hypervisor",
    "scheduler",
    "snapshot",
    "vm",
    "board",
    "kernel",
    "loader",
    "vfs",
    "devices",
    "memory",
    "engine",
    "guests",
    "assembler disassembler",
    "events",
    "machine",
    "wait",
    "clock",
    "abi",
    "quantity",
    "errors",
    "callbacks",
)
HEIGHT = {name: -depth for depth, names in enumerate(LAYERS) for name in names.split()}
FACADE = 1  # sandbox/__init__.py stands above all: it imports anything, and nothing imports it

DOORS = {
    "unicorn": ("sandbox.engine",),
    "keystone": ("sandbox.assembler",),
    "capstone": ("sandbox.disassembler",),
    "rich": ("sandbox.dashboard",),
    "elftools": (),  # tests compare with it; hostile files are read by sandbox.loader.elf
}
FORBIDDEN = {"pickle": "nothing read back may execute", "marshal": "as pickle", "shelve": "as pickle"}
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "base", "core", "misc"}
LONGEST = 450
# The host's clock has one door, below which time is an argument. The twin bounds its own turns by it, as the
# accelerator does; no guest can see that.
CLOCK_DOORS = {"sandbox.clock", "sandbox.engine.gate", "sandbox.engine.twin", "sandbox.engine.twin_mmu"}
CLOCK_READERS = {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns"}

FILES = sorted(path for path in (ROOT / "sandbox").rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def runtime_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those below `if TYPE_CHECKING:`."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for alternative in child.orelse:
                yield alternative
                yield from runtime_nodes(alternative)
            continue
        yield child
        yield from runtime_nodes(child)


def imported(module: str, is_package: bool, source: str) -> list[tuple[int, str]]:
    """(line, absolute name) of everything that `module` imports at run time."""
    found = []
    for node in runtime_nodes(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            if node.level:
                parents = module.split(".")
                drop = node.level - 1 if is_package else node.level
                kept = parents[: len(parents) - drop]
                origin = ".".join([*kept, *([origin] if origin else [])])
            found += [(node.lineno, f"{origin}.{alias.name}") for alias in node.names]
    return found


def height(module: str) -> int | None:
    parts = module.split(".")
    return HEIGHT.get(parts[1]) if len(parts) > 1 else FACADE


def complaints(module: str, is_package: bool, source: str) -> list[str]:
    found = []
    own = height(module)
    if own is None:
        return [f"{module}: give it a place in LAYERS"]
    for line, name in imported(module, is_package, source):
        top = name.split(".")[0]
        where = f"{module}:{line}"
        if top == "sandbox":
            other = height(name)
            if other is None:  # a name of the facade, not a module
                other = FACADE
            if other > own:
                found.append(f"{where}: imports {name}, which stands above it")
        if name.endswith(".*"):
            found.append(f"{where}: import *")
        doors = DOORS.get(top)
        if doors is not None and not any(module == door or module.startswith(door + ".") for door in doors):
            found.append(f"{where}: {top} has one door: {' or '.join(doors)}")
        if top in FORBIDDEN:
            found.append(f"{where}: {top}: {FORBIDDEN[top]}")
    if own < HEIGHT["hypervisor"] and module not in CLOCK_DOORS:
        readers = {f"time.{reader}" for reader in CLOCK_READERS}
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in readers:
                found.append(f"{module}:{node.lineno}: reads the host's clock; time is an argument here")
    return found


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_module(path: Path) -> None:
    source = path.read_text()
    assert complaints(module_name(path), path.name == "__init__.py", source) == []
    assert not VAGUE_NAMES & set(path.relative_to(ROOT).with_suffix("").parts), "a name that says nothing"
    tree = ast.parse(source)
    assert not source.strip() or ast.get_docstring(tree), "the first paragraph says what the file is"
    length = source.count("\n")
    assert length <= LONGEST, f"{length} lines: two concepts may be living here"


PLANTED = {
    "upward": ("sandbox.memory.space", "from sandbox.kernel import task", "stands above"),
    "upward, plain": ("sandbox.memory.space", "import sandbox.kernel.task", "stands above"),
    "upward, relative": ("sandbox.memory.space", "from ..vfs import node", "stands above"),
    "upward, in a function": ("sandbox.abi.flags", "def f():\n    from sandbox import engine", "stands above"),
    "upward, beside a guard": (
        "sandbox.abi.flags",
        "if TYPE_CHECKING:\n    pass\nelse:\n    import sandbox.vm",
        "stands above",
    ),
    "the facade": ("sandbox.kernel.task", "from sandbox import run", "stands above"),
    "second door": ("sandbox.kernel.task", "from unicorn import Uc", "one door"),
    "second door, deep": ("sandbox.cli.run", "import rich.table", "one door"),
    "pickle": ("sandbox.snapshot", "import pickle", "execute"),
    "star": ("sandbox.vm", "from sandbox.errors import *", "import *"),
    "clock": ("sandbox.kernel.task", "import time\nnow = time.monotonic()", "clock"),
    "no place": ("sandbox.novelty", "", "LAYERS"),
}


@pytest.mark.parametrize(("module", "source", "expected"), PLANTED.values(), ids=PLANTED)
def test_planted_fault_is_found(module: str, source: str, expected: str) -> None:
    assert any(expected in complaint for complaint in complaints(module, False, source))


ALLOWED = {
    "downward": ("sandbox.kernel.task", "from sandbox.memory import AddressSpace\nimport sandbox.errors"),
    "sideways": ("sandbox.kernel.task", "from .signals import Signals"),
    "for type checkers": ("sandbox.abi.flags", "if TYPE_CHECKING:\n    from sandbox.vm import VirtualMachine"),
    "its own door": ("sandbox.engine.isa.arm", "import unicorn.arm_const"),
}


@pytest.mark.parametrize(("module", "source"), ALLOWED.values(), ids=ALLOWED)
def test_allowed(module: str, source: str) -> None:
    assert complaints(module, False, source) == []


def test_public_names_are_documented() -> None:
    assert sandbox.__doc__, "the docstring of the package is its map"
    for name in sandbox.__all__:
        thing = getattr(sandbox, name)
        if inspect.isclass(thing) or inspect.isroutine(thing):
            own = vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__
            assert own and not own.startswith(f"{name}("), f"{name} has no docstring"  # nor one that dataclass wrote


def test_public_names_are_all_there_is() -> None:
    """Nothing leaks: a name without an underscore in the package is public, a submodule, or what loads the others."""
    submodules = {path.stem for path in (ROOT / "sandbox").iterdir()}
    loading = {"annotations", "Any", "TYPE_CHECKING", "import_module"}
    assert {name for name in dir(sandbox) if not name.startswith("_")} - submodules - loading == set(sandbox.__all__)

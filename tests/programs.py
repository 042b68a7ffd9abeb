"""Small guest programs for tests of the engine, written once for all machines, and a bench to run them on.

A program is text in the portable instructions of `_FORMS`, on registers named by role (`counter`, `pointer` ...). A
machine is an ISA, or "thumb" for arm's other instruction set. All programs of a machine are assembled together, once,
and are position independent. `Bench` is the least that can run them: a pool, an address space, an engine, a context.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from types import TracebackType

import pytest

from sandbox.assembler import keystone_process
from sandbox.assembler.source import parse
from sandbox.engine import ISAS, Context, Engine, Isa, Stop, StopReason, accelerator
from sandbox.memory import Account, AddressSpace, FramePool
from tests import riscv_assembler

MACHINES = ("x86_64", "i386", "arm64", "arm", "thumb", "riscv64")
KINDS = ("native", "python")
CODE, DATA, STACK = 0x10000, 0x20000, 0x80000  # where Bench puts them; the stack ends at STACK
READ, WRITE, EXECUTE = 1, 2, 4
MOST_FAULTS = 1000  # a run that resolves more does not get on

_ROLES = ("counter", "pointer", "value", "other", "target", "step")
_REGISTERS = {
    "x86_64": ("rbx", "r12", "r13", "r14", "r15", "rbp"),
    "i386": ("ebx", "esi", "edx", "ebp", "edi", "ecx"),
    "arm64": ("x19", "x20", "x21", "x22", "x23", "x24"),
    "arm": ("r4", "r5", "r6", "r8", "r9", "r10"),
    "thumb": ("r4", "r5", "r6", "r8", "r9", "r10"),
    "riscv64": ("s2", "s3", "s4", "s5", "s6", "s7"),
}
_BYTE = {"rbx": "bl", "r13": "r13b", "r14": "r14b", "edx": "dl", "ebx": "bl"}

_X86 = {
    "set": "mov {0}, {1}",
    "copy": "mov {0}, {1}",
    "add": "add {0}, {1}",
    "sub": "sub {0}, {1}",
    "addr": "add {0}, {1}",
    "load": "mov {0}, [{1} + {2}]",
    "store": "mov [{1} + {2}], {0}",
    "loadb": "movzx {0}, byte ptr [{1} + {2}]",
    "storeb": "mov byte ptr [{1} + {2}], {0b}",
    "vload": "movdqu xmm1, [{0} + {1}]",
    "vstore": "movdqu [{0} + {1}], xmm1",
    "nonzero": "test {0}, {0}; jnz {1}",
    "differ": "cmp {0}, {1}; jne {2}",
    "jump": "jmp {0}",
    "call": "call {0}",
    "ret": "ret",
    "illegal": "ud2",
    "breakpoint": "int3",
    "halt": "hlt",
    "nothing": "nop",
}
_ARM = {
    "set": "movw {0}, #{1}",
    "copy": "mov {0}, {1}",
    "add": "add {0}, {0}, #{1}",
    "sub": "sub {0}, {0}, #{1}",
    "addr": "add {0}, {0}, {1}",
    "load": "ldr {0}, [{1}, #{2}]",
    "store": "str {0}, [{1}, #{2}]",
    "loadb": "ldrb {0}, [{1}, #{2}]",
    "storeb": "strb {0}, [{1}, #{2}]",
    "vload": "vldr d1, [{0}, #{1}]",
    "vstore": "vstr d1, [{0}, #{1}]",
    "nonzero": "cmp {0}, #0; bne {1}",
    "differ": "cmp {0}, {1}; bne {2}",
    "jump": "b {0}",
    "call": "blx {0}",
    "ret": "bx lr",
    "syscall": "svc #0",
    "illegal": "udf #0",
    "breakpoint": "bkpt #0",
    "halt": "wfi",
    "nothing": "nop",
}
_FORMS: dict[str, dict[str, str]] = {
    "x86_64": _X86 | {"syscall": "syscall", "set": "mov {0}, {1}"},
    "i386": _X86 | {"syscall": "int 0x80"},
    "arm": _ARM,
    "thumb": _ARM | {"add": "add.w {0}, {0}, #{1}", "sub": "sub.w {0}, {0}, #{1}", "addr": "add.w {0}, {0}, {1}"},
    "arm64": {
        "set": "mov {0}, #{1}",
        "copy": "mov {0}, {1}",
        "add": "add {0}, {0}, #{1}",
        "sub": "sub {0}, {0}, #{1}",
        "addr": "add {0}, {0}, {1}",
        "load": "ldr {0}, [{1}, #{2}]",
        "store": "str {0}, [{1}, #{2}]",
        "loadb": "ldrb {0w}, [{1}, #{2}]",
        "storeb": "strb {0w}, [{1}, #{2}]",
        "vload": "ldr q1, [{0}, #{1}]",
        "vstore": "str q1, [{0}, #{1}]",
        "nonzero": "cbnz {0}, {1}",
        "differ": "cmp {0}, {1}; b.ne {2}",
        "jump": "b {0}",
        "call": "blr {0}",
        "ret": "ret",
        "syscall": "svc #0",
        "illegal": ".long 0",
        "breakpoint": "brk #0",
        "halt": "wfi",
        "nothing": "nop",
    },
    "riscv64": {
        "set": "addi {0}, zero, {1}",
        "copy": "addi {0}, {1}, 0",
        "add": "addi {0}, {0}, {1}",
        "sub": "addi {0}, {0}, -{1}",
        "addr": "add {0}, {0}, {1}",
        "load": "ld {0}, {2}({1})",
        "store": "sd {0}, {2}({1})",
        "loadb": "lbu {0}, {2}({1})",
        "storeb": "sb {0}, {2}({1})",
        "vload": "fld f1, {1}({0})",
        "vstore": "fsd f1, {1}({0})",
        "nonzero": "bne {0}, zero, {1}",
        "differ": "bne {0}, {1}, {2}",
        "jump": "j {0}",
        "call": "jalr ra, 0({0})",
        "ret": "jalr zero, 0(ra)",
        "syscall": "ecall",
        "illegal": ".word 0",
        "breakpoint": "ebreak",
        "halt": "wfi",
        "nothing": "nop",
    },
}

PROGRAMS = {
    # one syscall after `counter` rounds
    "count": """
        again:
        sub counter 1
        nonzero counter again
        syscall
        jump again""",
    # syscalls for ever; `counter` adds up their results
    "calls": """
        again:
        copy number other
        syscall
        addr counter result
        jump again""",
    # `counter` words, `step` bytes apart, are increased in memory; then a syscall
    "walk": """
        again:
        load value pointer 0
        add value 1
        store value pointer 0
        addr pointer step
        sub counter 1
        nonzero counter again
        syscall""",
    "load": "load value pointer 0\n nothing\n syscall",
    "store": "add other 1\n store value pointer 0\n add other 1\n syscall",
    "vload": "vload pointer 0\n syscall",
    "vstore": "vstore pointer 0\n syscall",
    "illegal": "nothing\n illegal\n nothing",
    "breakpoint": "nothing\n breakpoint\n nothing",
    "halt": "nothing\n halt\n nothing\n halt",
    "spin": "again:\n jump again",
    "straight": "add counter 1\n add counter 2\n add counter 3\n add counter 4\n syscall",
    # `value` in memory and `counter` + `other` in registers agree, whatever happens; `trouble` when they do not
    "invariant": """
        again:
        add counter 1
        store counter pointer 0
        sub other 1
        store other pointer 16
        load value pointer 0
        differ value counter trouble
        load value pointer 16
        differ value other trouble
        addr value counter
        differ value step trouble
        jump again
        trouble:
        illegal""",
    # two functions of one length, told apart by what they leave in `value`
    "one": "set value 1\n ret",
    "two": "set value 2\n ret",
    # copies `counter` bytes from `pointer` to `target`, then a syscall
    "copy": """
        again:
        loadb value pointer 0
        storeb value target 0
        add pointer 1
        add target 1
        sub counter 1
        nonzero counter again
        syscall""",
    # calls `target`, then a syscall, for ever
    "visit": """
        again:
        call target
        syscall
        jump again""",
    # writes a function (`counter` bytes from `pointer`) at `other`, calls it, adds up its results in `step`
    "just_in_time": """
        copy target other
        again:
        loadb value pointer 0
        storeb value other 0
        add pointer 1
        add other 1
        sub counter 1
        nonzero counter again
        call target
        addr step value
        syscall""",
    # code that counts in a word of its own page, `counter` rounds
    "beside": """
        again:
        load value pointer 0
        add value 1
        store value pointer 0
        call target
        sub counter 1
        nonzero counter again
        syscall
        jump again""",
    "return": "ret",
    "nothing": "nothing",
}


def isa_of(machine: str) -> Isa:
    return ISAS["arm" if machine == "thumb" else machine]


def register(machine: str, role: str) -> str:
    """The register behind a role; "number" and "result" are those of a syscall."""
    if role == "number":
        return isa_of(machine).syscall_number
    if role == "result":
        return isa_of(machine).syscall_result
    return _REGISTERS[machine][_ROLES.index(role)]


def _translate(machine: str, program: str, text: str) -> str:
    lines = []
    for line in text.splitlines():
        words = line.split()
        if not words:
            continue
        if words[0].endswith(":"):
            lines.append(f"{program}_{words[0]}")
            continue
        operands = []
        for word in words[1:]:
            if word in _ROLES or word in ("number", "result"):
                operands.append(register(machine, word))
            elif word.isidentifier():
                operands.append(f"{program}_{word}")
            else:
                operands.append(word)
        form = _FORMS[machine][words[0]].replace("{0b}", _BYTE.get(operands[0] if operands else "", ""))
        form = form.replace("{0w}", f"w{operands[0][1:]}" if operands else "")
        lines += [part.strip() for part in form.format(*operands).split(";")]
    return "\n".join(lines)


def encode(machine: str, text: str) -> tuple[bytes, dict[str, int]]:
    """Assembly text of the machine to bytes, and the offsets of its labels."""
    if machine == "riscv64":
        return riscv_assembler.assemble(text)
    header = f"# arch: {isa_of(machine).name}\n"
    if machine == "thumb":
        header += "# mode: thumb\n"
    done = keystone_process.assemble(parse(f"{header}{text}\n", machine))
    return done.text, {name: value - done.text_address for name, value in done.symbols.items()}


@functools.cache
def _assembled(machine: str) -> dict[str, bytes]:
    text = "".join(f"{name}:\n{_translate(machine, name, text)}\n" for name, text in PROGRAMS.items())
    encoded, labels = encode(machine, text)
    borders = [*(labels[name] for name in PROGRAMS), len(encoded)]
    return {name: encoded[start:end] for name, start, end in zip(PROGRAMS, borders, borders[1:], strict=False)}


def assembled(machine: str, program: str) -> bytes:
    """A program in the portable instructions, given as text."""
    return encode(machine, _translate(machine, "program", program))[0]


def code(machine: str, program: str) -> bytes:
    return _assembled(machine)[program]


class Bench:
    """Runs programs of one machine. `pool`, `space` and `engine` are made when they are not given; what was made
    here is closed here."""

    def __init__(
        self,
        machine: str,
        *,
        exact: bool = True,
        pool: FramePool | None = None,
        space: AddressSpace | None = None,
        engine: Engine | None = None,
        memory: int = 8 << 20,
    ) -> None:
        self.machine = machine
        self.isa = isa_of(machine)
        self.pool = pool or FramePool(16 << 20)
        self._own_pool = pool is None
        self._own_engine = engine is None
        self._own_space = space is None
        self.account: Account | None = None
        if space is None:
            self.account = self.pool.account(memory)
            space = AddressSpace(self.pool, self.account, self.isa.bits)
            space.map(CODE, 0x4000, READ | EXECUTE, fixed=True, name=b"code")
            space.map(DATA, 0x20000, READ | WRITE, fixed=True, name=b"data")
            space.map(STACK - 0x4000, 0x4000, READ | WRITE, fixed=True, name=b"stack")
        self.space = space
        self.engine = engine or Engine(self.isa, self.pool, exact=exact)
        self.context = Context(self.isa)
        self.context.sp = STACK - 64
        self.faults: list[tuple[int, int]] = []  # those that `run` resolved: address, access

    def __enter__(self) -> Bench:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._own_engine:
            self.engine.close()
        self.context.release()
        if self._own_space:
            self.space.release()
        if self.account is not None:
            self.account.close()
        if self._own_pool:
            self.pool.close()

    def place(self, program: str, address: int = CODE) -> int:
        """Put a program's code somewhere; return the address to jump to."""
        self.space.write(address, code(self.machine, program))
        return self.entry(address)

    def entry(self, address: int) -> int:
        return address | (self.machine == "thumb")

    def start(self, program: str, address: int = CODE, **roles: int) -> None:
        """Place a program and point the PC at it, with registers set by role."""
        self.context.pc = self.place(program, address)
        self.set(**roles)

    def set(self, **roles: int) -> None:
        for role, value in roles.items():
            self.context[register(self.machine, role)] = value

    def get(self, role: str) -> int:
        return self.context[register(self.machine, role)]

    def run(self, budget: int = 1 << 30, resolve: bool = True) -> Stop:
        """Until the budget is used or a stop that is not a fault which the space can resolve. `work` is then that of
        all runs together."""
        work = 0
        for _ in range(MOST_FAULTS):
            stop = self.engine.run(self.context, self.space, max(0, budget - work))
            work += stop.work
            stop.work = work
            if stop.reason is not StopReason.FAULT or not resolve:
                return stop
            if not self.space.resolve(stop.address, stop.access):
                return stop
            self.faults.append((stop.address, stop.access))
        raise AssertionError(f"the same fault again and again: {stop}")

    def word(self, address: int) -> int:
        return int.from_bytes(self.space.read(address, self.isa.word_bytes), "little")

    def registers(self) -> dict[str, int]:
        return {name: self.context[name] for name in self.isa.registers}


@contextlib.contextmanager
def engines_of(kind: str) -> Iterator[None]:
    """The same within a `with`, for tests that use both kinds in turn."""
    with pytest.MonkeyPatch.context() as patch:
        choose_engine(patch, kind)
        yield


def choose_engine(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Let new engines and pools be of a kind; skips where the accelerator was not built."""
    monkeypatch.delenv("SANDBOX_ENGINE", raising=False)
    if kind == "native" and accelerator() is None:
        pytest.skip("the accelerator was not built")
    monkeypatch.setenv("SANDBOX_ENGINE", kind)

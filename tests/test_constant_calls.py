"""getpid and its like, answered by the engine: the same answers, the same counts, and nobody who watches misses one."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import pytest

import sandbox
from sandbox.abi.numbers import NUMBERS
from sandbox.kernel.lifecycle import end_process
from tests.syscall_worlds import GuestWorld, guest

# (call, arguments) -> result in `result`, or a check of a call's result ten times over, in the words of each ISA.
LANGUAGES = {
    "x86_64": {
        "check": "mov r12, 10; {0}_again: mov rax, {1}; syscall; cmp rax, {2}; jne bad; sub r12, 1; jnz {0}_again",
        "call": "mov rdi, {1}; mov rsi, 0; mov rdx, 0; mov r10, 0; mov rax, {0}; syscall",
        "child": "cmp rax, 0; je child",
    },
    "i386": {
        "check": "mov esi, 10; {0}_again: mov eax, {1}; int 0x80; cmp eax, {2}; jne bad; sub esi, 1; jnz {0}_again",
        "call": "mov ebx, {1}; mov ecx, 0; mov edx, 0; mov esi, 0; mov eax, {0}; int 0x80",
        "child": "cmp eax, 0; je child",
    },
    "arm64": {
        "check": "mov x19, #10; {0}_again: mov x8, #{1}; svc #0; mov x20, #{2}; cmp x0, x20; b.ne bad; "
        "sub x19, x19, #1; cbnz x19, {0}_again",
        "call": "mov x0, #{1}; mov x1, #0; mov x2, #0; mov x3, #0; mov x4, #0; mov x8, #{0}; svc #0",
        "child": "cbz x0, child",
    },
}


def program(isa: str) -> str:
    numbers = NUMBERS[isa]
    words = LANGUAGES[isa]
    wide = "32" if isa == "i386" else ""
    lines = [f"# arch: {isa}", "_start:"]
    labels = iter("abcdefgh")

    def check(name: str, value: int) -> None:
        lines.append(words["check"].format(next(labels), numbers[name], value))

    def call(name: str, argument: int = 0) -> None:
        lines.append(words["call"].format(numbers[name], argument))

    check("getpid", 1)
    check(f"getuid{wide}", 0)
    call(f"setuid{wide}", 77)
    check(f"getuid{wide}", 77)
    call("clone", 17)
    lines.append(words["child"])
    call("wait4", 2)
    check("getpid", 1)
    call("exit_group", 5)
    lines.append("child:")
    check("getpid", 2)
    check("getppid", 1)
    check("gettid", 2)
    call("exit_group", 0)
    lines.append("bad:")
    call("exit_group", 1)
    return "\n".join(lines).replace("; ", "\n") + "\n"


@pytest.mark.parametrize("deterministic", (False, True))
@pytest.mark.parametrize("isa", LANGUAGES)
def test_answers_and_counts_are_right(isa: str, deterministic: bool, tmp_path: Path) -> None:
    source = tmp_path / "program.s"
    source.write_text(program(isa))
    result = sandbox.run([str(source)], timeout=20, deterministic=deterministic)
    wide = "32" if isa == "i386" else ""
    assert result.returncode == 5
    counts = result.stats.syscalls
    assert {name: counts[name] for name in ("getpid", f"getuid{wide}", "getppid", "gettid", "clone")} == {
        "getpid": 30,
        f"getuid{wide}": 20,
        "getppid": 10,
        "gettid": 10,
        "clone": 1,
    }


def left_to_engine(world: GuestWorld) -> bool:
    return bool(world.task.context.words.constants_count)


def ask_often(world: GuestWorld) -> None:
    for _ in range(10):
        world.call("getpid")


def test_only_who_asks_often_gets_a_table() -> None:
    with guest("arm64") as world:
        world.call("getpid")
        assert not left_to_engine(world)
        ask_often(world)
        assert left_to_engine(world)


@pytest.mark.parametrize("call", ("setuid", "setgid"))
def test_new_ids_end_it(call: str) -> None:
    with guest("x86_64") as world:
        ask_often(world)
        world.call(call, 5)
        assert not left_to_engine(world)


def test_a_new_parent_ends_it() -> None:
    with guest("x86_64") as world:
        middle = world.other()
        world.task.process.children[middle.task.tgid] = middle.task.process
        child = middle.other()
        middle.task.process.children[child.task.tgid] = child.task.process
        ask_often(child)
        assert left_to_engine(child)
        end_process(middle.task.process, 0)
        assert not left_to_engine(child)
        assert child.call("getppid") == 1


@pytest.mark.parametrize("watch", ("trace", "observers", "deterministic"))
def test_who_watches_sees_every_call(watch: str) -> None:
    with guest("riscv64") as world:
        if watch == "trace":
            world.machine.trace = lambda line: None
        elif watch == "observers":
            world.machine.observers.add("getpid", lambda task, name, arguments: None)
        else:
            world.machine.deterministic = True
        ask_often(world)
        assert not left_to_engine(world)


# Clock 1 (monotonic) into 16 bytes at the address in the third register, which is stored to before: twenty times, then
# written out. {0} is the call, {1} its number, {2} write's, {3} exit's, {4} how far below the stack's page border.
ASK_THE_TIME = {
    "x86_64": "mov rbp, rsp; and rbp, -4096; sub rbp, {4}; mov qword ptr [rbp], 0; mov qword ptr [rbp + 8], 0; "
    "mov r12, 20; again: mov rdi, 1; mov rsi, rbp; mov rax, {1}; syscall; cmp rax, 0; jne bad; sub r12, 1; jnz again; "
    "mov rdi, 1; mov rsi, rbp; mov rdx, 16; mov rax, {2}; syscall; bad: mov rdi, rax; mov rax, {3}; syscall",
    "i386": "mov ebp, esp; and ebp, -4096; sub ebp, {4}; mov dword ptr [ebp], 0; mov dword ptr [ebp + 12], 0; "
    "mov esi, 20; again: mov ebx, 1; mov ecx, ebp; mov eax, {1}; int 0x80; cmp eax, 0; jne bad; sub esi, 1; jnz again; "
    "mov ebx, 1; mov ecx, ebp; mov edx, 16; mov eax, {2}; int 0x80; bad: mov ebx, eax; mov eax, {3}; int 0x80",
    "arm64": "mov x20, sp; and x20, x20, #0xfffffffffffff000; sub x20, x20, #{4}; stur xzr, [x20]; "
    "stur xzr, [x20, #8]; mov x19, #20; again: mov x0, #1; mov x1, x20; mov x8, #{1}; svc #0; cbnz x0, bad; "
    "sub x19, x19, #1; cbnz x19, again; mov x0, #1; mov x1, x20; mov x2, #16; mov x8, #{2}; svc #0; "
    "bad: mov x8, #{3}; svc #0",
}


@pytest.mark.parametrize("below", (64, 8), ids=("plain", "across two pages"))
@pytest.mark.parametrize(("isa", "call", "layout"), (
    ("x86_64", "clock_gettime", "<qq"), ("arm64", "clock_gettime", "<qq"), ("i386", "clock_gettime64", "<qq"),
    ("i386", "clock_gettime", "<ii"),
))  # fmt: skip
def test_the_time_is_told(isa: str, call: str, layout: str, below: int, tmp_path: Path) -> None:
    numbers = NUMBERS[isa]
    words = ASK_THE_TIME[isa].format(call, numbers[call], numbers["write"], numbers["exit_group"], below)
    source = tmp_path / "program.s"
    source.write_text(f"# arch: {isa}\n_start:\n" + words.replace("; ", "\n") + "\n")
    before = time.monotonic_ns()
    result = sandbox.run([str(source)], timeout=60)
    assert result.returncode == 16, "the bytes written"
    seconds, nanoseconds = struct.unpack_from(layout, result.stdout)
    assert before <= seconds * 1_000_000_000 + nanoseconds <= time.monotonic_ns()
    assert result.stats.syscalls[call] == 20


def test_who_is_alone_makes_way_for_nobody() -> None:
    with guest("x86_64") as w:
        number = NUMBERS["x86_64"]["sched_yield"]

        def known() -> bool:
            words = w.task.context.words
            return number < words.constants_count and bool(words.constants[number].valid)

        for _ in range(8):
            assert w.call("sched_yield") == 0
        assert known()
        assert w.call("clone", 17, 0, 0, 0, 0) > 0
        assert not known(), "there is a child to make way for"
        for _ in range(8):
            assert w.call("sched_yield") == 0
        assert not known()


def test_an_answer_leaves_registers_as_a_call_does(tmp_path: Path) -> None:
    """x86-64's syscall puts the return address into rcx and the flags into r11, whoever answers."""
    source = tmp_path / "program.s"
    lines = ["# arch: x86_64", "_start:", "mov r12, 20", "again: mov rcx, 0x1111", "mov r11, 0x2222", "mov rax, 39"]
    lines += ["syscall", "behind: lea rbx, [rip + behind]", "cmp rcx, rbx", "jne bad", "and r11, 2", "jz bad"]
    lines += ["sub r12, 1", "jnz again", "xor edi, edi", "jmp end", "bad: mov edi, 1", "end: mov eax, 231", "syscall"]
    source.write_text("\n".join(lines) + "\n")
    assert sandbox.run([str(source)], timeout=60).returncode == 0

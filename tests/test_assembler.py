"""Assembly sources: the form, both parts, labels across them, errors with their line; and back to text."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox import assembler
from sandbox.assembler import gnu
from sandbox.assembler.source import DIRECTIVES, header_fields, parse
from sandbox.disassembler import disassemble
from sandbox.engine import ISAS
from sandbox.errors import AssemblyError
from sandbox.loader import BytesSource, read_symbols
from sandbox.loader import parse as parse_elf
from sandbox.loader.elf import PROT_EXEC, PROT_READ, PROT_WRITE
from sandbox.loader.symbols import read_sections

KEYSTONE = [name for name in ISAS if name != "riscv64"]
needs_gnu = pytest.mark.skipif(not gnu.available(), reason="riscv64-linux-gnu-as is not installed")
ALL = [*KEYSTONE, pytest.param("riscv64", marks=needs_gnu)]


def part(data: bytes, index: int) -> bytes:
    segment = parse_elf(BytesSource(data)).segments[index]
    return data[segment.offset : segment.offset + segment.file_size].ljust(segment.memory_size, b"\0")


@pytest.mark.parametrize("arch", ALL)
def test_two_parts_and_labels_across(arch: str) -> None:
    word = ".quad" if ISAS[arch].bits == 64 else ".long"
    source = f"""
# arch: {arch}
# a comment on every ISA
first:  nop                     // a comment on every ISA
_start: nop
        {word} value            // forwards, into the other part
# data
value:  {word} first            // and back
        .byte 7
        .space 5000
"""
    data = assembler.assemble(source, "two.s")
    image = parse_elf(BytesSource(data))
    text, writable = image.segments
    assert (text.protection, writable.protection) == (PROT_READ | PROT_EXEC, PROT_READ | PROT_WRITE)
    assert text.address % 4096 == writable.address % 4096 == 0
    symbols = read_symbols(data)
    assert symbols.by_name.keys() == {"first", "_start", "value"}
    assert symbols.address("first") == text.address
    assert symbols.address("value") == writable.address
    assert image.entry == symbols.address("_start")
    form = "<Q" if ISAS[arch].bits == 64 else "<I"
    size = struct.calcsize(form)
    assert struct.unpack(form, part(data, 0)[-size:])[0] == writable.address
    assert struct.unpack_from(form, part(data, 1))[0] == text.address
    assert writable.memory_size == size + 1 + 5000
    assert writable.file_size == size + 1, "zeros at the end take no room in the file"


@pytest.mark.parametrize("arch", ALL)
def test_without_start_the_first_instruction_is_the_entry(arch: str) -> None:
    data = assembler.assemble("again: nop\nnop\n", "plain.s", arch)
    image = parse_elf(BytesSource(data))
    assert image.entry == image.segments[0].address
    assert len(image.segments) == 1
    assert all(section.offset + section.size <= len(data) for section in read_sections(data)), "objcopy insists"


def test_thumb_by_header() -> None:
    data = assembler.assemble("# arch: arm\n# mode: thumb\n_start: movs r0, #1\nsdiv r0, r0, r0\n", "t.s")
    image = parse_elf(BytesSource(data))
    assert image.entry == image.segments[0].address + 1
    assert part(data, 0) == bytes.fromhex("0120 90fbf0f0")


def test_address_by_header() -> None:
    data = assembler.assemble("# arch: arm64\n# address: 0x80000000\nnop\n", "a.s")
    assert parse_elf(BytesSource(data)).segments[0].address == 0x80000000


# (name, ISA, source, what the message must hold)
ERRORS: list[tuple[str, str | None, str, str]] = [
    ("no ISA", None, "nop", "e.s: which ISA is this for?"),
    ("unknown ISA", "z80", "nop", "e.s: there is no ISA 'z80'"),
    ("unknown ISA in the header", None, "# arch: pdp11\nnop", "e.s: there is no ISA 'pdp11'"),
    ("mode elsewhere", "arm64", "# mode: thumb\nnop", "e.s: the header's mode is 'thumb'"),
    ("bad address", "arm64", "# address: here\nnop", "e.s: the header's address is no number"),
    ("odd address", "arm64", "# address: 0x123\nnop", "e.s: the header's address 0x123 is not that of a page"),
    ("empty", "x86_64", "\n# nothing\n", "e.s: there is no instruction in it"),
    ("two data parts", "x86_64", "nop\n# data\n# data\n", "e.s:3: the data part has begun already"),
    ("data inside a block", "x86_64", ".rept 2\n# data\n.endr", "e.s:2: the data part begins inside a block"),
    ("open macro", "x86_64", "nop\n.macro m\nnop", "e.s:2: the block that begins here is never closed"),
    ("open condition", "x86_64", "nop\n.if 1\nnop", "e.s:2: the block that begins here is never closed"),
    ("unknown directive", "x86_64", "nop\n.bogus 1\n", "e.s:2: there is no directive '.bogus' here"),
    ("section inside a block", "arm", ".rept 2\n.bss\n.endr", "e.s:2: the bss part begins inside a block"),
    (
        "misspelt directive",
        "arm64",
        ".assciz 1\n",
        "e.s:1: there is no directive '.assciz' here: do you mean '.asciz'?",
    ),
    (
        "a section of one's own",
        "arm",
        "nop\n.section .mine\n",
        "e.s:2: there is no directive '.section' here: there are",
    ),
    ("a directive behind a label", "arm", "x: .section y\n", "e.s:1: there is no directive '.section' here"),
    ("a directive for linkers", "arm64", "nop\n.extern x\n", "e.s:2: there is no directive '.extern' here: a source"),
    ("a directive for debuggers", "arm64", ".cfi_startproc\n", "e.s:1: there is no directive '.cfi_startproc' here: l"),
    ("AT&T syntax by directive", "i386", ".att_syntax\n", "e.s:1: there is no directive '.att_syntax' here: x86 is in"),
    ("more than 64 bits", "x86_64", "mov rax, 0x10000000000000000", "e.s:1: 0x10000000000000000 does not fit 64 bits"),
    ("more data than 64 bits", "arm", ".quad 18446744073709551616", "e.s:1: 18446744073709551616 does not fit 64 bits"),
    ("8 bits", "x86_64", "nop; mov al, 300", "e.s:1: 300 does not fit the 8 bits of al: mov al, 300"),
    ("less than 8 bits", "i386", "cmp ah, -129", "e.s:1: -129 does not fit the 8 bits of ah"),
    ("16 bits", "x86_64", "x: add r9w, 0x10000", "e.s:1: 0x10000 does not fit the 16 bits of r9w"),
    ("32 bits", "x86_64", "mov eax, 0x100000000", "e.s:1: 0x100000000 does not fit the 32 bits of eax"),
    ("32 bits of a product", "x86_64", "imul eax, ebx, 0x100000000", "e.s:1: 0x100000000 does not fit the 32 bits"),
    ("8 bits in memory", "x86_64", "mov byte ptr [rsp], 256", "e.s:1: 256 does not fit the 8 bits of byte ptr [rsp]"),
    ("what push extends", "x86_64", "push 0x80000000", "e.s:1: 0x80000000 does not fit the 32 bits that push extends"),
    ("what enter takes", "x86_64", "enter 65536, 0", "e.s:1: 65536 does not fit 16 bits"),
    ("a displacement", "x86_64", "mov al, [rbx+0x80000000]", "e.s:1: 0x80000000 does not fit the 32 bits of a displ"),
    ("bad mnemonic", "x86_64", "nop\nnop\nfrob eax\nnop\n", "e.s:3: invalid mnemonic: frob eax"),
    ("bad operand", "arm64", "nop\nmov x0, 5x\nnop\n", "e.s:2: "),
    ("missing label", "i386", "nop\njmp there\nhere: nop\n", "e.s:2: cannot find a symbol: jmp there"),
    ("missing label in data", "i386", "nop\n# data\nx: .long 1\n.long y\n", "e.s:4: cannot find a symbol: .long y"),
    ("numeric label in a macro", "x86_64", ".macro m\n1: nop\n.endm\nm\n", "e.s:4: invalid label: m"),
    ("no such numeric label", "x86_64", "nop\n1: nop\njmp 2f\n", "e.s:3: "),
    ("label twice", "arm", "a: nop\nb: nop\na: nop\n", "e.s:3: the label 'a' stands in line 1 already"),
    ("what makes keystone exit", "arm", "nop\nx: nop\n.quad x\nnop\n", "e.s:3: invalid value for this fixup: .quad x"),
    ("AT&T syntax", "x86_64", "nop\nmov $60, %eax\n", "e.s:2: operands have no % and no $"),
    ("a number of AT&T's", "i386", "int $0x80\n", "e.s:1: operands have no % and no $"),
    ("a register of AT&T's", "x86_64", "x: push %rbp\n", "e.s:1: operands have no % and no $"),
    ("a number that is none", "arm64", "mov x0, $1\n", "e.s:1: operands have no % and no $"),
    ("a page", "arm64", "nop\nadrp x0, m\nm: nop\n", "e.s:2: keystone computes adrp wrongly"),
    ("in a macro", "x86_64", ".macro m a\nbad \\a\n.endm\nnop\nm 1\n", "e.s:5: invalid mnemonic: m 1"),
]


@pytest.mark.parametrize(("arch", "source", "message"), [row[1:] for row in ERRORS], ids=[row[0] for row in ERRORS])
def test_errors_name_the_line(arch: str | None, source: str, message: str) -> None:
    with pytest.raises(AssemblyError) as caught:
        assembler.assemble(source, "e.s", arch)
    assert str(caught.value).startswith(message)


# What to look at stands at the end: (ISA, source, the whole message behind "e.s:1: ").
HINTS: list[tuple[str, str, str]] = [
    ("x86_64", "nop ; why", "invalid mnemonic: nop ; why (a comment begins with //)"),
    ("arm64", "mov x0, 5 # why", "it is not understood: mov x0, 5 # why (a comment begins with //)"),
    ("arm64", "mov w0, x1", "the operands do not fit: mov w0, x1 (are all registers x, or all w?)"),
    (
        "arm64",
        "add x0, x1, #5000",
        "the operands do not fit: add x0, x1, #5000 "
        "(does the number fit? ldr x0, =NUMBER loads any; are all registers x, or w?)",
    ),
    ("arm", "mov r0, #70000", "invalid operand: mov r0, #70000 (does the number fit? ldr r0, =NUMBER loads any)"),
    ("arm64", "frob x0, 5", "invalid mnemonic: frob x0, 5"),
    ("x86_64", "global _start", "invalid mnemonic: global _start (that is NASM's: here .global NAME, .text, .data)"),
    (
        "x86_64",
        "x: db 'hi'",
        "invalid operand: x: db 'hi' (that is NASM's: here .ascii \"TEXT\", .byte N, .quad N, .space N)",
    ),
    (
        "x86_64",
        "lea rsi, [rel x]",
        "invalid operand: lea rsi, [rel x] (an address is loaded with lea rsi, [rip + LABEL])",
    ),
    ("i386", "inc [esp]", "invalid operand: inc [esp] (how wide is it? dword ptr [...], byte ptr, ...)"),
    (
        "arm64",
        "b 1b",
        "invalid operand: b 1b (labels that are numbers work outside of macros, once defined)",
    ),
]


@pytest.mark.parametrize(("arch", "source", "message"), HINTS)
def test_errors_say_what_to_look_at(arch: str, source: str, message: str) -> None:
    with pytest.raises(AssemblyError) as caught:
        assembler.assemble(source, "e.s", arch)
    assert str(caught.value) == f"e.s:1: {message}"


def test_numbers_that_fit_are_left_alone() -> None:
    source = """mov al, 255
mov al, -128
mov al, 1000-800
mov eax, 0xffffffff
mov rax, 0xffffffffffffffff
push 0x7fffffff
mov eax, [0x123456789]
mov byte ptr [rsp + 300], 255
# data
.double 123456789012345678901234.5
"""
    code = part(assembler.assemble(source, "fit.s", "x86_64"), 0)
    assert code[:6] == bytes.fromhex("b0ff b080 b0c8")


@pytest.mark.parametrize("arch", ALL)
def test_sections_as_gnu_as_has_them(arch: str) -> None:
    before = {"x86_64": ".intel_syntax noprefix", "i386": ".intel_syntax noprefix", "arm": ".syntax unified"}
    source = f"""
{before.get(arch, "")}
.globl _start
.type _start, %function
.data
value:  .byte 7
.section .rodata
fixed:  .ascii "fixed"
        .balign 4
.text
        nop
_start: nop
.bss
room:   .space 100
.size value, 1
.section .data.more, "aw"
        .byte 8
"""
    data = assembler.assemble(source, "sections.s", arch)
    symbols, (text, writable) = read_symbols(data), parse_elf(BytesSource(data)).segments
    assert symbols.by_name.keys() == {"_start", "value", "fixed", "room"}
    assert text.address < (symbols.address("_start") or 0) < (symbols.address("fixed") or 0) < writable.address
    assert symbols.address("value") == writable.address
    assert writable.address < (symbols.address("room") or 0) < writable.address + writable.memory_size
    assert b"fixed" in part(data, 0)
    assert parse_elf(BytesSource(data)).entry == symbols.address("_start")


@pytest.mark.parametrize(
    ("arch", "jump"),
    [("x86_64", "jmp"), ("i386", "jmp"), ("arm64", "b"), ("arm", "b"), pytest.param("riscv64", "j", marks=needs_gnu)],
)
def test_labels_that_are_numbers(arch: str, jump: str) -> None:
    source = """
1:      nop             // not 1b: a comment
x: 2:   {jump} {back}
        {jump} {forth}
# not 1f either
1:      {jump} {here}
        .ascii "1b 1f"
        .byte '1', 0b1
"""
    named = source.replace("1: ", "a: ", 1).replace("1: ", "b: ", 1).replace("2: ", "c: ")
    texts = (
        source.format(jump=jump, back="1b", forth="1f", here="1b"),
        named.format(jump=jump, back="a", forth="b", here="b"),
    )
    numbered, wanted = (part(assembler.assemble(text, "n.s", arch), 0) for text in texts)
    assert numbered == wanted


def test_signs_that_mean_something_else() -> None:
    source = "mov al, '$'\nmov ah, '%'\n# data\n.ascii \"$5 %d\"\n"
    data = assembler.assemble(source, "e.s", "x86_64")
    assert part(data, 0)[:4] == b"\xb0$\xb4%"
    assert part(data, 1)[:5] == b"$5 %d"


@needs_gnu
@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nop\n// a comment\nfrob a0\n", "e.s:3: unrecognized opcode `frob a0'"),
        ("_start: la a0, nowhere\n", "e.s: (.text+0x0): undefined reference to `nowhere'"),
    ],
)
def test_errors_of_gnu_as(source: str, message: str) -> None:
    with pytest.raises(AssemblyError) as caught:
        assembler.assemble(source, "e.s", "riscv64")
    assert str(caught.value) == message


def test_without_gnu_as_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(AssemblyError, match="apt install binutils-riscv64-linux-gnu"):
        assembler.assemble("nop\n", "e.s", "riscv64")


def test_the_elf_beside_a_riscv64_source_serves_while_it_is_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    path = tmp_path / "kept.s"
    text = "# arch: riscv64\nnop\n"
    path.write_text(text)
    kept = b"\x7fELF what was built" + gnu.digest_mark(text)
    path.with_suffix(".elf").write_bytes(kept)
    assert assembler.assemble_file(path) == kept
    path.write_text(text + "nop\n")
    with pytest.raises(AssemblyError, match="not installed"):
        assembler.assemble_file(path)
    with pytest.raises(AssemblyError, match="cannot be read"):
        assembler.assemble_file(tmp_path / "none.s")


# What a directive puts out before the byte 0xaa; "" for those that only declare. keystone ignores what it does not
# know, so each one that is allowed is proved to work.
OUTPUTS = {
    "byte": ("1", "01"),
    "short": ("1", "0100"),
    "2byte": ("1", "0100"),
    "hword": ("1", "0100"),
    "long": ("1", "01000000"),
    "int": ("1", "01000000"),
    "4byte": ("1", "01000000"),
    "quad": ("1", "0100000000000000"),
    "8byte": ("1", "0100000000000000"),
    "xword": ("1", "0100000000000000"),
    "single": ("1.0", "0000803f"),
    "float": ("1.0", "0000803f"),
    "double": ("1.0", "000000000000f03f"),
    "ascii": ('"a//b#c;\\n"', "612f2f6223633b0a"),
    "asciz": ('"a"', "6100"),
    "string": ('"a"', "6100"),
    "space": ("2", "0000"),
    "skip": ("2", "0000"),
    "zero": ("2", "0000"),
    "fill": ("2, 2, 7", "07000700"),
    "equ": ("x, 1\n.byte x", "01"),
    "set": ("x, 1\n.byte x", "01"),
    "equiv": ("x, 1\n.byte x", "01"),
    "macro": ("m a, b=2\n.byte \\a, \\b\n.endm\nm 1\nm 1, 3", "01020103"),
    "rept": ("3\n.byte 1\n.endr", "010101"),
    "irp": ("x, 1, 2\n.byte \\x\n.endr", "0102"),
    "irpc": ("x, 12\n.byte \\x\n.endr", "0102"),
    "if": ("1\n.byte 1\n.else\n.byte 2\n.endif", "01"),
    "ifdef": ("nothing\n.byte 1\n.endif\n.ifndef nothing\n.byte 2\n.endif", "02"),
}


@pytest.mark.parametrize("arch", KEYSTONE)
def test_directives_do_what_they_say(arch: str) -> None:
    elsewhere = {"hword", "xword"} if ISAS[arch].bits != 64 or arch == "x86_64" else set()
    if arch == "arm":
        elsewhere = {"xword"}
    names = [name for name in OUTPUTS if name not in elsewhere]
    for name in names:
        operands, expected = OUTPUTS[name]
        data = assembler.assemble(f".{name} {operands}\n.byte 0xaa\n", f"{name}.s", arch)
        assert part(data, 0).hex() == expected + "aa", name
    for name in elsewhere:
        with pytest.raises(AssemblyError):
            assembler.assemble(f".{name} 1\n", f"{name}.s", arch)


def test_every_directive_with_output_is_in_the_table() -> None:
    silent = """word align balign p2align endm endmacro exitm purgem endr ifeq ifne ifge ifgt ifle iflt ifb ifnb ifc
        ifnc ifndef ifnotdef else elseif endif arm thumb code thumb_func ltorg pool"""
    assert set(silent.split()) | OUTPUTS.keys() == DIRECTIVES


HEADERS: list[tuple[str, list[tuple[str, str]]]] = [
    ("", []),
    ("nop\n# arch: arm\n", []),
    ("# arch: arm\n\n# purpose: none\nnop", [("arch", "arm"), ("purpose", "none")]),
    ("# purpose: one\n#     two\n# arch: arm\n", [("purpose", "one two"), ("arch", "arm")]),
    ("# Just prose: with a colon\n# key: value\n", [("key", "value")]),
    ("#arch:arm", [("arch", "arm")]),
]


@pytest.mark.parametrize(("text", "fields"), HEADERS)
def test_header_fields(text: str, fields: list[tuple[str, str]]) -> None:
    assert header_fields(text) == fields


def test_labels_are_found_where_they_count() -> None:
    source = parse("a: b: nop\n .c: nop\n.macro m\nd: nop\n.endm\n x::\n# data\ne: .byte 1 // f: no\n", "l", "x86_64")
    assert source.labels == ["a", "b", ".c", "e"]


# ---- the disassembler

# (ISA, code, thumb, first line)
CODE: list[tuple[str, str, bool, str]] = [
    ("x86_64", "4889d8", False, "mov rax, rbx"),
    ("i386", "89d8", False, "mov eax, ebx"),
    ("arm64", "e00301aa", False, "mov x0, x1"),
    ("arm", "0100a0e1", False, "mov r0, r1"),
    ("arm", "0846", True, "mov r0, r1"),
    ("riscv64", "13850500", False, "mv a0, a1"),
    ("riscv64", "2e85", False, "c.mv a0, a1"),
]


@pytest.mark.parametrize(("isa", "code", "thumb", "expected"), CODE)
def test_disassembly(isa: str, code: str, thumb: bool, expected: str) -> None:
    raw = bytes.fromhex(code)
    (instruction,) = disassemble(isa, raw, 0x1000, thumb=thumb)
    assert (instruction.address, instruction.code, instruction.text) == (0x1000, raw, expected)
    assert str(instruction) == f"    1000:  {code:<16}  {expected}"


@pytest.mark.parametrize("isa", list(ISAS))
def test_any_bytes_are_listed_to_the_end(isa: str) -> None:
    code = bytes(range(256)) * 4
    assert b"".join(instruction.code for instruction in disassemble(isa, code, 0)) == code
    assert len(list(disassemble(isa, code, 0, count=3))) == 3


def test_targets_are_named() -> None:
    names: Callable[[int], str | None] = {0x1010: "there"}.get
    (instruction,) = disassemble("x86_64", bytes.fromhex("eb0e"), 0x1000, names=names)
    assert instruction.target == "there"
    assert str(instruction).endswith("jmp 0x1010  <there>")


@pytest.mark.parametrize("arch", KEYSTONE)
def test_there_and_back(arch: str) -> None:
    """What capstone prints for a program, keystone assembles to the same bytes."""
    sources = {
        "x86_64": "mov rax, rbx\nadd eax, 5\nlea rsi, [rdi + 4*rcx + 8]\nret",
        "i386": "mov eax, ebx\nadd eax, 5\nlea esi, [edi + 4*ecx + 8]\nret",
        "arm64": "mov x0, x1\nadd w0, w1, #5\nldr x2, [x3, #8]\nret",
        "arm": "mov r0, r1\nadd r0, r1, #5\nldr r2, [r3, #8]\nbx lr",
    }
    code = part(assembler.assemble(sources[arch], "there.s", arch), 0)
    text = "\n".join(instruction.text for instruction in disassemble(arch, code))
    assert part(assembler.assemble(text, "back.s", arch), 0) == code

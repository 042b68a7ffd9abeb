"""The page with the code that a handler returns to when the C library brings none of its own (Linux keeps it in the
vDSO, on arm in the signal page). The instructions are exactly Linux's: unwinders recognise a signal frame by them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.kernel import descriptors
from sandbox.loader import BytesSource

if TYPE_CHECKING:
    from sandbox.memory import AddressSpace

_READ_EXECUTE = 5
_ADDRESSES = {
    "x86_64": 0x7FFFFFFFF000,
    "arm64": 0x7FFFFFFFF000,
    "riscv64": 0x7FFFFFFFF000,
    "arm": 0xFFFF1000,
    "i386": descriptors.CODE_PAGE,  # no page of its own: the top of the address space is full
}
_START = 0x800  # unwinders look at the bytes before the address
_OLD = 0x840
_NOP = {"arm64": bytes.fromhex("1f2003d5"), "riscv64": bytes.fromhex("13000000"), "arm": bytes.fromhex("00f020e3")}
_CODE = {
    "x86_64": bytes.fromhex("48c7c00f000000 0f05"),  # mov rax, 15; syscall
    "arm64": bytes.fromhex("681180d2 010000d4"),  # mov x8, #139; svc #0
    "riscv64": bytes.fromhex("9308b008 73000000"),  # li a7, 139; ecall
    "arm": bytes.fromhex("ad70a0e3 ad0090ef"),  # mov r7, #173; svc 0x9000ad
    "i386": bytes.fromhex("b8ad000000 cd80"),  # mov eax, 173; int 0x80
}
_OLD_CODE = {
    "arm": bytes.fromhex("7770a0e3 770090ef"),  # mov r7, #119; svc 0x900077
    "i386": bytes.fromhex("58 b877000000 cd80"),  # pop eax; mov eax, 119; int 0x80
}


def _page(isa: str) -> BytesSource:
    code = bytearray(4096)
    filler = _NOP.get(isa, b"\x90")
    code[:_START] = filler * (_START // len(filler))
    code[_START : _START + len(_CODE[isa])] = _CODE[isa]
    old = _OLD_CODE.get(isa, b"")
    code[_OLD : _OLD + len(old)] = old
    return BytesSource(bytes(code))


_PAGES = {isa: _page(isa) for isa in _ADDRESSES}


def address(isa: str, real_time: bool = True) -> int:
    return _ADDRESSES[isa] + (_START if real_time else _OLD)


def install(space: AddressSpace, isa: str) -> None:
    """Map the page into a new address space; VMs share its frame."""
    if isa == "i386":
        space.write(_ADDRESSES[isa] + _START, bytes(_PAGES[isa].load(0))[_START : _START + 0x80])
        return
    space.map(
        _ADDRESSES[isa],
        4096,
        _READ_EXECUTE,
        fixed=True,
        replace=False,
        kernel=True,
        source=_PAGES[isa],
        name=b"[sigpage]" if isa == "arm" else b"[vdso]",
    )

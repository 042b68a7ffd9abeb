"""Putting a checked ELF image into an address space: the `load_elf_binary` half that maps.

Segments are mapped from the file's `PageSource` as private mappings, so that a page that nobody writes is one
frame for all VMs that run the program. What a segment has beyond its file bytes is zero: the rest of its
last file page is cleared (a private copy, made only where the file is not zero there already), further
pages are demand-zero.
"""

from __future__ import annotations

from sandbox.abi.errno import EFAULT, EINVAL, ENOMEM, Errno
from sandbox.loader.elf import PAGE, PROT_WRITE, BadProgram, ElfImage, Segment, read_range
from sandbox.loader.layout import Layout
from sandbox.memory import AddressSpace, PageSource
from sandbox.memory.faults import page_ceiling

_LOWEST = 0x10000  # vm.mmap_min_addr


def choose_bias(space: AddressSpace, image: ElfImage, layout: Layout, *, below_top: bool) -> int:
    """What to add to the image's addresses. `below_top`: among the mappings (interpreters, static-pie
    programs), else at the place for programs. The place is checked by `place`."""
    if not image.relocatable:
        return 0
    base = layout.pie_base
    if below_top:
        length = page_ceiling(image.high) - image.low + image.alignment - PAGE
        _check_range(0, length, layout)
        base = space.map(0, length, 0)
        space.unmap(base, length)
    return (base - image.low + image.alignment - 1) & -image.alignment


def place(space: AddressSpace, image: ElfImage, bias: int, layout: Layout, source: PageSource, name: bytes) -> None:
    _check_range(image.low + bias, image.high + bias, layout)
    try:
        for segment in image.segments:
            _place_segment(space, segment, segment.address + bias, source, name)
    except BadProgram:
        raise
    except Errno as error:  # EFAULT comes from a copy that found no frame
        number = ENOMEM if error.number == EFAULT else error.number
        raise BadProgram(number, "does not fit into the memory of the virtual machine") from error


def _check_range(start: int, end: int, layout: Layout) -> None:
    if start and start < _LOWEST:
        raise BadProgram(EINVAL, "wants to stand at the null page or near it")
    if start < 0 or end > layout.user_end or end < start:
        raise BadProgram(ENOMEM, f"wants memory up to {end:#x}, and the address space ends at {layout.user_end:#x}")


def _place_segment(space: AddressSpace, segment: Segment, address: int, source: PageSource, name: bytes) -> None:
    start = address & -PAGE
    if start < _LOWEST:
        raise BadProgram(EINVAL, "wants to stand at the null page or near it")
    file_end = address + segment.file_size
    memory_end = address + segment.memory_size
    mapped_end = start
    if segment.file_size:
        mapped_end = page_ceiling(file_end)
        offset = segment.offset - (address - start)
        space.map(start, mapped_end - start, segment.protection, fixed=True, source=source, offset=offset, name=name)
        if memory_end > file_end and segment.protection & PROT_WRITE:
            _clear(space, segment, file_end, mapped_end, source)
    if page_ceiling(memory_end) > mapped_end:
        space.map(mapped_end, page_ceiling(memory_end) - mapped_end, segment.protection, fixed=True)


def _clear(space: AddressSpace, segment: Segment, start: int, page_end: int, source: PageSource) -> None:
    """Zero the rest of the last file page, to its end as Linux does, unless the file is zero there."""
    tail = read_range(source, segment.offset + segment.file_size, page_end - start)
    if any(tail):
        space.copy_out(start, bytes(page_end - start))

"""Memory: frames (RAM), page tables and regions (MMU), the page cache and reclaim.

frames.py    the pool of 4 KiB frames and the accounts of the VMs
table.py     page tables, read by the accelerator
region.py    regions (VMAs) as a sorted list
space.py     AddressSpace: mmap and relatives, fork
faults.py    what a fault does: demand zero, file pages, copy on write, stack growth
access.py    copy_in, copy_out, copy_string: the only paths to guest bytes
source.py    what a file must offer to be mapped;  paged.py  files held in frames
cache.py     the page cache, first to be reclaimed
"""

from sandbox.engine.layout import PAGE_SIZE
from sandbox.memory.cache import PageCache
from sandbox.memory.faults import page_ceiling
from sandbox.memory.frames import Account, FramePool
from sandbox.memory.paged import PagedFile
from sandbox.memory.region import Region
from sandbox.memory.source import PageSource
from sandbox.memory.space import PROT_EXEC, PROT_NONE, PROT_READ, PROT_WRITE, AddressSpace

__all__ = [
    "PAGE_SIZE",
    "PROT_EXEC",
    "PROT_NONE",
    "PROT_READ",
    "PROT_WRITE",
    "Account",
    "AddressSpace",
    "FramePool",
    "PageCache",
    "PageSource",
    "PagedFile",
    "Region",
    "page_ceiling",
]

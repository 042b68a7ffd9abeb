"""The structures that the engine, the memory manager and the accelerator share, as ctypes.

Field for field the same as in `_engine.c`; `native.py` compares the sizes when it loads it. The Python
twin uses the very same structures, so that memory built by one is read by the other.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, c_int64, c_uint8, c_uint32, c_uint64, c_void_p

PAGE_SIZE = 4096
LEAF_ENTRIES = 512

# Page table entry: flags, and the frame number from bit 12 on. READ, WRITE, EXECUTE are PROT_* << 1.
PRESENT, READ, WRITE, EXECUTE, COPY, ZERO, CLEAN, ACCESSED, SHARED, DEVICE = (1 << n for n in range(10))
FLAGS = 0xFFF

# Frame state: what TLBs and translation caches may hold of a frame.
IDLE, WRITABLE, EXECUTABLE, MIXED = range(4)
FLIPS_UNTIL_MIXED = 4

# Reasons of a stop, as the accelerator reports them.
STOP_NONE, STOP_SYSCALL, STOP_FAULT, STOP_BUDGET, STOP_TRAP, STOP_HALT, STOP_BREAKPOINT, STOP_ERROR = range(8)
STOP_FLIP, STOP_GUARD = 8, 9  # only within a run
KILLER_OVERRUN, KILLER_AVX, INTERRUPTED, KILLER_LOCKED = 0x1001, 0x1002, 0x1003, 0x1004  # errors that are ours
MOST_EXITS, MOST_EXITS_OF_PAGE, EDGE = 1024, 64, 15  # addresses, addresses, bytes
MOST_BREAKS = 256
SELF_MODIFICATION = 4096  # code bytes that it is charged for on x86
MOST_OVERDRAWN = 1 << 24
FEWEST_TLB_ENTRIES, MOST_TLB_ENTRIES = 256, 1 << 18
CHUNK = 1 << 16  # code bytes between looks at the clock, when the budget is time
UNDEFINED_OPCODE = 6  # x86's exception
SYSCALL_LENGTH = 2  # of x86-64's instruction
ILLEGAL_VECTOR = 0xFFFF  # Unicorn said "invalid instruction" instead of raising an interrupt
NO_RESUME = (1 << 64) - 1


class AccountWords(Structure):
    _fields_ = [("used", c_int64), ("peak", c_int64), ("limit", c_int64), ("reserved", c_int64)]


class PoolWords(Structure):
    _fields_ = [
        ("memory", c_void_p),
        ("frames", c_uint64),
        ("references", POINTER(c_uint32)),
        ("generation", POINTER(c_uint32)),
        ("owner", POINTER(c_uint32)),
        ("state", POINTER(c_uint8)),
        ("flip_count", POINTER(c_uint8)),
        ("zeroed", POINTER(c_uint32)),
        ("dirty", POINTER(c_uint32)),
        ("zeroed_count", c_uint64),
        ("dirty_count", c_uint64),
        ("next", c_uint64),
        ("accounts", POINTER(AccountWords)),
        ("used", c_int64),
        ("peak", c_int64),
        ("code_epoch", c_uint64),
        ("lock", c_int64),
    ]


class TableWords(Structure):
    _fields_ = [
        ("identity", c_uint64),
        ("epoch", c_uint64),
        ("mask", c_uint64),
        ("multiplier", c_uint64),
        ("slots", POINTER(c_uint64)),
        ("account", c_uint64),
        ("end", c_uint64),
        ("work", c_uint64),
        ("engine", c_uint64),
    ]


# What a call that the engine answers gets: a constant, or a time (on the host's clock) in one of four layouts.
CONSTANT, TIMESPEC_64, TIMESPEC_32, TIMEVAL_64, TIMEVAL_32 = 1, 2, 3, 4, 5


class ConstantWords(Structure):
    _fields_ = [("valid", c_uint64), ("value", c_uint64), ("count", c_uint64)]


class ContextWords(Structure):
    _fields_ = [
        ("saved", c_void_p),
        ("engine", c_void_p),
        ("has_result", c_uint64),
        ("result", c_uint64),
        ("resume", c_uint64),
        ("constants", POINTER(ConstantWords)),
        ("constants_count", c_uint64),
    ]


FUNCTIONS = (
    "emu_start",
    "emu_stop",
    "reg_read",
    "reg_write",
    "reg_read_batch",
    "context_save",
    "context_restore",
    "ctl",
)


class FunctionWords(Structure):
    _fields_ = [(name, c_void_p) for name in FUNCTIONS]


REPORT_WORDS = 16  # the first words of EngineWords, read by Python after each run
(
    REASON,
    NUMBER,
    ARGUMENT_0,
    ADDRESS,
    ACCESS,
    OUT_OF_MEMORY,
    VECTOR,
    ERROR,
    WORK,
    PC,
    FLIPS,
) = (0, 1, 2, 8, 9, 10, 11, 12, 13, 14, 15)


class EngineWords(Structure):
    _fields_ = [
        ("report", c_uint64 * REPORT_WORDS),
        ("uc", c_void_p),
        ("call", POINTER(FunctionWords)),
        ("pool", POINTER(PoolWords)),
        ("seen", POINTER(c_uint32)),
        ("table", c_void_p),
        ("live", c_void_p),
        ("left", c_int64),
        ("skip", c_uint64),
        ("exact", c_uint64),
        ("preemptible", c_uint64),
        ("privileged", c_uint64),
        ("thumb", c_uint64),
        ("sysret", c_uint64),
        ("loaded_identity", c_uint64),
        ("loaded_epoch", c_uint64),
        ("loaded_code_epoch", c_uint64),
        ("fills", c_uint64),
        ("fills_since_flush", c_uint64),
        ("flushes", c_uint64),
        ("tlb_entries", c_uint64),
        ("scratch", c_uint64),
        ("scratch_on", c_uint64),
        ("flip_frame", c_uint64),
        ("flip_need", c_uint64),
        ("flip_shared", c_uint64),
        ("flip_whole", c_uint64),
        ("syscall_vector", c_int64),
        ("number_register", c_int64),
        ("result_register", c_int64),
        ("pc_register", c_int64),
        ("flags_register", c_int64),
        ("argument_registers", c_int64 * 6),
        ("sysret_registers", c_int64 * 2),
        ("word_mask", c_uint64),
        ("deadline", c_int64),
        ("granted", c_int64),
        ("interrupted", c_uint64),
        ("faults_resolved", c_uint64),
        ("scratch_address", c_uint64),
        ("cpuid_registers", c_int64 * 4),
        ("cpuid", c_uint64 * 8),
        ("scan", c_uint64),
        ("killer_frame", c_uint64),
        ("counting", c_uint64),
        ("step_frame", c_uint64),
        ("guards", POINTER(c_uint8)),
        ("exits", POINTER(c_uint64)),
        ("exits_count", c_uint64),
        ("exits_lost", c_uint64),
        ("breaks", POINTER(c_uint64)),
        ("breaks_count", c_uint64),
        ("breaks_changed", c_uint64),
        ("bring", c_void_p),
    ]


STRUCTURES: tuple[type[Structure], ...] = (
    AccountWords,
    PoolWords,
    TableWords,
    ContextWords,
    EngineWords,
    FunctionWords,
    ConstantWords,
)


def sizes() -> list[int]:
    return [ctypes.sizeof(structure) for structure in STRUCTURES]

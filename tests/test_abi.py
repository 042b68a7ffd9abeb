"""The tables of `sandbox.abi` against the headers of the C libraries, where they are installed, and against known
facts where they are not."""

from __future__ import annotations

import errno
import shutil
import subprocess

import pytest

from sandbox.abi import errno as abi_errno
from sandbox.abi import flag_names, flags, ipc, signals, structs
from sandbox.abi.numbers import NAMES, NUMBERS
from sandbox.abi.signal_structs import pack_sigaction, pack_siginfo, pack_stack, unpack_sigaction, unpack_stack

COMPILERS = {
    "x86_64": "gcc",
    "i386": "i686-linux-gnu-gcc",
    "arm64": "aarch64-linux-gnu-gcc",
    "arm": "arm-linux-gnueabihf-gcc",
    "riscv64": "riscv64-linux-gnu-gcc",
}
KNOWN_NUMBERS = {
    "x86_64": {"read": 0, "exit_group": 231, "rseq": 334, "clone3": 435},
    "i386": {"exit": 1, "read": 3, "mmap2": 192, "futex": 240, "clock_gettime64": 403},
    "arm64": {"renameat": 38, "openat": 56, "read": 63, "clone": 220},
    "arm": {"read": 3, "pread64": 180, "openat": 322, "ARM_set_tls": 0xF0005},
    "riscv64": {"openat": 56, "riscv_flush_icache": 259, "clone3": 435},
}


@pytest.mark.parametrize("isa", NUMBERS)
def test_known_numbers(isa: str) -> None:
    for name, number in KNOWN_NUMBERS[isa].items():
        assert NUMBERS[isa][name] == number
        assert NAMES[isa][number] == name
    assert "renameat" not in NUMBERS["riscv64"]


@pytest.mark.parametrize("isa", NUMBERS)
def test_numbers_are_those_of_the_headers(isa: str) -> None:
    source = "#include <sys/syscall.h>\n" + "".join(
        f"#ifdef SYS_{name}\n@ {name} SYS_{name}\n#endif\n" for name in NUMBERS[isa]
    )
    found = {}
    for line in preprocess(isa, source):
        if line.startswith("@ "):
            _, name, *value = line.split()
            found[name] = eval("".join(value), {"__builtins__": {}})
    assert len(found) > 250
    assert {name: number for name, number in found.items() if NUMBERS[isa][name] != number} == {}


def preprocess(isa: str, source: str) -> list[str]:
    compiler = shutil.which(COMPILERS[isa])
    if compiler is None:
        pytest.skip(f"{COMPILERS[isa]} is not installed")
    result = subprocess.run([compiler, "-E", "-P", "-"], input=source, capture_output=True, text=True, check=True)
    return result.stdout.splitlines()


# What a C program of the ISA says about sizes and places: an expression and what it must be here.
def layouts(isa: str) -> dict[str, int]:
    bits = structs.BITS[isa]
    word = bits // 8
    stat = "struct stat" if bits == 64 else "struct stat64"
    expected = {
        f"sizeof({stat})": {"x86_64": 144, "i386": 96, "arm": 104}.get(isa, 128),
        f"__builtin_offsetof({stat}, st_size)": {"i386": 44}.get(isa, 48),
        f"__builtin_offsetof({stat}, st_mtim)": {"x86_64": 88, "i386": 72, "arm": 80}.get(isa, 88),
        "sizeof(struct statx)": 256,
        "sizeof(siginfo_t)": 128,
        "sizeof(stack_t)": 24 if bits == 64 else 12,
        "sizeof(struct utsname)": 390,
        "sizeof(struct sysinfo)": 112 if bits == 64 else 64,
        "sizeof(struct rusage)": 144 if bits == 64 else 72,
        "sizeof(struct statfs64)": 120 if bits == 64 else (88 if isa == "arm" else 84),
        "sizeof(struct epoll_event)": structs.EPOLL_EVENT[isa].size,
        "sizeof(struct pollfd)": structs.POLLFD.size,
        "sizeof(struct winsize)": structs.WINSIZE.size,
        "sizeof(struct iovec)": structs.IOVEC[word].size,
        "sizeof(struct flock64)": (structs.FLOCK[64] if bits == 64 else structs.FLOCK64_32[isa]).size,
        "__builtin_offsetof(siginfo_t, si_addr)": 16 if bits == 64 else 12,
        "__builtin_offsetof(siginfo_t, si_status)": 24 if bits == 64 else 20,
        "__builtin_offsetof(siginfo_t, si_value)": 24 if bits == 64 else 20,
        "O_DIRECTORY": flags.open_flags(isa, flags.O_DIRECTORY),
        "O_NOFOLLOW": flags.open_flags(isa, flags.O_NOFOLLOW),
        "O_DIRECT": flags.open_flags(isa, flags.O_DIRECT),
        "O_CLOEXEC": flags.O_CLOEXEC,
        "O_PATH": flags.O_PATH,
        "O_TMPFILE": flags.open_flags(isa, flags.O_TMPFILE),
        "O_SYNC": flags.O_SYNC,
        "O_APPEND": flags.O_APPEND,
        "SIGSTKFLT": signals.SIGSTKFLT,
        "SIGSYS": signals.SIGSYS,
        "SA_RESTART": signals.SA_RESTART,
        "MAP_NORESERVE": flags.MAP_NORESERVE,
        "MAP_STACK": flags.MAP_STACK,
        "MAP_GROWSDOWN": flags.MAP_GROWSDOWN,
        "RLIMIT_NOFILE": flags.RLIMIT_NOFILE,
        "RLIMIT_AS": flags.RLIMIT_AS,
        "sizeof(struct msqid_ds)": ipc.MSQID_DS[isa].size,
        "__builtin_offsetof(struct msqid_ds, msg_qbytes)": 68 if bits == 32 else 88,
        "sizeof(struct msginfo)": ipc.MSGINFO.size,
        "__builtin_offsetof(struct semid_ds, sem_nsems)": ipc.SEMID_DS[isa].size - 3 * word,
        "sizeof(struct sembuf)": ipc.SEMBUF.size,
        "sizeof(struct seminfo)": ipc.SEMINFO.size,
        "__builtin_offsetof(struct shmid_ds, shm_nattch)": ipc.SHMID_DS[isa].size - 3 * word,
        "sizeof(struct shminfo)": ipc.SHMINFO[bits].size,
        "sizeof(struct shm_info)": ipc.SHM_USAGE[bits].size,
        "ENOTSUP": abi_errno.EOPNOTSUPP,
        "EDEADLK": abi_errno.EDEADLK,
        "EOVERFLOW": abi_errno.EOVERFLOW,
    }
    return expected


_HEADERS = (
    "sys/stat.h signal.h sys/utsname.h sys/sysinfo.h sys/resource.h sys/vfs.h sys/epoll.h poll.h sys/ioctl.h sys/uio.h "
    "fcntl.h sys/mman.h errno.h sys/msg.h sys/sem.h sys/shm.h"
)


@pytest.mark.parametrize("isa", NUMBERS)
def test_layouts_are_those_of_the_compiler(isa: str) -> None:
    compiler = shutil.which(COMPILERS[isa])
    if compiler is None:
        pytest.skip(f"{COMPILERS[isa]} is not installed")
    source = "#define _GNU_SOURCE\n" + "".join(f"#include <{header}>\n" for header in _HEADERS.split())
    for expression, value in layouts(isa).items():
        source += f'_Static_assert(({expression}) == {value}, "{expression} is not {value}");\n'
    result = subprocess.run(
        [compiler, "-fsyntax-only", "-x", "c", "-"], input=source, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_errno_names_are_complete() -> None:
    for number in errno.errorcode:
        assert number in abi_errno.NAMES
    assert str(abi_errno.Errno(11)) == "EAGAIN"
    assert str(abi_errno.Errno(95)) == "EOPNOTSUPP"


@pytest.mark.parametrize("isa", NUMBERS)
def test_signal_structures_survive_the_way_there_and_back(isa: str) -> None:
    restorer = 0 if isa == "riscv64" else 0x1234
    action = (0x8000, 0x10000004, restorer, 0xFFFF_0000_0000_0001)
    assert unpack_sigaction(isa, pack_sigaction(isa, *action)) == action
    stack = (0x7000, 0x80000001, 0x4000)
    assert unpack_stack(isa, pack_stack(isa, *stack)) == stack
    assert len(pack_siginfo(isa, 11, 1, address=5)) == 128


class Record:
    dev = 0x801
    ino = 7
    mode = 0o100644
    nlink = 2
    uid = 70000
    gid = 5
    rdev = 0
    size = 1 << 33
    blksize = 4096
    blocks = 3
    atime = mtime = ctime = 5_000_000_006


def test_what_does_not_fit_overflows() -> None:
    with pytest.raises(abi_errno.Errno) as raised:
        structs.pack_stat("i386", Record())
    assert raised.value.number == abi_errno.EOVERFLOW
    assert len(structs.pack_stat64("i386", Record())) == 96


@pytest.mark.parametrize(("major", "minor"), [(8, 1), (259, 70000), (0, 22), (4095, 255), (5000, 1 << 20)])
def test_device_numbers(major: int, minor: int) -> None:
    device = structs.makedev(major, minor)
    assert (structs.major(device), structs.minor(device)) == (major, minor)


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("open", 0, "O_RDONLY"),
        ("open", 0o2000000 | 0o200000 | 1, "O_WRONLY|O_DIRECTORY|O_CLOEXEC"),
        ("open", 0o20200002, "O_RDWR|O_TMPFILE"),
        ("prot", 0, "PROT_NONE"),
        ("prot", 3, "PROT_READ|PROT_WRITE"),
        ("map", 0x22, "MAP_PRIVATE|MAP_ANONYMOUS"),
        ("access", 0, "F_OK"),
        ("grnd", 0x101, "GRND_NONBLOCK|0x100"),
        ("wait", 0, "0"),
    ],
)
def test_flag_words_read_as_in_strace(kind: str, value: int, text: str) -> None:
    assert flag_names.flag_text(kind, value) == text


def test_choices_read_as_in_strace() -> None:
    assert flag_names.choice_text("futex", 137) == "FUTEX_WAIT_BITSET_PRIVATE"
    assert flag_names.choice_text("whence", 1) == "SEEK_CUR"
    assert flag_names.choice_text("whence", 99) == "0x63"

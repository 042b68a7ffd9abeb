"""Names of flag words and enumerations, for traces: one vocabulary per argument kind `flags:X` or `choice:X`.

Derived from the constants in `sandbox.abi.flags`; a word that has no name is printed as a number.
"""

from __future__ import annotations

from sandbox.abi import flags

_CONSTANTS: dict[str, int] = {
    name: value for name, value in vars(flags).items() if name.isupper() and isinstance(value, int)
}


def _named(names: str) -> tuple[tuple[int, str], ...]:
    return tuple((_CONSTANTS[name], name) for name in names.split())


def _prefixed(prefix: str, *without: str) -> tuple[tuple[int, str], ...]:
    return tuple((value, name) for name, value in _CONSTANTS.items() if name.startswith(prefix) and name not in without)


# Composite values come first: O_SYNC contains O_DSYNC, O_TMPFILE contains O_DIRECTORY.
FLAGS: dict[str, tuple[tuple[int, str], ...]] = {
    "open": _named(
        "O_TMPFILE O_SYNC O_CREAT O_EXCL O_NOCTTY O_TRUNC O_APPEND O_NONBLOCK O_DSYNC O_ASYNC O_DIRECT "
        "O_LARGEFILE O_DIRECTORY O_NOFOLLOW O_NOATIME O_CLOEXEC O_PATH"
    ),
    "at": _named(
        "AT_SYMLINK_NOFOLLOW AT_SYMLINK_FOLLOW AT_NO_AUTOMOUNT AT_EMPTY_PATH AT_STATX_FORCE_SYNC AT_STATX_DONT_SYNC"
    ),
    "unlink": _named("AT_REMOVEDIR"),
    "access_at": _named("AT_EACCESS AT_SYMLINK_NOFOLLOW AT_EMPTY_PATH"),
    "access": _named("R_OK W_OK X_OK"),
    "rename": _prefixed("RENAME_"),
    "statx": _named("STATX_ALL STATX_BASIC_STATS STATX_BTIME STATX_MNT_ID"),
    "prot": _named("PROT_READ PROT_WRITE PROT_EXEC PROT_GROWSDOWN PROT_GROWSUP"),
    "map": _named(
        "MAP_SHARED_VALIDATE MAP_SHARED MAP_PRIVATE MAP_FIXED MAP_ANONYMOUS MAP_32BIT MAP_GROWSDOWN "
        "MAP_DENYWRITE MAP_EXECUTABLE MAP_LOCKED MAP_NORESERVE MAP_POPULATE MAP_NONBLOCK MAP_STACK "
        "MAP_HUGETLB MAP_SYNC MAP_FIXED_NOREPLACE"
    ),
    "mremap": _prefixed("MREMAP_"),
    "msync": _named("MS_ASYNC MS_INVALIDATE MS_SYNC"),
    "mount": _named("MS_RDONLY MS_NOSUID MS_NODEV MS_NOEXEC MS_REMOUNT MS_BIND MS_REC"),
    "mcl": _prefixed("MCL_"),
    "memfd": _prefixed("MFD_"),
    "grnd": _prefixed("GRND_"),
    "falloc": _prefixed("FALLOC_FL_"),
    "fdflags": _named("FD_CLOEXEC"),
    "lock": _prefixed("LOCK_"),
    "clone": _prefixed("CLONE_"),
    "wait": _named("WNOHANG WUNTRACED WCONTINUED WNOTHREAD WALL WCLONE"),
    "waitid": _named("WNOHANG WSTOPPED WEXITED WCONTINUED WNOWAIT WNOTHREAD WALL WCLONE"),
    "timer": _named("TIMER_ABSTIME"),
    "poll": _prefixed("POLL"),
    "epoll": _named("EPOLLET EPOLLONESHOT EPOLLWAKEUP EPOLLEXCLUSIVE POLLIN POLLPRI POLLOUT"),
    "close_range": _prefixed("CLOSE_RANGE_"),
}

CHOICES: dict[str, dict[int, str]] = {
    kind: dict(pairs)
    for kind, pairs in {
        "whence": _prefixed("SEEK_"),
        "fcntl": (*_prefixed("F_", "F_OK", "F_RDLCK", "F_WRLCK", "F_UNLCK"),),
        "madvise": _prefixed("MADV_"),
        "clock": _prefixed("CLOCK_"),
        "itimer": _prefixed("ITIMER_"),
        "resource": _prefixed("RLIMIT_"),
        "rusage": _prefixed("RUSAGE_"),
        "priority": _prefixed("PRIO_"),
        "policy": _prefixed("SCHED_", "SCHED_RESET_ON_FORK"),
        "prctl": _prefixed("PR_"),
        "arch_prctl": _prefixed("ARCH_"),
        "idtype": _prefixed("P_"),
        "ioctl": (
            *enumerate("TCGETS TCSETS TCSETSW TCSETSF TCGETA TCSETA TCSETAW TCSETAF TCSBRK TCXONC".split(), 0x5401),
            *enumerate("TCFLSH TIOCEXCL TIOCNXCL TIOCSCTTY TIOCGPGRP TIOCSPGRP TIOCOUTQ TIOCSTI".split(), 0x540B),
            *(
                (0x5413, "TIOCGWINSZ"),
                (0x5414, "TIOCSWINSZ"),
                (0x541B, "FIONREAD"),
                (0x5421, "FIONBIO"),
                (0x5422, "TIOCNOTTY"),
            ),
            *((0x5423, "TIOCSETD"), (0x5424, "TIOCGETD"), (0x5425, "TCSBRKP"), (0x5429, "TIOCGSID")),
            *((0x5441, "TIOCGPTPEER"), (0x5450, "FIONCLEX"), (0x5451, "FIOCLEX"), (0x5452, "FIOASYNC")),
            *((0x802C542A, "TCGETS2"), (0x402C542B, "TCSETS2"), (0x80045430, "TIOCGPTN"), (0x40045431, "TIOCSPTLCK")),
        ),
        "epoll_ctl": _prefixed("EPOLL_CTL_"),
        "sigmask_how": ((0, "SIG_BLOCK"), (1, "SIG_UNBLOCK"), (2, "SIG_SETMASK")),
        "futex": tuple(
            (operation | extra, name + suffix)
            for operation, name in _named(
                "FUTEX_WAIT FUTEX_WAKE FUTEX_FD FUTEX_REQUEUE FUTEX_CMP_REQUEUE FUTEX_WAKE_OP FUTEX_LOCK_PI "
                "FUTEX_UNLOCK_PI FUTEX_TRYLOCK_PI FUTEX_WAIT_BITSET FUTEX_WAKE_BITSET FUTEX_WAIT_REQUEUE_PI "
                "FUTEX_CMP_REQUEUE_PI FUTEX_LOCK_PI2"
            )
            for extra, suffix in (
                (0, ""),
                (128, "_PRIVATE"),
                (256, "|FUTEX_CLOCK_REALTIME"),
                (384, "_PRIVATE|FUTEX_CLOCK_REALTIME"),
            )
        ),
    }.items()
}


def flag_text(kind: str, value: int) -> str:
    """`O_WRONLY|O_CREAT`, in the way strace prints a flag word."""
    parts = []
    rest = value
    if kind == "open":
        parts.append(("O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE")[value & 3])
        rest &= ~3
    for bits, name in FLAGS[kind]:
        if bits and rest & bits == bits:
            parts.append(name)
            rest &= ~bits
    if rest:
        parts.append(hex(rest))
    if parts:
        return "|".join(parts)
    return {"prot": "PROT_NONE", "access": "F_OK"}.get(kind, "0")


def choice_text(kind: str, value: int) -> str:
    return CHOICES[kind].get(value, hex(value) if value > 9 else str(value))

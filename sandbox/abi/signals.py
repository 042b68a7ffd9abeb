"""Signal numbers (the same on all five ISAs), what each does by default, the si_code values and the action flags.

Source: signal(7), sigaction(2), `asm-generic/siginfo.h`.
"""

from __future__ import annotations

from enum import Enum

_ORDER = (
    "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU "
    "URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS"
)

(SIGHUP, SIGINT, SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGKILL, SIGUSR1, SIGSEGV, SIGUSR2, SIGPIPE,
 SIGALRM, SIGTERM, SIGSTKFLT, SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGXCPU, SIGXFSZ,
 SIGVTALRM, SIGPROF, SIGWINCH, SIGIO, SIGPWR, SIGSYS) = range(1, 32)  # fmt: skip
SIGRTMIN = 32  # the kernel's; libc keeps 32 to 34 for itself
NSIG = 64

NAMES: dict[int, str] = {number: f"SIG{name}" for number, name in enumerate(_ORDER.split(), 1)}
NAMES.update({number: f"SIGRT_{number - SIGRTMIN}" for number in range(SIGRTMIN, NSIG + 1)})


def signal_name(number: int) -> str:
    return NAMES.get(number, str(number))


def bit(number: int) -> int:
    """The place of a signal in a 64-bit mask."""
    return 1 << (number - 1)


class Default(Enum):
    """What happens to a process that did not say otherwise."""

    TERMINATE = "terminate"
    CORE = "core"  # terminates as well; no core file is written here
    IGNORE = "ignore"
    STOP = "stop"
    CONTINUE = "continue"


DEFAULTS: dict[int, Default] = dict.fromkeys(range(1, NSIG + 1), Default.TERMINATE)
DEFAULTS.update(
    dict.fromkeys((SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGXCPU, SIGXFSZ, SIGSYS), Default.CORE)
)
DEFAULTS.update(dict.fromkeys((SIGCHLD, SIGURG, SIGWINCH), Default.IGNORE))
DEFAULTS.update(dict.fromkeys((SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU), Default.STOP))
DEFAULTS[SIGCONT] = Default.CONTINUE

UNBLOCKABLE = bit(SIGKILL) | bit(SIGSTOP)
STOP_SIGNALS = bit(SIGSTOP) | bit(SIGTSTP) | bit(SIGTTIN) | bit(SIGTTOU)
# Raised by the instruction itself: delivered before anything else that is pending.
SYNCHRONOUS = bit(SIGSEGV) | bit(SIGBUS) | bit(SIGILL) | bit(SIGTRAP) | bit(SIGFPE) | bit(SIGSYS)

SIG_DFL, SIG_IGN = 0, 1
SIG_BLOCK, SIG_UNBLOCK, SIG_SETMASK = 0, 1, 2

SA_NOCLDSTOP = 0x1
SA_NOCLDWAIT = 0x2
SA_SIGINFO = 0x4
SA_RESTORER = 0x04000000
SA_ONSTACK = 0x08000000
SA_RESTART = 0x10000000
SA_NODEFER = 0x40000000
SA_RESETHAND = 0x80000000
SA_THIRTYTWO = 0x02000000  # arm only, ignored

SS_ONSTACK, SS_DISABLE, SS_AUTODISARM = 1, 2, 0x80000000

SI_USER, SI_KERNEL, SI_QUEUE, SI_TIMER, SI_MESGQ, SI_TKILL = 0, 0x80, -1, -2, -3, -6
ILL_ILLOPC, ILL_PRVOPC = 1, 5
FPE_INTDIV, FPE_INTOVF, FPE_FLTDIV, FPE_FLTINV = 1, 2, 3, 7
SEGV_MAPERR, SEGV_ACCERR = 1, 2
BUS_ADRALN, BUS_ADRERR = 1, 2
TRAP_BRKPT, TRAP_TRACE = 1, 2
CLD_EXITED, CLD_KILLED, CLD_DUMPED, CLD_TRAPPED, CLD_STOPPED, CLD_CONTINUED = range(1, 7)
POLL_IN, POLL_HUP = 1, 6

"""The machine as a whole, resource limits, scheduling."""

from __future__ import annotations

import struct

from sandbox.abi import flags as F
from sandbox.abi.errno import EFAULT, EINVAL, EMFILE, ENOSYS, EPERM, ESRCH
from sandbox.abi.structs import PAIR
from sandbox.kernel.lifecycle import end_process
from tests.syscall_cases import Cases, World
from tests.syscall_worlds import BAD, GuestWorld

CASES = Cases()
NUMBERS_OF_ARGUMENTS = 5  # of clone; with none of them it is fork
NOBODY = 1 << 22  # no such pid


# -- names -------------------------------------------------------------------------------------------------


def uname(w: World) -> list[bytes]:
    buffer = bytearray(6 * 65)
    assert w.call("uname", buffer) == 0
    return [bytes(buffer[65 * index : 65 * index + 65]).split(b"\0")[0] for index in range(6)]


@CASES("uname")
def the_name_of_the_system(w: World) -> None:
    assert uname(w)[0] == b"Linux"
    assert all(uname(w)[:5])
    assert w.call("uname", BAD) == -EFAULT


@CASES("uname", "sethostname", "setdomainname", host=False)
def names_can_be_changed(w: GuestWorld) -> None:
    machines = {"x86_64": b"x86_64", "i386": b"i686", "arm64": b"aarch64", "arm": b"armv7l", "riscv64": b"riscv64"}
    assert uname(w)[1] == b"sandbox"
    assert uname(w)[4] == machines[w.isa]
    assert w.call("sethostname", b"elsewhere", 4) == 0
    assert w.call("setdomainname", b"home", 4) == 0
    assert (uname(w)[1], uname(w)[5]) == (b"else", b"home")
    assert w.call("sethostname", b"x" * 65, 65) == -EINVAL
    assert w.call("sethostname", BAD, 4) == -EFAULT
    assert w.call("setdomainname", BAD, -1) == -EINVAL
    w.become(1, 1)
    assert w.call("sethostname", b"x", 1) == -EPERM
    assert w.call("setdomainname", b"x", 1) == -EPERM


@CASES("olduname", host=False, isas=("i386",))
def the_old_form_has_five_fields(w: GuestWorld) -> None:
    buffer = bytearray(b"\xff" * 6 * 65)
    assert w.call("olduname", buffer) == 0
    assert buffer.startswith(b"Linux\0")
    assert buffer[5 * 65] == 0xFF


@CASES("personality", host=False)
def personalities(w: GuestWorld) -> None:
    assert w.call("personality", 0xFFFFFFFF) == 0
    assert w.call("personality", 8) == 0
    assert w.call("personality", 0xFFFFFFFF) == 8
    assert w.call("personality", 0x4100001) == 8
    assert w.call("personality", 0) == 0x4100001


@CASES("sysinfo")
def figures_of_the_system(w: World) -> None:
    buffer = bytearray(112 if w.word == 8 else 64)
    assert w.call("sysinfo", buffer) == 0
    uptime, *_ = struct.unpack_from("<q" if w.word == 8 else "<i", buffer)
    total, free = struct.unpack_from("<QQ", buffer, 32) if w.word == 8 else struct.unpack_from("<II", buffer, 16)
    assert uptime >= 0
    assert 0 < free <= total
    assert struct.unpack_from("<H", buffer, 80 if w.word == 8 else 40)[0] >= 1
    assert struct.unpack_from("<I", buffer, 104 if w.word == 8 else 52)[0] >= 1
    assert w.call("sysinfo", BAD) == -EFAULT


@CASES("getrandom")
def random_bytes(w: World) -> None:
    first, second = bytearray(64), bytearray(64)
    assert w.call("getrandom", first, 64, 0) == 64
    assert w.call("getrandom", second, 64, F.GRND_NONBLOCK) == 64
    assert first != second and first != bytes(64)
    assert w.call("getrandom", None, 0, 0) == 0
    assert w.call("getrandom", BAD, 8, 0) == -EFAULT
    assert w.call("getrandom", first, 8, 0x80) == -EINVAL
    assert w.call("getrandom", first, 8, F.GRND_RANDOM | F.GRND_INSECURE) == -EINVAL


@CASES("getcpu")
def which_cpu(w: World) -> None:
    cpu, node = bytearray(b"\xff" * 4), bytearray(b"\xff" * 4)
    assert w.call("getcpu", cpu, node, None) == 0
    assert int.from_bytes(cpu, "little") < 4096
    assert int.from_bytes(node, "little") < 64
    assert w.call("getcpu", None, None, None) == 0
    assert w.call("getcpu", BAD, None, None) == -EFAULT


@CASES("syslog", host=False)
def the_log_is_empty(w: GuestWorld) -> None:
    assert w.call("syslog", 3, bytearray(16), 16) == 0
    assert w.call("syslog", 99, None, 0) == -EINVAL
    assert w.call("syslog", 3, None, 16) == -EINVAL
    assert w.call("syslog", 10, None, 0) > 0


@CASES("reboot", host=False)
def rebooting_ends_the_machine(w: GuestWorld) -> None:
    assert w.call("reboot", 1, 2, 0x4321FEDC, 0) == -EINVAL
    assert w.call("reboot", 0xFEE1DEAD, 672274793, 0, 0) == 0
    w.become(1, 1)
    assert w.call("reboot", 0xFEE1DEAD, 672274793, 0x4321FEDC, 0) == -EPERM


@CASES("unshare", "bpf", "swapon", "io_uring_setup", "userfaultfd", "add_key", "init_module", host=False)
def what_is_refused_on_purpose(w: GuestWorld) -> None:
    for name in ("unshare", "bpf", "swapon", "init_module"):
        assert w.call(name) == -EPERM
    for name in ("io_uring_setup", "userfaultfd", "add_key"):
        assert w.call(name) == -ENOSYS


# -- limits ------------------------------------------------------------------------------------------------


@CASES("prlimit64")
def limits(w: World) -> None:
    old = bytearray(16)
    assert w.call("prlimit64", 0, F.RLIMIT_NOFILE, None, old) == 0
    soft, hard = struct.unpack("<QQ", old)
    assert w.call("prlimit64", 0, F.RLIMIT_NOFILE, struct.pack("<QQ", 20, hard), old) == 0
    assert struct.unpack("<QQ", old) == (soft, hard)
    assert w.call("prlimit64", 0, F.RLIMIT_NOFILE, None, old) == 0
    assert struct.unpack("<QQ", old) == (20, hard)
    assert w.call("prlimit64", 0, F.RLIMIT_NOFILE, struct.pack("<QQ", 21, 20), None) == -EINVAL
    assert w.call("prlimit64", 0, 16, None, old) == -EINVAL
    assert w.call("prlimit64", NOBODY, F.RLIMIT_NOFILE, None, old) == -ESRCH
    assert w.call("prlimit64", 0, F.RLIMIT_NOFILE, BAD, None) == -EFAULT
    assert w.call("prlimit64", 0, F.RLIMIT_NOFILE, None, BAD) == -EFAULT
    opened = [w.open(b".") for _ in range(20)]
    assert opened[-1] == -EMFILE


@CASES("getrlimit", "setrlimit")
def word_sized_limits(w: World) -> None:
    read = "ugetrlimit" if w.has("ugetrlimit") else "getrlimit"
    pair = bytearray(2 * w.word)
    assert w.call("setrlimit", F.RLIMIT_CORE, w.words(4096, 8192)) == 0
    assert w.call("getrlimit", F.RLIMIT_CORE, pair) == 0
    assert bytes(pair) == w.words(4096, 8192)
    assert w.call(read, F.RLIMIT_AS, pair) == 0
    assert bytes(pair) == w.words(-1, -1)
    assert w.call("setrlimit", F.RLIMIT_CORE, w.words(2, 1)) == -EINVAL
    assert w.call("setrlimit", 16, w.words(1, 1)) == -EINVAL
    assert w.call("setrlimit", F.RLIMIT_CORE, BAD) == -EFAULT
    assert w.call("getrlimit", 16, pair) == -EINVAL
    assert w.call("getrlimit", F.RLIMIT_CORE, BAD) == -EFAULT


@CASES("getrlimit", "ugetrlimit", "setrlimit", host=False, isas=("i386",))
def two_infinities(w: GuestWorld) -> None:
    pair = bytearray(8)
    assert w.call("getrlimit", F.RLIMIT_AS, pair) == 0
    assert struct.unpack("<II", pair) == (0x7FFFFFFF, 0x7FFFFFFF)
    assert w.call("ugetrlimit", F.RLIMIT_AS, pair) == 0
    assert struct.unpack("<II", pair) == (0xFFFFFFFF, 0xFFFFFFFF)
    assert w.call("setrlimit", F.RLIMIT_AS, struct.pack("<II", 1 << 30, 0xFFFFFFFF)) == 0
    whole = bytearray(16)
    assert w.call("prlimit64", 0, F.RLIMIT_AS, None, whole) == 0
    assert struct.unpack("<QQ", whole) == (1 << 30, F.RLIM_INFINITY)


@CASES("ugetrlimit", host=False)
def limits_that_do_not_fit(w: GuestWorld) -> None:
    pair = bytearray(8)
    assert w.call("prlimit64", 0, F.RLIMIT_FSIZE, struct.pack("<QQ", 4096, 1 << 40), None) == 0
    assert w.call("ugetrlimit", F.RLIMIT_FSIZE, pair) == 0
    assert struct.unpack("<II", pair) == (4096, 0xFFFFFFFF)
    assert w.call("ugetrlimit", 16, pair) == -EINVAL


@CASES("prlimit64", host=False)
def hard_limits_bind_those_without_privilege(w: GuestWorld) -> None:
    assert w.call("prlimit64", 0, F.RLIMIT_CORE, struct.pack("<QQ", 5, 10), None) == 0
    w.become(1, 1)
    assert w.call("prlimit64", 0, F.RLIMIT_CORE, struct.pack("<QQ", 5, 11), None) == -EPERM
    assert w.call("prlimit64", 0, F.RLIMIT_CORE, struct.pack("<QQ", 10, 10), None) == 0
    assert w.call("prlimit64", 0, F.RLIMIT_NOFILE, struct.pack("<QQ", 1, 1 << 40), None) == -EPERM


@CASES("getrusage")
def resource_use(w: World) -> None:
    usage = bytearray(b"\xff" * (144 if w.word == 8 else 72))
    for who in (F.RUSAGE_SELF, F.RUSAGE_CHILDREN, F.RUSAGE_THREAD):
        assert w.call("getrusage", who, usage) == 0
        seconds, micros = PAIR[w.word].unpack_from(usage)
        assert 0 <= seconds < 100 and 0 <= micros < 1_000_000
    assert w.call("getrusage", 5, usage) == -EINVAL
    assert w.call("getrusage", F.RUSAGE_SELF, BAD) == -EFAULT


# -- scheduling --------------------------------------------------------------------------------------------


@CASES("sched_getaffinity", "sched_setaffinity")
def affinity(w: World) -> None:
    mask = bytearray(128)
    size = w.call("sched_getaffinity", 0, 128, mask)
    assert size >= w.word
    first = next(index for index in range(8 * size) if mask[index // 8] >> index % 8 & 1)
    wanted = bytearray(128)
    wanted[first // 8] = 1 << first % 8
    assert w.call("sched_setaffinity", 0, 128, bytes(wanted)) == 0
    assert w.call("sched_getaffinity", 0, 128, mask) == size
    assert mask[:size] == wanted[:size]
    assert w.call("sched_setaffinity", 0, 128, bytes(128)) == -EINVAL
    assert w.call("sched_getaffinity", 0, 3, mask) == -EINVAL
    assert w.call("sched_getaffinity", NOBODY, 128, mask) == -ESRCH
    assert w.call("sched_setaffinity", 0, 128, BAD) == -EFAULT


@CASES("sched_setscheduler", "sched_getscheduler", "sched_getparam", "sched_setparam", root=True)
def policies(w: World) -> None:
    parameter = bytearray(4)
    assert w.call("sched_getscheduler", 0) == F.SCHED_OTHER
    assert w.call("sched_setscheduler", 0, F.SCHED_BATCH, bytes(4)) == 0
    assert w.call("sched_getscheduler", 0) == F.SCHED_BATCH
    assert w.call("sched_getparam", 0, parameter) == 0
    assert parameter == bytes(4)
    assert w.call("sched_setscheduler", 0, F.SCHED_BATCH, struct.pack("<i", 1)) == -EINVAL
    assert w.call("sched_setscheduler", 0, 44, bytes(4)) == -EINVAL
    assert w.call("sched_setscheduler", NOBODY, F.SCHED_OTHER, bytes(4)) == -ESRCH
    assert w.call("sched_setparam", 0, struct.pack("<i", 5)) == -EINVAL
    assert w.call("sched_setparam", 0, None) == -EINVAL
    assert w.call("sched_getparam", 0, None) == -EINVAL
    assert w.call("sched_getparam", 0, BAD) == -EFAULT
    assert w.call("sched_getscheduler", NOBODY) == -ESRCH


@CASES("sched_setattr", "sched_getattr")
def attributes(w: World) -> None:
    data = bytearray(48)
    assert w.call("sched_setattr", 0, struct.pack("<IIQiIQQQ", 48, F.SCHED_BATCH, 0, 3, 0, 0, 0, 0), 0) == 0
    assert w.call("sched_getattr", 0, data, 48, 0) == 0
    size, policy, _, nice = struct.unpack_from("<IIQi", data)
    assert (policy, nice) == (F.SCHED_BATCH, 3) and size >= 48
    assert w.call("sched_setattr", 0, None, 0) == -EINVAL
    assert w.call("sched_getattr", 0, data, 8, 0) == -EINVAL
    assert w.call("sched_getattr", NOBODY, data, 48, 0) == -ESRCH


@CASES("sched_get_priority_max", "sched_get_priority_min")
def the_range_of_priorities(w: World) -> None:
    for name, values in (("sched_get_priority_max", [0, 99, 99, 0]), ("sched_get_priority_min", [0, 1, 1, 0])):
        assert [w.call(name, policy) for policy in (0, 1, 2, 3)] == values
        assert w.call(name, 99) == -EINVAL


@CASES("sched_rr_get_interval")
def the_round_robin_interval(w: World) -> None:
    interval = bytearray(b"\xff" * 2 * w.word)
    assert w.call("sched_rr_get_interval", 0, interval) == 0
    assert PAIR[w.word].unpack(interval)[0] == 0
    assert w.call("sched_rr_get_interval", NOBODY, interval) == -ESRCH
    assert w.call("sched_rr_get_interval", -1, interval) == -EINVAL


@CASES("sched_rr_get_interval_time64", host=False)
def the_wide_interval(w: GuestWorld) -> None:
    interval = bytearray(b"\xff" * 16)
    assert w.call("sched_rr_get_interval_time64", 0, interval) == 0
    assert PAIR[8].unpack(interval)[0] == 0


@CASES("setpriority", "getpriority")
def niceness(w: World) -> None:
    before = w.call("getpriority", F.PRIO_PROCESS, 0)
    assert before == 20 or (w.host and 1 <= before < 20), "the tests may run under nice"
    assert w.call("setpriority", F.PRIO_PROCESS, 0, 19) == 0
    assert w.call("getpriority", F.PRIO_PROCESS, 0) == 1
    assert w.call("setpriority", F.PRIO_PROCESS, 0, 500) == 0
    assert w.call("getpriority", F.PRIO_PROCESS, 0) == 1
    assert w.call("getpriority", 9, 0) == -EINVAL
    assert w.call("setpriority", 9, 0, 0) == -EINVAL
    assert w.call("getpriority", F.PRIO_PROCESS, NOBODY) == -ESRCH


@CASES("nice", host=False)
def the_old_nice(w: GuestWorld) -> None:
    assert w.call("nice", 7) == 0
    assert w.call("getpriority", F.PRIO_PROCESS, 0) == 13


@CASES("ioprio_get", "ioprio_set", host=False)
def priorities_of_input_and_output(w: GuestWorld) -> None:
    real_time, best_effort, idle = (kind << 13 for kind in (1, 2, 3))
    process, user = 1, 3
    assert (w.call("ioprio_get", process, 0), w.call("ioprio_get", user, 0)) == (0, best_effort | 4)
    assert w.call("setpriority", F.PRIO_PROCESS, 0, 10) == 0
    assert w.call("ioprio_get", user, 0) == best_effort | 6, "as the nice value says"
    for priority in (idle, best_effort | 7, real_time | 3):
        assert w.call("ioprio_set", process, 0, priority) == 0
        assert (w.call("ioprio_get", process, 0), w.call("ioprio_get", user, 0)) == (priority, priority)
    assert w.call("ioprio_set", process, 0, 0) == 0
    assert (w.call("ioprio_get", process, 0), w.call("ioprio_get", user, 0)) == (0, best_effort | 6)
    for wrong in (best_effort | 8, 4 << 13, 1, -1):
        assert w.call("ioprio_set", process, 0, wrong) == -EINVAL
    for which, who, error in ((9, 0, EINVAL), (process, NOBODY, ESRCH)):
        assert w.call("ioprio_get", which, who) == -error
        assert w.call("ioprio_set", which, who, 0) == -error
    w.become(1000, 1000)
    assert w.call("ioprio_set", process, 0, real_time) == -EPERM
    assert w.call("ioprio_set", process, 0, idle) == 0


@CASES("sched_setscheduler", "sched_getscheduler", "sched_setattr", "sched_getattr", host=False)
def children_can_begin_anew(w: GuestWorld) -> None:
    fifo = F.SCHED_FIFO | F.SCHED_RESET_ON_FORK
    assert w.call("sched_setscheduler", 0, fifo, struct.pack("<i", 5)) == 0
    assert w.call("sched_getscheduler", 0) == fifo
    data = bytearray(48)
    assert w.call("sched_getattr", 0, data, 48, 0) == 0
    assert struct.unpack_from("<IIQiI", data)[1:] == (F.SCHED_FIFO, 1, 0, 5)
    arguments = [0] * NUMBERS_OF_ARGUMENTS
    pid = w.call("clone", *arguments)
    assert w.call("sched_getscheduler", pid) == F.SCHED_OTHER
    assert w.call("sched_setscheduler", 0, F.SCHED_FIFO, struct.pack("<i", 5)) == 0
    pid = w.call("clone", *arguments)
    assert w.call("sched_getscheduler", pid) == F.SCHED_FIFO
    attributes = struct.pack("<IIQiIQQQ", 48, F.SCHED_RR, 1, 0, 7, 0, 0, 0)
    assert w.call("sched_setattr", 0, attributes, 0) == 0
    assert w.call("sched_getscheduler", 0) == F.SCHED_RR | F.SCHED_RESET_ON_FORK
    assert w.call("sched_setattr", 0, struct.pack("<IIQiIQQQ", 48, F.SCHED_RR, 1 << 40, 0, 7, 0, 0, 0), 0) == -EINVAL


@CASES("sched_getscheduler", "sched_getparam", "getpriority", host=False)
def a_zombie_can_be_asked(w: GuestWorld) -> None:
    pid = w.call("clone", 17, *[0] * (NUMBERS_OF_ARGUMENTS - 1))
    assert w.call("setpriority", F.PRIO_PROCESS, pid, 7) == 0
    end_process(w.machine.processes[pid], 0)
    assert w.machine.processes[pid].wait_status is not None
    parameter = bytearray(b"\xff" * 4)
    assert w.call("sched_getscheduler", pid) == F.SCHED_OTHER
    assert w.call("sched_getparam", pid, parameter) == 0
    assert parameter == bytes(4)
    assert w.call("getpriority", F.PRIO_PROCESS, pid) == 13
    assert w.call("sched_getscheduler", NOBODY) == -ESRCH


@CASES("sched_setscheduler", "sched_setparam", "sched_setaffinity", host=False)
def only_the_user_of_a_process_changes_how_it_runs(w: GuestWorld) -> None:
    pid = w.call("clone", *[0] * NUMBERS_OF_ARGUMENTS)
    mask = (1).to_bytes(w.word, "little")
    assert w.call("sched_setaffinity", pid, w.word, mask) == 0
    w.become(1000, 1000)
    assert w.call("sched_setaffinity", pid, w.word, mask) == -EPERM
    assert w.call("sched_setscheduler", pid, F.SCHED_BATCH, bytes(4)) == -EPERM
    assert w.call("sched_setparam", pid, bytes(4)) == -EPERM
    assert w.call("sched_setscheduler", 0, F.SCHED_BATCH, bytes(4)) == 0


@CASES("sched_yield", host=False)
def yielding_lets_others_run(w: GuestWorld) -> None:
    w.other()
    assert w.call("sched_yield") == 0
    assert w.machine.yielded


test_guest, test_host, test_proof = CASES.tests()

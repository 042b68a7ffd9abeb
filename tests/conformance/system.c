/* The machine as a whole: scheduling, capabilities, random bytes, figures. */
#include "check.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/sysinfo.h>

FAMILY("system");

CHECK(scheduling_policies)
{
    struct sched_param parameters = {0};
    OK(sched_setscheduler(0, SCHED_BATCH, &parameters));
    IS(sched_getscheduler(0), SCHED_BATCH);
    parameters.sched_priority = 5;
    FAILS(sched_setscheduler(0, SCHED_OTHER, &parameters), EINVAL);
    FAILS(sched_setscheduler(0, 99, &parameters), EINVAL);
    IS(sched_get_priority_max(SCHED_FIFO), 99);
    IS(sched_get_priority_min(SCHED_FIFO), 1);
    IS(sched_get_priority_max(SCHED_OTHER), 0);
    FAILS(sched_getscheduler(0x3fffffff), ESRCH);
    FAILS(sched_getscheduler(-1), EINVAL);
    IS(sched_yield(), 0);
}

CHECK(processors)
{
    cpu_set_t set;
    OK(sched_getaffinity(0, sizeof set, &set));
    TRUE(CPU_COUNT(&set) >= 1);
    OK(sched_setaffinity(0, sizeof set, &set));
    unsigned cpu, node;
    OK(getcpu(&cpu, &node));
    TRUE(CPU_ISSET(cpu, &set));
    CPU_ZERO(&set);
    FAILS(sched_setaffinity(0, sizeof set, &set), EINVAL);
    TRUE(sysconf(_SC_NPROCESSORS_ONLN) >= 1);
}

CHECK(random_bytes)
{
    unsigned char one[64] = {0}, other[64] = {0};
    IS(getrandom(one, 64, 0), 64);
    IS(getrandom(other, 64, GRND_NONBLOCK), 64);
    TRUE(memcmp(one, other, 64) != 0);
    FAILS(getrandom(one, 64, 0x100), EINVAL);
    FAILS(getrandom((void *)8, 64, 0), EFAULT);
    IS(getrandom(one, 0, 0), 0);
}

CHECK(figures)
{
    struct sysinfo info;
    OK(sysinfo(&info));
    TRUE(info.totalram > 0 && info.freeram <= info.totalram);
    TRUE(info.mem_unit > 0);
    TRUE(info.procs > 0);
    FAILS(syscall(SYS_sysinfo, 8), EFAULT);
}

CHECK(capabilities)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    OK(syscall(SYS_capget, &header, data));
    TRUE(data[0].effective & 1u << CAP_KILL);
    IS(prctl(PR_CAPBSET_READ, CAP_KILL, 0, 0, 0), 1);
    data[0].effective &= ~(1u << CAP_KILL);
    OK(syscall(SYS_capset, &header, data));
    OK(syscall(SYS_capget, &header, data));
    IS(data[0].effective & 1u << CAP_KILL, 0);
    TRUE(data[0].permitted & 1u << CAP_KILL);
    header.version = 1;
    FAILS(syscall(SYS_capget, &header, data), EINVAL);
    IS(header.version, _LINUX_CAPABILITY_VERSION_3);
}

CHECK(capabilities_go_with_the_user)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    OK(setresuid(1000, 1000, 1000));
    OK(syscall(SYS_capget, &header, data));
    IS(data[0].effective, 0);
    IS(data[0].permitted, 0);
}

CHECK(capabilities_can_be_kept)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    OK(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0));
    OK(setresuid(1000, 1000, 1000));
    OK(syscall(SYS_capget, &header, data));
    IS(data[0].effective, 0);
    TRUE(data[0].permitted & 1u << CAP_KILL);
}

CHECK(names_of_the_host)
{
    char name[65];
    OK(gethostname(name, sizeof name));
    TRUE(*name);
    FAILS(sethostname(name, 65), EINVAL);
    FAILS(sethostname((char *)8, 5), EFAULT);
    OK(setresuid(1000, 1000, 1000));
    FAILS(sethostname("x", 1), EPERM);
}

CHECK(calls_that_are_none)
{
    FAILS(syscall(4000), ENOSYS);
    FAILS(syscall(-5), ENOSYS);
}

CHECK(who_is_dumpable)
{
    IS(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 1);
    OK(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0));
    IS(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 0);
    FAILS(prctl(PR_SET_DUMPABLE, 2, 0, 0, 0), EINVAL);
}

CHECK(slack_of_timers)
{
    TRUE(prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0) > 0);
    OK(prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0));
    IS(prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0), 1000);
}

CHECK(own_status_in_proc)
{
    char line[256], expected[64];
    int found = 0;
    snprintf(expected, sizeof expected, "Pid:\t%d\n", getpid());
    FILE *status = fopen("/proc/self/status", "r");
    while (fgets(line, sizeof line, status))
        found += strcmp(line, expected) == 0;
    IS(found, 1);
    IS(readlink("/proc/self", line, sizeof line), snprintf(expected, sizeof expected, "%d", getpid()));
}

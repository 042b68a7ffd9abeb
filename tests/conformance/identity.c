/* Limits, users, priorities, names. */
#include "check.h"

#include <grp.h>
#include <sys/prctl.h>
#include <sys/utsname.h>

FAMILY("identity");

CHECK(limits_of_descriptors)
{
    struct rlimit limit;
    OK(getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur = 10;
    OK(setrlimit(RLIMIT_NOFILE, &limit));
    int fd;
    while ((fd = dup(1)) >= 0)
        TRUE(fd < 10);
    IS(errno, EMFILE);
    FAILS(dup2(1, 10), EBADF);
    FAILS(fcntl(1, F_DUPFD, 10), EINVAL);
    limit.rlim_cur = limit.rlim_max + 1;
    if (limit.rlim_max != RLIM_INFINITY)
        FAILS(setrlimit(RLIMIT_NOFILE, &limit), EINVAL);
    FAILS(getrlimit(99, &limit), EINVAL);
}

CHECK(limits_of_file_sizes)
{
    struct rlimit limit = {100, 100};
    OK(setrlimit(RLIMIT_FSIZE, &limit));
    int fd = file_of("f", "");
    on(SIGXFSZ, note, 0);
    char data[200] = {0};
    IS(write(fd, data, 200), 100);
    FAILS(write(fd, data, 1), EFBIG);
    IS(notes, 1);
    FAILS(ftruncate(fd, 101), EFBIG);
    IS(notes, 2);
}

CHECK(prlimit_of_another)
{
    pid_t pid = child(sleep_for_ever);
    struct rlimit set = {50, 60}, old;
    OK(prlimit(pid, RLIMIT_NOFILE, &set, NULL));
    OK(prlimit(pid, RLIMIT_NOFILE, NULL, &old));
    IS(old.rlim_cur, 50);
    IS(old.rlim_max, 60);
    OK(kill(pid, SIGKILL));
    ended(pid);
    FAILS(prlimit(pid, RLIMIT_NOFILE, NULL, &old), ESRCH);
}

CHECK(other_users_may_not)
{
    pid_t target = child(sleep_for_ever), pid = OK(fork());
    if (pid == 0) {
        OK(setgroups(0, NULL));
        OK(setresgid(1000, 1000, 1000));
        OK(setresuid(1000, 1000, 1000));
        FAILS(kill(target, SIGTERM), EPERM);
        FAILS(kill(target, 0), EPERM);
        FAILS(setuid(0), EPERM);
        FAILS(setgroups(0, NULL), EPERM);
        uid_t real, effective, saved;
        OK(getresuid(&real, &effective, &saved));
        TRUE(real == 1000 && effective == 1000 && saved == 1000);
        _exit(0);
    }
    IS(ended(pid), 0);
    OK(kill(target, SIGKILL));
    ended(target);
}

CHECK(saved_ids_lead_back)
{
    OK(setresuid(1000, 1000, 0));
    OK(seteuid(0));
    IS(geteuid(), 0);
    OK(setreuid(1001, -1));
    IS(getuid(), 1001);
    OK(setresuid(1001, 1001, 1001));
    FAILS(seteuid(0), EPERM);
}

CHECK(priorities)
{
    int before = getpriority(PRIO_PROCESS, 0), after = before > 14 ? 19 : before + 5;
    IS(nice(5), after);
    IS(getpriority(PRIO_PROCESS, 0), after);
    OK(setpriority(PRIO_PROCESS, 0, 100));
    IS(getpriority(PRIO_PROCESS, 0), 19);
    FAILS(getpriority(9, 0), EINVAL);
}

CHECK(names_of_the_system)
{
    struct utsname names;
    OK(uname(&names));
    IS(strcmp(names.sysname, "Linux"), 0);
    FAILS(syscall(SYS_uname, 8), EFAULT);
}

CHECK(no_new_privileges_stay)
{
    OK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    FAILS(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0), EINVAL);
    IS(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1);
    FAILS(prctl(123456, 0, 0, 0, 0), EINVAL);
}

/* fork, exit, wait, orphans, groups, sessions. */
#include "check.h"

#include <sys/prctl.h>

FAMILY("process");

CHECK(fork_returns_twice)
{
    pid_t parent = getpid(), pid = OK(fork());
    if (pid == 0) {
        IS(getppid(), parent);
        TRUE(getpid() != parent);
        _exit(7);
    }
    IS(ended(pid), 7);
}

static int counter;

static void count_up(void)
{
    counter++;
}

CHECK(fork_copies_memory)
{
    IS(ended(child(count_up)), 0);
    IS(counter, 0);
}

CHECK(fork_shares_offsets)
{
    int fd = file_of("f", "abcdef");
    char byte;
    pid_t pid = OK(fork());
    if (pid == 0) {
        IS(read(fd, &byte, 1), 1);
        _exit(0);
    }
    IS(ended(pid), 0);
    IS(lseek(fd, 0, SEEK_CUR), 1);
}

CHECK(descriptors_of_a_child_are_its_own)
{
    int fd = file_of("f", "x");
    pid_t pid = OK(fork());
    if (pid == 0) {
        close(fd);
        _exit(0);
    }
    IS(ended(pid), 0);
    IS(fcntl(fd, F_GETFD), 0);
}

CHECK(vfork_waits_for_exit)
{
    static volatile int seen;
    pid_t pid = vfork();
    if (pid == 0) {
        seen = 5;
        _exit(3);
    }
    IS(seen, 5);
    IS(ended(pid), 3);
}

CHECK(exit_statuses_are_eight_bits)
{
    pid_t pid = OK(fork());
    if (pid == 0)
        _exit(0x1234);
    IS(ended(pid), 0x34);
}

CHECK(wait_without_children)
{
    FAILS(wait(NULL), ECHILD);
    FAILS(waitpid(1, NULL, 0), ECHILD);
    FAILS(waitpid(-1, NULL, WNOHANG), ECHILD);
}

CHECK(wait_options_are_checked)
{
    FAILS(waitpid(-1, NULL, 0x100), EINVAL);
    siginfo_t info;
    FAILS(waitid(P_ALL, 0, &info, 0), EINVAL);
    FAILS(waitid(99, 0, &info, WEXITED), EINVAL);
}

CHECK(wait_no_hang)
{
    pid_t pid = child(sleep_for_ever);
    IS(waitpid(pid, NULL, WNOHANG), 0);
    siginfo_t info;
    memset(&info, 0xff, sizeof info);
    IS(waitid(P_PID, pid, &info, WEXITED | WNOHANG), 0);
    IS(info.si_pid, 0);
    OK(kill(pid, SIGKILL));
    IS(ended(pid), 128 + SIGKILL);
}

CHECK(waitid_says_how)
{
    pid_t pid = OK(fork());
    if (pid == 0)
        _exit(41);
    siginfo_t info;
    OK(waitid(P_PID, pid, &info, WEXITED | WNOWAIT));
    IS(info.si_signo, SIGCHLD);
    IS(info.si_code, CLD_EXITED);
    IS(info.si_pid, pid);
    IS(info.si_status, 41);
    IS(info.si_uid, getuid());
    OK(waitid(P_ALL, 0, &info, WEXITED));
    IS(info.si_pid, pid);
    FAILS(waitid(P_PID, pid, &info, WEXITED), ECHILD);
}

CHECK(waitid_of_the_killed)
{
    pid_t pid = child(sleep_for_ever);
    OK(kill(pid, SIGTERM));
    siginfo_t info;
    OK(waitid(P_PID, pid, &info, WEXITED));
    IS(info.si_code, CLD_KILLED);
    IS(info.si_status, SIGTERM);
}

CHECK(wait_sees_stops_and_continues)
{
    pid_t pid = child(sleep_for_ever);
    int status;
    OK(kill(pid, SIGSTOP));
    IS(waitpid(pid, &status, WUNTRACED), pid);
    TRUE(WIFSTOPPED(status));
    IS(WSTOPSIG(status), SIGSTOP);
    IS(waitpid(pid, &status, WUNTRACED | WNOHANG), 0);
    OK(kill(pid, SIGCONT));
    IS(waitpid(pid, &status, WCONTINUED), pid);
    TRUE(WIFCONTINUED(status));
    OK(kill(pid, SIGKILL));
    IS(waitpid(pid, &status, 0), pid);
    TRUE(WIFSIGNALED(status));
}

CHECK(wait_by_group)
{
    pid_t pid = child(sleep_for_ever), other = child(sleep_for_ever);
    OK(setpgid(pid, pid));
    OK(kill(-pid, SIGKILL));
    IS(waitpid(-pid, NULL, 0), pid);
    IS(waitpid(0, NULL, WNOHANG), 0);
    OK(kill(other, SIGKILL));
    IS(waitpid(0, NULL, 0), other);
}

CHECK(wait4_counts_time)
{
    struct rusage usage;
    memset(&usage, 0xff, sizeof usage);
    pid_t pid = OK(fork());
    if (pid == 0)
        _exit(0);
    IS(wait4(pid, NULL, 0, &usage), pid);
    TRUE(usage.ru_utime.tv_sec >= 0 && usage.ru_utime.tv_usec < 1000000);
    TRUE(usage.ru_maxrss > 0);
}

CHECK(ignoring_sigchld_reaps)
{
    on(SIGCHLD, SIG_IGN, 0);
    pid_t pid = OK(fork());
    if (pid == 0)
        _exit(0);
    FAILS(waitpid(pid, NULL, 0), ECHILD);
}

CHECK(no_zombies_by_flag)
{
    on(SIGCHLD, note, SA_NOCLDWAIT);
    pid_t pid = OK(fork());
    if (pid == 0)
        _exit(0);
    int result;
    do
        result = waitpid(pid, NULL, 0);
    while (result < 0 && errno == EINTR);
    IS(result, -1);
    IS(errno, ECHILD);
    IS(notes, 1);
}

CHECK(orphans_get_another_parent)
{
    int ends[2];
    OK(pipe(ends));
    pid_t pid = OK(fork()), middle;
    if (pid == 0) {
        middle = getpid();
        if (OK(fork()) == 0) {
            while (getppid() == middle)
                sched_yield();
            int parent = getppid();
            IS(write(ends[1], &parent, sizeof parent), sizeof parent);
        }
        _exit(0);
    }
    IS(ended(pid), 0);
    int parent;
    IS(read(ends[0], &parent, sizeof parent), sizeof parent);
    TRUE(parent != pid);
}

CHECK(a_subreaper_adopts)
{
    OK(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
    int set = 0;
    OK(prctl(PR_GET_CHILD_SUBREAPER, &set, 0, 0, 0));
    IS(set, 1);
    pid_t pid = OK(fork());
    if (pid == 0) {
        if (OK(fork()) == 0) {
            while (getppid() == pid)
                sched_yield();
            _exit(9);
        }
        _exit(0);
    }
    IS(ended(pid), 0);
    int status;
    TRUE(waitpid(-1, &status, 0) > 0);
    IS(WEXITSTATUS(status), 9);
}

CHECK(signal_at_parents_death)
{
    int ends[2];
    OK(pipe(ends));
    pid_t pid = OK(fork());
    if (pid == 0) {
        int ready[2];
        OK(pipe(ready));
        if (OK(fork()) == 0) {
            OK(prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0));
            IS(write(ready[1], "x", 1), 1);
            sleep_for_ever();
        }
        char byte;
        IS(read(ready[0], &byte, 1), 1);
        _exit(0);
    }
    close(ends[1]);
    IS(ended(pid), 0);
    char byte;
    IS(read(ends[0], &byte, 1), 0); /* the last writer has died */
}

CHECK(groups_and_sessions)
{
    IS(getpgrp(), getpid());
    FAILS(setsid(), EPERM); /* leads a group */
    pid_t pid = OK(fork());
    if (pid == 0) {
        IS(getpgrp(), getppid());
        IS(setsid(), getpid());
        IS(getpgrp(), getpid());
        IS(getsid(0), getpid());
        FAILS(setpgid(0, getppid()), EPERM);
        _exit(0);
    }
    IS(ended(pid), 0);
    FAILS(getpgid(-1), ESRCH);
    FAILS(setpgid(0, -1), EINVAL);
    FAILS(setpgid(1, 1), ESRCH);
}

CHECK(session_leaders_keep_their_group)
{
    pid_t pid = OK(fork());
    if (pid == 0) {
        OK(setsid());
        FAILS(setpgid(0, 0), EPERM);
        _exit(0);
    }
    IS(ended(pid), 0);
}

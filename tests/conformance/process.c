/* fork, clone, exec, exit, wait, ids, groups, sessions, limits. */
#include "check.h"

#include <grp.h>
#include <linux/sched.h>
#include <sys/prctl.h>
#include <sys/utsname.h>

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

static void sleep_for_ever(void)
{
    for (;;)
        pause();
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

CHECK(execve_errors)
{
    char *none[] = {"x", NULL};
    FAILS(execve("missing", none, NULL), ENOENT);
    FAILS(execve("", none, NULL), ENOENT);
    OK(mkdir("d", 0755));
    FAILS(execve("d", none, NULL), EACCES);
    close(file_of("plain", "no program"));
    FAILS(execve("plain", none, NULL), EACCES);
    OK(chmod("plain", 0755));
    FAILS(execve("plain", none, NULL), ENOEXEC);
    FAILS(execve("plain/x", none, NULL), ENOTDIR);
    OK(symlink("loop", "loop"));
    FAILS(execve("loop", none, NULL), ELOOP);
    close(file_of("script", "#!/missing/interpreter\n"));
    OK(chmod("script", 0755));
    FAILS(execve("script", none, NULL), ENOENT);
    FAILS(syscall(SYS_execve, 8, none, NULL), EFAULT);
}

CHECK(execve_argument_too_long)
{
    char *text = malloc(200 << 10);
    memset(text, 'x', 200 << 10);
    text[(200 << 10) - 1] = 0;
    char *arguments[] = {"x", text, NULL};
    FAILS(execve("/proc/self/exe", arguments, NULL), E2BIG);
}

CHECK(execveat_by_descriptor)
{
    close(file_of("plain", "no program"));
    OK(chmod("plain", 0755));
    int fd = OK(open("plain", O_RDONLY));
    char *none[] = {"x", NULL};
    FAILS(syscall(SYS_execveat, fd, "", none, NULL, AT_EMPTY_PATH), ENOEXEC);
    FAILS(syscall(SYS_execveat, fd, "", none, NULL, 0), ENOENT);
    FAILS(syscall(SYS_execveat, AT_FDCWD, "plain", none, NULL, 0x8000000), EINVAL);
    FAILS(syscall(SYS_execveat, -1, "plain", none, NULL, 0), EBADF);
}

CHECK(exec_closes_what_is_marked)
{
    int ends[2];
    OK(pipe2(ends, O_CLOEXEC));
    pid_t pid = OK(fork());
    if (pid == 0) {
        char *arguments[] = {"conformance", "no such family", NULL};
        execve("/proc/self/exe", arguments, NULL);
        _exit(99);
    }
    close(ends[1]);
    char byte;
    IS(read(ends[0], &byte, 1), 0);
    IS(ended(pid), 0);
}

CHECK(names_of_tasks)
{
    char name[17] = "";
    OK(prctl(PR_SET_NAME, "a name that is too long", 0, 0, 0));
    OK(prctl(PR_GET_NAME, name, 0, 0, 0));
    IS(strcmp(name, "a name that is "), 0);
}

CHECK(clone_flags_are_checked)
{
    FAILS(syscall(SYS_clone, CLONE_THREAD | SIGCHLD, 0, 0, 0, 0), EINVAL);
    FAILS(syscall(SYS_clone, CLONE_SIGHAND | SIGCHLD, 0, 0, 0, 0), EINVAL);
    FAILS(syscall(SYS_clone, CLONE_FS | CLONE_NEWNS | SIGCHLD, 0, 0, 0, 0), EINVAL);
}

CHECK(clone3_like_fork)
{
    struct clone_args arguments = {.exit_signal = SIGCHLD};
    pid_t tid = 0;
    arguments.flags = CLONE_PARENT_SETTID;
    arguments.parent_tid = (uintptr_t)&tid;
    pid_t pid = OK(syscall(SYS_clone3, &arguments, sizeof arguments));
    if (pid == 0)
        _exit(11);
    IS(tid, pid);
    IS(ended(pid), 11);
    FAILS(syscall(SYS_clone3, &arguments, 8), EINVAL);
    FAILS(syscall(SYS_clone3, &arguments, 5000), E2BIG);
    FAILS(syscall(SYS_clone3, NULL, sizeof arguments), EFAULT);
    arguments.exit_signal = 1000;
    FAILS(syscall(SYS_clone3, &arguments, sizeof arguments), EINVAL);
}

CHECK(clone_without_signal_needs_wall)
{
    pid_t pid = OK(syscall(SYS_clone, 0, 0, 0, 0, 0));
    if (pid == 0)
        _exit(12);
    FAILS(waitpid(pid, NULL, 0), ECHILD);
    int status;
    IS(waitpid(pid, &status, __WALL), pid);
    IS(WEXITSTATUS(status), 12);
}

CHECK(clone_sharing_files_and_directory)
{
    OK(mkdir("d", 0755));
    pid_t pid = OK(syscall(SYS_clone, CLONE_FILES | CLONE_FS | SIGCHLD, 0, 0, 0, 0));
    if (pid == 0) {
        OK(chdir("d"));
        OK(dup2(1, 77));
        umask(077);
        syscall(SYS_exit, 0);
    }
    IS(ended(pid), 0);
    TRUE(fcntl(77, F_GETFD) >= 0);
    char path[PATH_MAX];
    TRUE(getcwd(path, sizeof path) != NULL);
    IS(strcmp(path + strlen(path) - 2, "/d"), 0);
    IS(umask(022), 077);
}

CHECK(a_pidfd_is_ready_at_the_end)
{
    struct clone_args arguments = {.exit_signal = SIGCHLD, .flags = CLONE_PIDFD};
    int fd = -1;
    arguments.pidfd = (uintptr_t)&fd;
    pid_t pid = OK(syscall(SYS_clone3, &arguments, sizeof arguments));
    if (pid == 0)
        sleep_for_ever();
    struct pollfd poller = {fd, POLLIN, 0};
    IS(poll(&poller, 1, 0), 0);
    IS(fcntl(fd, F_GETFD), FD_CLOEXEC);
    OK(syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0));
    IS(poll(&poller, 1, -1), 1);
    siginfo_t info;
    OK(waitid(P_PIDFD, fd, &info, WEXITED));
    IS(info.si_pid, pid);
    FAILS(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0), ESRCH);
}

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

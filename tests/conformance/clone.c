/* The forms of clone, execve, descriptors of processes. */
#include "check.h"

#include <linux/sched.h>
#include <sys/prctl.h>

FAMILY("clone");

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

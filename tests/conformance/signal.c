/* Signals: actions, masks, queues, what a handler is told. */
#include "check.h"

#include <ucontext.h>

FAMILY("signal");

static siginfo_t seen;
static void *context_seen;

static void keep(int number, siginfo_t *info, void *context)
{
    (void)number;
    seen = *info;
    context_seen = context;
    notes++;
}

static void on_info(int number, int flags)
{
    struct sigaction action = {.sa_sigaction = keep, .sa_flags = SA_SIGINFO | flags};
    OK(sigaction(number, &action, NULL));
}

CHECK(handlers_run_once)
{
    on(SIGUSR1, note, 0);
    OK(raise(SIGUSR1));
    IS(notes, 1);
    IS(noted[0], SIGUSR1);
}

CHECK(reset_hand)
{
    on(SIGUSR1, note, SA_RESETHAND);
    OK(raise(SIGUSR1));
    struct sigaction now;
    OK(sigaction(SIGUSR1, NULL, &now));
    TRUE(now.sa_handler == SIG_DFL);
    TRUE(now.sa_flags & SA_RESETHAND);
}

CHECK(actions_are_read_back)
{
    struct sigaction action = {.sa_handler = note, .sa_flags = SA_RESTART | SA_NODEFER}, now;
    sigaddset(&action.sa_mask, SIGUSR2);
    OK(sigaction(SIGUSR1, &action, NULL));
    OK(sigaction(SIGUSR1, NULL, &now));
    TRUE(now.sa_handler == note);
    IS(now.sa_flags & (SA_RESTART | SA_NODEFER | SA_SIGINFO), SA_RESTART | SA_NODEFER);
    IS(sigismember(&now.sa_mask, SIGUSR2), 1);
    IS(sigismember(&now.sa_mask, SIGUSR1), 0);
}

CHECK(unstoppable_signals_have_no_action)
{
    struct sigaction action = {.sa_handler = SIG_IGN};
    FAILS(sigaction(SIGKILL, &action, NULL), EINVAL);
    FAILS(sigaction(SIGSTOP, &action, NULL), EINVAL);
    FAILS(sigaction(65, &action, NULL), EINVAL);
    OK(sigaction(SIGKILL, NULL, &action));
}

CHECK(unstoppable_signals_cannot_be_masked)
{
    sigset_t set, now;
    sigfillset(&set);
    OK(sigprocmask(SIG_SETMASK, &set, NULL));
    OK(sigprocmask(SIG_SETMASK, NULL, &now));
    IS(sigismember(&now, SIGKILL), 0);
    IS(sigismember(&now, SIGSTOP), 0);
    IS(sigismember(&now, SIGTERM), 1);
    FAILS(sigprocmask(77, &set, NULL), EINVAL);
}

CHECK(masked_signals_wait)
{
    sigset_t set = set_of(SIGUSR1), pending;
    on(SIGUSR1, note, 0);
    OK(sigprocmask(SIG_BLOCK, &set, NULL));
    OK(raise(SIGUSR1));
    OK(raise(SIGUSR1));
    IS(notes, 0);
    OK(sigpending(&pending));
    IS(sigismember(&pending, SIGUSR1), 1);
    OK(sigprocmask(SIG_UNBLOCK, &set, NULL));
    IS(notes, 1);
    OK(sigpending(&pending));
    IS(sigismember(&pending, SIGUSR1), 0);
}

CHECK(real_time_signals_queue)
{
    sigset_t set = set_of(SIGRTMIN + 1);
    on_info(SIGRTMIN + 1, 0);
    OK(sigprocmask(SIG_BLOCK, &set, NULL));
    for (int i = 1; i <= 3; i++)
        OK(sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = i}));
    for (int i = 1; i <= 3; i++) {
        siginfo_t info;
        IS(sigwaitinfo(&set, &info), SIGRTMIN + 1);
        IS(info.si_value.sival_int, i);
        IS(info.si_code, SI_QUEUE);
        IS(info.si_pid, getpid());
    }
    struct timespec none = {0, 0};
    FAILS(sigtimedwait(&set, NULL, &none), EAGAIN);
}

CHECK(lower_numbers_first)
{
    sigset_t all, old;
    sigfillset(&all);
    on(SIGUSR2, note, 0);
    on(SIGUSR1, note, 0);
    on(SIGRTMIN + 2, note, 0);
    OK(sigprocmask(SIG_SETMASK, &all, &old));
    OK(raise(SIGRTMIN + 2));
    OK(raise(SIGUSR2));
    OK(raise(SIGUSR1));
    siginfo_t info;
    sigset_t some = set_of(SIGUSR1);
    sigaddset(&some, SIGUSR2);
    sigaddset(&some, SIGRTMIN + 2);
    IS(sigwaitinfo(&some, &info), SIGUSR1);
    IS(sigwaitinfo(&some, &info), SIGUSR2);
    IS(sigwaitinfo(&some, &info), SIGRTMIN + 2);
}

CHECK(handlers_mask_their_signal)
{
    static sigset_t inside;
    void look(int number)
    {
        (void)number;
        sigprocmask(SIG_SETMASK, NULL, &inside);
    }
    struct sigaction action = {.sa_handler = look};
    sigaddset(&action.sa_mask, SIGUSR2);
    OK(sigaction(SIGUSR1, &action, NULL));
    OK(raise(SIGUSR1));
    IS(sigismember(&inside, SIGUSR1), 1);
    IS(sigismember(&inside, SIGUSR2), 1);
    IS(sigismember(&inside, SIGTERM), 0);
    sigset_t after;
    OK(sigprocmask(SIG_SETMASK, NULL, &after));
    IS(sigismember(&after, SIGUSR1), 0);
}

static void again(int number)
{
    if (++notes < 3)
        raise(number);
}

CHECK(no_defer_nests)
{
    on(SIGUSR1, again, SA_NODEFER);
    OK(raise(SIGUSR1));
    IS(notes, 3);
}

CHECK(deferred_until_return)
{
    on(SIGUSR1, again, 0);
    OK(raise(SIGUSR1));
    IS(notes, 3);
}

CHECK(info_of_kill)
{
    on_info(SIGUSR1, 0);
    OK(kill(getpid(), SIGUSR1));
    IS(seen.si_signo, SIGUSR1);
    IS(seen.si_code, SI_USER);
    IS(seen.si_pid, getpid());
    IS(seen.si_uid, getuid());
}

CHECK(info_of_tgkill)
{
    on_info(SIGUSR1, 0);
    OK(syscall(SYS_tgkill, getpid(), getpid(), SIGUSR1));
    IS(seen.si_code, SI_TKILL);
    IS(seen.si_pid, getpid());
    FAILS(syscall(SYS_tgkill, getpid(), getpid(), 65), EINVAL);
    FAILS(syscall(SYS_tgkill, 0, getpid(), SIGUSR1), EINVAL);
    FAILS(syscall(SYS_tgkill, getppid(), getpid(), SIGUSR1), ESRCH);
}

CHECK(info_of_a_child)
{
    on_info(SIGCHLD, 0);
    pid_t pid = OK(fork());
    if (pid == 0)
        _exit(23);
    IS(ended(pid), 23);
    IS(notes, 1);
    IS(seen.si_code, CLD_EXITED);
    IS(seen.si_pid, pid);
    IS(seen.si_status, 23);
}

CHECK(no_signal_for_stopped_children)
{
    on_info(SIGCHLD, SA_NOCLDSTOP);
    pid_t pid = child(sleep_for_ever);
    OK(kill(pid, SIGSTOP));
    while (waitpid(pid, NULL, WUNTRACED) != pid)
        ;
    IS(notes, 0);
    OK(kill(pid, SIGKILL));
    ended(pid);
    IS(notes, 1);
}

CHECK(whoever_ignores_stopped_children_is_not_told)
{
    struct sigaction ignored = {.sa_handler = SIG_IGN};
    sigset_t set = set_of(SIGCHLD);
    OK(sigprocmask(SIG_BLOCK, &set, NULL));
    OK(sigaction(SIGCHLD, &ignored, NULL));
    pid_t pid = child(sleep_for_ever);
    OK(kill(pid, SIGSTOP));
    int status;
    IS(waitpid(pid, &status, WUNTRACED), pid);
    OK(sigpending(&set));
    IS(sigismember(&set, SIGCHLD), 0); /* not even pending, although it is blocked */
    OK(kill(pid, SIGKILL));
}

CHECK(continuing_by_default_forgets_what_is_pending)
{
    sigset_t set = set_of(SIGCONT);
    struct sigaction none = {.sa_handler = SIG_DFL};
    OK(sigprocmask(SIG_BLOCK, &set, NULL));
    OK(raise(SIGCONT));
    OK(sigpending(&set));
    IS(sigismember(&set, SIGCONT), 1);
    OK(sigaction(SIGCONT, &none, NULL));
    OK(sigpending(&set));
    IS(sigismember(&set, SIGCONT), 0);
}

CHECK(kill_finds_targets)
{
    OK(kill(0, 0));
    OK(kill(getpid(), 0));
    FAILS(kill(getpid(), 65), EINVAL);
    FAILS(kill(getpid(), -1), EINVAL);
    FAILS(kill(0x3fffffff, 0), ESRCH);
    FAILS(kill(-0x3fffffff, 0), ESRCH);
    pid_t pid = OK(fork());
    if (pid == 0)
        _exit(0);
    siginfo_t info;
    OK(waitid(P_PID, pid, &info, WEXITED | WNOWAIT));
    OK(kill(pid, SIGKILL)); /* a zombie can be hit */
    IS(ended(pid), 0);
    FAILS(kill(pid, 0), ESRCH);
}

CHECK(queueing_to_others_is_checked)
{
    siginfo_t info = {.si_code = SI_USER};
    pid_t pid = child(sleep_for_ever);
    FAILS(syscall(SYS_rt_sigqueueinfo, pid, SIGUSR1, &info), EPERM);
    info.si_code = SI_QUEUE;
    OK(syscall(SYS_rt_sigqueueinfo, pid, SIGUSR1, &info));
    IS(ended(pid), 128 + SIGUSR1);
}

CHECK(default_actions)
{
    static const int deadly[] = {SIGHUP, SIGINT, SIGQUIT, SIGABRT, SIGTERM, SIGUSR1, SIGPIPE, SIGALRM, SIGXCPU, SIGSYS};
    for (unsigned i = 0; i < COUNT(deadly); i++) {
        pid_t pid = child(sleep_for_ever);
        OK(kill(pid, deadly[i]));
        IS(ended(pid), 128 + deadly[i]);
    }
    static const int harmless[] = {SIGCHLD, SIGURG, SIGWINCH, SIGCONT};
    for (unsigned i = 0; i < COUNT(harmless); i++)
        OK(raise(harmless[i]));
}

CHECK(continuing_undoes_stopping)
{
    sigset_t set = set_of(SIGCONT), pending;
    OK(sigprocmask(SIG_BLOCK, &set, NULL));
    OK(raise(SIGCONT));
    on(SIGTSTP, note, 0);
    OK(raise(SIGTSTP)); /* a stop throws pending SIGCONT away */
    OK(sigpending(&pending));
    IS(sigismember(&pending, SIGCONT), 0);
    IS(notes, 1);
}

CHECK(exec_keeps_what_is_ignored)
{
    on(SIGUSR1, SIG_IGN, 0);
    on(SIGUSR2, note, 0);
    pid_t pid = OK(fork());
    if (pid == 0) {
        OK(execl("/proc/self/exe", "conformance", "after exec", NULL));
        _exit(1);
    }
    IS(ended(pid), 0);
    struct sigaction now;
    OK(sigaction(SIGUSR1, NULL, &now));
    TRUE(now.sa_handler == SIG_IGN);
}

CHECK(handlers_see_and_change_the_context)
{
    static sigset_t masked;
    void change(int number, siginfo_t *info, void *context)
    {
        (void)number;
        (void)info;
        ucontext_t *user = context;
        masked = user->uc_sigmask;
        sigaddset(&user->uc_sigmask, SIGUSR2);
    }
    struct sigaction action = {.sa_sigaction = change, .sa_flags = SA_SIGINFO};
    OK(sigaction(SIGUSR1, &action, NULL));
    sigset_t set = set_of(SIGHUP), now;
    OK(sigprocmask(SIG_BLOCK, &set, NULL));
    OK(raise(SIGUSR1));
    IS(sigismember(&masked, SIGHUP), 1);
    OK(sigprocmask(SIG_BLOCK, NULL, &now));
    IS(sigismember(&now, SIGUSR2), 1);
    IS(sigismember(&now, SIGHUP), 1);
}

CHECK(floating_point_survives_handlers)
{
    static volatile double spoiled;
    void spoil(int number)
    {
        (void)number;
        double x = 1;
        for (int i = 0; i < 100; i++)
            x = x * 1.5 + spoiled;
        spoiled = x;
        notes++;
    }
    on(SIGALRM, spoil, 0);
    struct itimerval every = {{0, 1000}, {0, 1000}};
    OK(setitimer(ITIMER_REAL, &every, NULL));
    double sum = 0, other = 1;
    for (long i = 0; notes < 5; i = (i + 1) % 1000) {
        sum += 0.5;
        other = other * -1;
        TRUE(other == 1 || other == -1);
        TRUE(sum == (double)(long long)(sum * 2) / 2);
    }
}

CHECK(waiting_for_signals_of_others)
{
    sigset_t set = set_of(SIGUSR1);
    OK(sigprocmask(SIG_BLOCK, &set, NULL));
    pid_t parent = getpid(), pid = OK(fork());
    if (pid == 0) {
        OK(kill(parent, SIGUSR1));
        _exit(0);
    }
    siginfo_t info;
    IS(sigwaitinfo(&set, &info), SIGUSR1);
    IS(info.si_pid, pid);
    IS(ended(pid), 0);
    ticks(0);
    FAILS(sigwaitinfo(&set, &info), EINTR);
}

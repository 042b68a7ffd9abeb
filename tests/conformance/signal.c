/* Signals: handlers, masks, queues, stacks, restarts, faults, stops. */
#include "check.h"

#include <setjmp.h>
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

static sigset_t set_of(int number)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, number);
    return set;
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

static void sleep_for_ever(void)
{
    for (;;)
        pause();
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

CHECK(reads_are_interrupted)
{
    int ends[2];
    char byte;
    OK(pipe(ends));
    ticks(0);
    FAILS(read(ends[0], &byte, 1), EINTR);
    TRUE(ticked > 0);
}

CHECK(reads_are_restarted)
{
    static int ends[2];
    char byte = 0;
    OK(pipe(ends));
    void feed(int number)
    {
        (void)number;
        if (++notes == 3)
            write(ends[1], "y", 1);
    }
    on(SIGALRM, feed, SA_RESTART);
    struct itimerval every = {{0, 3000}, {0, 3000}};
    OK(setitimer(ITIMER_REAL, &every, NULL));
    IS(read(ends[0], &byte, 1), 1);
    IS(byte, 'y');
}

CHECK(pause_and_suspend_end_with_a_handler)
{
    ticks(SA_RESTART);
    FAILS(pause(), EINTR);
    sigset_t none, usr = set_of(SIGUSR1), now;
    sigemptyset(&none);
    OK(sigprocmask(SIG_BLOCK, &usr, NULL));
    FAILS(sigsuspend(&none), EINTR);
    OK(sigprocmask(SIG_BLOCK, NULL, &now));
    IS(sigismember(&now, SIGUSR1), 1);
}

CHECK(suspend_lets_the_pending_in)
{
    sigset_t set = set_of(SIGUSR1), none;
    sigemptyset(&none);
    on(SIGUSR1, note, 0);
    OK(sigprocmask(SIG_BLOCK, &set, NULL));
    OK(raise(SIGUSR1));
    FAILS(sigsuspend(&none), EINTR);
    IS(notes, 1);
}

CHECK(ignored_signals_do_not_interrupt)
{
    int ends[2];
    OK(pipe(ends));
    on(SIGUSR1, SIG_IGN, 0);
    pid_t parent = getpid(), pid = OK(fork());
    if (pid == 0) {
        until_state(parent, "S");
        OK(kill(parent, SIGUSR1));
        OK(kill(parent, SIGWINCH)); /* ignored by default */
        IS(write(ends[1], "z", 1), 1);
        _exit(0);
    }
    char byte;
    IS(read(ends[0], &byte, 1), 1);
    IS(ended(pid), 0);
}

CHECK(broken_pipes)
{
    int ends[2];
    OK(pipe(ends));
    close(ends[0]);
    on(SIGPIPE, note, 0);
    FAILS(write(ends[1], "x", 1), EPIPE);
    IS(notes, 1);
}

CHECK(other_stack)
{
    static char area[65536];
    static uintptr_t place;
    static stack_t during;
    void where(int number)
    {
        place = (uintptr_t)&number;
        sigaltstack(NULL, &during);
    }
    stack_t stack = {.ss_sp = area, .ss_size = sizeof area}, now;
    OK(sigaltstack(&stack, NULL));
    on(SIGUSR1, where, SA_ONSTACK);
    OK(raise(SIGUSR1));
    TRUE(place >= (uintptr_t)area && place < (uintptr_t)area + sizeof area);
    IS(during.ss_flags, SS_ONSTACK);
    OK(sigaltstack(NULL, &now));
    IS(now.ss_flags, 0);
    TRUE(now.ss_sp == area && now.ss_size == sizeof area);
    stack.ss_size = 100;
    FAILS(sigaltstack(&stack, NULL), ENOMEM);
    stack.ss_size = sizeof area;
    stack.ss_flags = 0x40;
    FAILS(sigaltstack(&stack, NULL), EINVAL);
    stack.ss_flags = SS_DISABLE;
    OK(sigaltstack(&stack, NULL));
    OK(sigaltstack(NULL, &now));
    IS(now.ss_flags, SS_DISABLE);
}

CHECK(stack_overflow_on_the_other_stack)
{
    static char area[65536];
    static sigjmp_buf back;
    void leave(int number) { siglongjmp(back, number); }
    struct rlimit small = {256 << 10, 256 << 10};
    OK(setrlimit(RLIMIT_STACK, &small));
    stack_t stack = {.ss_sp = area, .ss_size = sizeof area};
    OK(sigaltstack(&stack, NULL));
    on(SIGSEGV, leave, SA_ONSTACK);
    int dive(int depth)
    {
        volatile char block[8192];
        block[0] = depth;
        return depth > 100000 ? 0 : dive(depth + 1) + block[0];
    }
    int caught = sigsetjmp(back, 1);
    if (!caught)
        dive(0);
    IS(caught, SIGSEGV);
}

static sigjmp_buf out;

static void escape(int number, siginfo_t *info, void *context)
{
    (void)context;
    seen = *info;
    siglongjmp(out, number);
}

static int caught_by(int number, void (*body)(void))
{
    struct sigaction action = {.sa_sigaction = escape, .sa_flags = SA_SIGINFO};
    OK(sigaction(number, &action, NULL));
    int caught = sigsetjmp(out, 1);
    if (!caught)
        body();
    return caught;
}

static volatile char *place;

static void store(void)
{
    *place = 1;
}

static void load(void)
{
    char value = *place;
    (void)value;
}

CHECK(fault_where_nothing_is)
{
    place = (char *)0x14;
    IS(caught_by(SIGSEGV, load), SIGSEGV);
    IS(seen.si_code, SEGV_MAPERR);
    TRUE(seen.si_addr == (void *)0x14);
}

CHECK(fault_of_permission)
{
    place = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    IS(caught_by(SIGSEGV, load), 0);
    place += 123;
    IS(caught_by(SIGSEGV, store), SIGSEGV);
    IS(seen.si_code, SEGV_ACCERR);
    TRUE(seen.si_addr == (void *)place);
}

CHECK(fault_behind_the_end_of_a_file)
{
    int fd = file_of("f", "short");
    place = mmap(NULL, 8192, PROT_READ, MAP_SHARED, fd, 0);
    TRUE(place != MAP_FAILED);
    IS(caught_by(SIGBUS, load), 0);
    place += 4096;
    IS(caught_by(SIGBUS, load), SIGBUS);
    IS(seen.si_code, BUS_ADRERR);
    TRUE(seen.si_addr == (void *)place);
}

static void trap(void)
{
    __builtin_trap();
}

CHECK(illegal_instructions)
{
    int status = ended(child(trap));
    TRUE(status == 128 + SIGILL || status == 128 + SIGTRAP);
}

CHECK(faults_kill_when_masked)
{
    sigset_t set = set_of(SIGSEGV);
    on(SIGSEGV, note, 0);
    OK(sigprocmask(SIG_BLOCK, &set, NULL));
    place = NULL;
    IS(ended(child(load)), 128 + SIGSEGV);
    on(SIGSEGV, SIG_IGN, 0);
    IS(ended(child(load)), 128 + SIGSEGV);
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

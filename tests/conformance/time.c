/* Clocks, sleeping, timers. How long something took is never looked at, only what came before what. */
#include "check.h"

#include <sys/times.h>

FAMILY("time");

static long long now(clockid_t clock)
{
    struct timespec time;
    OK(clock_gettime(clock, &time));
    TRUE(time.tv_nsec >= 0 && time.tv_nsec < 1000000000);
    return time.tv_sec * 1000000000ll + time.tv_nsec;
}

CHECK(clocks_go_forward)
{
    static const clockid_t clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_BOOTTIME,
                                       CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE, CLOCK_PROCESS_CPUTIME_ID,
                                       CLOCK_THREAD_CPUTIME_ID, CLOCK_TAI};
    for (unsigned i = 0; i < COUNT(clocks); i++) {
        long long before = now(clocks[i]);
        for (int j = 0; j < 100; j++) {
            long long after = now(clocks[i]);
            TRUE(after >= before);
            before = after;
        }
    }
}

CHECK(clocks_are_checked)
{
    struct timespec time;
    FAILS(clock_gettime(99, &time), EINVAL);
    FAILS(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, 8), EFAULT);
    OK(clock_getres(CLOCK_MONOTONIC, &time));
    TRUE(time.tv_sec == 0 && time.tv_nsec > 0);
    OK(clock_getres(CLOCK_MONOTONIC, NULL));
    FAILS(clock_getres(99, &time), EINVAL);
    FAILS(clock_settime(CLOCK_MONOTONIC, &time), EINVAL);
}

CHECK(realtime_agrees)
{
    struct timeval value;
    long long before = now(CLOCK_REALTIME);
    OK(gettimeofday(&value, NULL));
    long long after = now(CLOCK_REALTIME);
    long long here = value.tv_sec * 1000000000ll + value.tv_usec * 1000ll;
    TRUE(here >= before - 1000 && here <= after);
    TRUE(time(NULL) <= after / 1000000000 + 1);
}

CHECK(sleep_lasts_at_least)
{
    struct timespec brief = {0, 2000000};
    long long before = now(CLOCK_MONOTONIC);
    OK(nanosleep(&brief, NULL));
    TRUE(now(CLOCK_MONOTONIC) - before >= 2000000);
    struct timespec wrong = {0, 1000000000}, negative = {-1, 0};
    FAILS(nanosleep(&wrong, NULL), EINVAL);
    FAILS(nanosleep(&negative, NULL), EINVAL);
}

CHECK(sleep_until)
{
    long long target = now(CLOCK_MONOTONIC) + 2000000;
    struct timespec when = {target / 1000000000, target % 1000000000}, past = {1, 0};
    IS(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, NULL), 0);
    TRUE(now(CLOCK_MONOTONIC) >= target);
    IS(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &past, NULL), 0);
    IS(clock_nanosleep(99, 0, &when, NULL), EINVAL);
    IS(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &when, NULL), EINVAL);
}

CHECK(interrupted_sleep_tells_what_is_left)
{
    struct timespec rest = {0, 0}, hour = {3600, 0};
    ticks(SA_RESTART);
    FAILS(nanosleep(&hour, &rest), EINTR);
    TRUE(rest.tv_sec <= 3599 && rest.tv_sec > 3000);
    IS(clock_nanosleep(CLOCK_MONOTONIC, 0, &hour, &rest), EINTR);
    TRUE(rest.tv_sec <= 3599);
}

CHECK(stopping_does_not_end_a_sleep)
{
    pid_t pid = OK(fork());
    if (pid == 0) {
        struct timespec brief = {0, 20000000};
        OK(nanosleep(&brief, NULL));
        _exit(5);
    }
    OK(kill(pid, SIGSTOP));
    IS(waitpid(pid, NULL, WUNTRACED), pid);
    OK(kill(pid, SIGCONT));
    IS(ended(pid), 5);
}

CHECK(alarms)
{
    on(SIGALRM, note, 0);
    IS(alarm(1000) > 0, 1); /* what was left of the guard of this check */
    unsigned left = alarm(0);
    TRUE(left > 900 && left <= 1000);
    IS(alarm(0), 0);
}

CHECK(interval_timers)
{
    struct itimerval set = {{0, 1000}, {0, 1000}}, old;
    on(SIGALRM, note, 0);
    OK(setitimer(ITIMER_REAL, &set, NULL));
    while (notes < 3)
        pause();
    memset(&set, 0, sizeof set);
    OK(setitimer(ITIMER_REAL, &set, &old));
    IS(old.it_interval.tv_usec, 1000);
    OK(getitimer(ITIMER_REAL, &old));
    IS(old.it_value.tv_usec, 0);
    FAILS(setitimer(9, &set, NULL), EINVAL);
    set.it_value.tv_usec = 1000000;
    FAILS(setitimer(ITIMER_REAL, &set, NULL), EINVAL);
}

CHECK(timers_of_processor_time)
{
    struct itimerval set = {{0, 0}, {0, 2000}};
    on(SIGVTALRM, note, 0);
    on(SIGPROF, note, 0);
    OK(setitimer(ITIMER_VIRTUAL, &set, NULL));
    while (!notes)
        ;
    IS(noted[0], SIGVTALRM);
    OK(setitimer(ITIMER_PROF, &set, NULL));
    while (notes < 2)
        getppid();
    IS(noted[1], SIGPROF);
}

static siginfo_t seen;

static void keep(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    seen = *info;
    notes++;
}

CHECK(posix_timers_signal)
{
    struct sigaction action = {.sa_sigaction = keep, .sa_flags = SA_SIGINFO};
    OK(sigaction(SIGUSR1, &action, NULL));
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    event.sigev_value.sival_int = 77;
    timer_t timer;
    OK(timer_create(CLOCK_MONOTONIC, &event, &timer));
    struct itimerspec set = {{0, 0}, {0, 1000000}}, now_set;
    OK(timer_settime(timer, 0, &set, NULL));
    while (!notes)
        ;
    IS(seen.si_code, SI_TIMER);
    IS(seen.si_value.sival_int, 77);
    OK(timer_gettime(timer, &now_set));
    IS(now_set.it_value.tv_nsec, 0);
    OK(timer_delete(timer));
    FAILS(timer_gettime(timer, &now_set), EINVAL);
    FAILS(timer_create(99, &event, &timer), EINVAL);
}

CHECK(posix_timers_overrun)
{
    sigset_t set;
    siginfo_t info;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    OK(sigprocmask(SIG_BLOCK, &set, NULL));
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
    timer_t timer;
    OK(timer_create(CLOCK_MONOTONIC, &event, &timer));
    struct itimerspec every = {{0, 100000}, {0, 100000}};
    OK(timer_settime(timer, 0, &every, NULL));
    long long start = now(CLOCK_MONOTONIC);
    while (now(CLOCK_MONOTONIC) < start + 2000000)
        ;
    IS(sigwaitinfo(&set, &info), SIGRTMIN);
    TRUE(info.si_overrun > 5);
    IS(timer_getoverrun(timer), info.si_overrun);
    start = now(CLOCK_MONOTONIC);
    while (now(CLOCK_MONOTONIC) < start + 2000000) /* it is pending again, with overruns that are not told yet */
        ;
    IS(timer_getoverrun(timer), info.si_overrun);
}

CHECK(posix_timers_without_signals)
{
    struct sigevent event = {.sigev_notify = SIGEV_NONE};
    timer_t timer;
    OK(timer_create(CLOCK_REALTIME, &event, &timer));
    struct itimerspec set = {{0, 0}, {1000, 0}}, left;
    OK(timer_settime(timer, 0, &set, NULL));
    OK(timer_gettime(timer, &left));
    TRUE(left.it_value.tv_sec <= 1000 && left.it_value.tv_sec > 900);
    set.it_value.tv_sec = 1;
    OK(timer_settime(timer, TIMER_ABSTIME, &set, &left));
    TRUE(left.it_value.tv_sec > 900);
    OK(timer_gettime(timer, &left));
    IS(left.it_value.tv_sec, 0);
    set.it_value.tv_nsec = -1;
    FAILS(timer_settime(timer, 0, &set, NULL), EINVAL);
}

CHECK(timers_are_not_inherited)
{
    struct itimerval set = {{0, 0}, {900, 0}}, left;
    OK(setitimer(ITIMER_REAL, &set, NULL));
    pid_t pid = OK(fork());
    if (pid == 0) {
        OK(getitimer(ITIMER_REAL, &left));
        IS(left.it_value.tv_sec, 0);
        _exit(0);
    }
    IS(ended(pid), 0);
}

CHECK(times_of_processes)
{
    struct tms used;
    TRUE(times(&used) != (clock_t)-1);
    IS(used.tms_cutime, 0);
    struct rusage usage;
    OK(getrusage(RUSAGE_SELF, &usage));
    OK(getrusage(RUSAGE_CHILDREN, &usage));
    FAILS(getrusage(99, &usage), EINVAL);
    clockid_t clock;
    IS(clock_getcpuclockid(0, &clock), 0);
    TRUE(now(clock) >= 0);
}

CHECK(processor_time_is_used_up)
{
    long long start = now(CLOCK_PROCESS_CPUTIME_ID), thread = now(CLOCK_THREAD_CPUTIME_ID);
    while (now(CLOCK_PROCESS_CPUTIME_ID) < start + 1000000)
        ;
    TRUE(now(CLOCK_THREAD_CPUTIME_ID) > thread);
}

CHECK(limits_of_processor_time)
{
    pid_t pid = OK(fork());
    if (pid == 0) {
        struct rlimit limit = {1, 2};
        OK(setrlimit(RLIMIT_CPU, &limit));
        on(SIGXCPU, note, 0);
        while (!notes)
            ;
        _exit(noted[0] == SIGXCPU ? 3 : 4);
    }
    IS(ended(pid), 3);
}

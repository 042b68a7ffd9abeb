/* Calls that a signal finds asleep. */
#include "check.h"

FAMILY("interrupt");

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

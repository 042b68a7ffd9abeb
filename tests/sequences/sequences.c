/* Random sequences of calls about processes and signals. `sequences FIRST LAST STEPS` plays the seeds [FIRST, LAST) and
   prints what every step answered; the same program must print the same on every kernel.

   The processes of a sequence are puppets: each sleeps in read until the director has it make one call. Before the next
   step all of them must be asleep, stopped or dead (/proc/PID/stat), so nothing depends on who is faster. What may
   differ between two right kernels is not printed: numbers of processes appear as the places of the puppets. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PUPPETS = 8, GONE = 90, DIRECTOR = 91, NOBODY = 92 };

static const int signals[] = {SIGHUP,  SIGINT,  SIGUSR1, SIGUSR2, SIGTERM, SIGCHLD,     SIGCONT,     SIGSTOP,
                              SIGTSTP, SIGTTIN, SIGURG,  SIGPIPE, SIGKILL, 34 /* real time */, 40, 64};

enum call {
    FORK, EXIT, KILL, KILL_GROUP, ACTION, MASK, PENDING, SET_GROUP, SET_SESSION, GET_GROUP, GET_SESSION, WAIT, WAIT_ID,
    QUEUE, TAKE, RAISE, PARENT, SUBREAPER, DEATH_SIGNAL, THREAD_KILL, CALLS
};
static const int weights[CALLS] = {12, 3, 12, 3, 12, 8, 4, 5, 1, 3, 2, 10, 6, 6, 5, 4, 3, 1, 2, 3};

struct puppet {
    volatile pid_t pid;
    volatile int call, a, b, c;
    volatile int answered, result, error, more[4];
    volatile unsigned seen;
};
static struct puppet *puppets, *self;
static int pipes[PUPPETS][2];
static int made; /* puppets that there have been */
static pid_t director;
static unsigned long long state;

static unsigned chance(unsigned below)
{
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (state >> 33) % below;
}

static int who(pid_t pid)
{
    if (pid == director)
        return DIRECTOR;
    for (int i = 0; i < PUPPETS; i++)
        if (pid > 0 && puppets[i].pid == pid)
            return i;
    return pid == 0 ? NOBODY : GONE;
}

static void seen(int number)
{
    if (number == SIGCHLD) /* how many become one depends on who is faster */
        self->seen |= 1u << 31;
    else
        self->seen = (self->seen & 1u << 31) | ((self->seen * 31 + number) & ~(1u << 31));
}

static sigset_t set_of(int bits)
{
    sigset_t set;
    sigemptyset(&set);
    for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++)
        if (bits >> i & 1)
            sigaddset(&set, signals[i]);
    return set;
}

static int bits_of(const sigset_t *set)
{
    int bits = 0;
    for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++)
        bits |= sigismember(set, signals[i]) << i;
    return bits;
}

static void perform(int place);

static void act(int place)
{
    char byte;
    self = &puppets[place];
    self->pid = getpid();
    self->answered = 1;
    for (;;)
        if (read(pipes[place][0], &byte, 1) == 1) {
            perform(place);
            self->answered = 1;
        }
}

static void perform(int place)
{
    static const int flags[] = {0, SA_RESTART, SA_NODEFER, SA_RESETHAND, SA_NOCLDSTOP, SA_NOCLDWAIT};
    int a = self->a, b = self->b, c = self->c, status = 0;
    pid_t pid;
    sigset_t set;
    siginfo_t info;
    memset(&info, 0, sizeof info);
    for (int i = 0; i < 4; i++)
        self->more[i] = 0;
    errno = 0;
    switch (self->call) {
    case FORK:
        pid = fork();
        if (pid == 0)
            act(a);
        while (pid > 0 && !puppets[a].answered)
            sched_yield();
        self->result = who(pid);
        break;
    case EXIT: _exit(a);
    case KILL: self->result = kill(puppets[a].pid, b); break;
    case KILL_GROUP: self->result = kill(c ? -puppets[a].pid : 0, b); break;
    case ACTION: {
        struct sigaction action = {.sa_handler = b == 0 ? SIG_DFL : b == 1 ? SIG_IGN : seen, .sa_flags = flags[c]}, old;
        self->result = sigaction(a, &action, &old);
        if (!self->result)
            self->more[0] = old.sa_handler == SIG_DFL ? 0 : old.sa_handler == SIG_IGN ? 1 : 2;
        break;
    }
    case MASK:
        set = set_of(b);
        sigset_t old;
        self->result = sigprocmask(a, &set, &old);
        self->more[0] = bits_of(&old);
        break;
    case PENDING:
        self->result = sigpending(&set);
        self->more[0] = bits_of(&set);
        break;
    case SET_GROUP: self->result = setpgid(puppets[a].pid, c ? puppets[b].pid : 0); break;
    case SET_SESSION: self->result = who(setsid()); break;
    case GET_GROUP: self->result = who(getpgid(puppets[a].pid)); break;
    case GET_SESSION: self->result = who(getsid(puppets[a].pid)); break;
    case WAIT:
        pid = waitpid(c == 0 ? -1 : c == 1 ? puppets[a].pid : c == 2 ? -puppets[a].pid : 0, &status, b | WNOHANG);
        self->result = who(pid);
        self->more[0] = pid > 0 ? status : 0;
        break;
    case WAIT_ID:
        self->result = waitid(c ? P_PID : P_ALL, puppets[a].pid, &info, b | WNOHANG);
        self->more[0] = info.si_code;
        self->more[1] = info.si_status;
        self->more[2] = who(info.si_pid);
        break;
    case QUEUE: self->result = sigqueue(puppets[a].pid, b, (union sigval){.sival_int = c}); break;
    case TAKE: {
        struct timespec none = {0, 0};
        set = set_of(a);
        self->result = sigtimedwait(&set, &info, &none);
        self->more[0] = info.si_code;
        if (info.si_code != SI_KERNEL && self->result > 0)
            self->more[1] = who(info.si_pid);
        if (info.si_code == SI_QUEUE)
            self->more[2] = info.si_value.sival_int;
        break;
    }
    case RAISE: self->result = raise(a); break;
    case PARENT: self->result = who(getppid()); break;
    case SUBREAPER: self->result = prctl(PR_SET_CHILD_SUBREAPER, a, 0, 0, 0); break;
    case DEATH_SIGNAL: self->result = prctl(PR_SET_PDEATHSIG, a, 0, 0, 0); break;
    case THREAD_KILL: self->result = syscall(SYS_tgkill, puppets[b].pid, puppets[a].pid, c); break;
    default: break;
    }
    self->error = self->result == -1 || self->result == GONE ? errno : 0;
    (void)place;
}

/* S, T, Z ...; X when it is not there any more. */
static char state_of(pid_t pid)
{
    char path[40], line[400], *end;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY);
    ssize_t size = fd < 0 ? -1 : read(fd, line, sizeof line - 1);
    if (fd >= 0)
        close(fd);
    if (size <= 0)
        return 'X';
    line[size] = 0;
    end = strrchr(line, ')');
    return end ? end[2] : '?';
}

/* Until nobody runs, two times in a row: who was seen asleep may have been woken by the next. */
static void settle(char *states)
{
    for (int quiet = 0; quiet < 2;) {
        quiet++;
        for (int i = 0; i < made; i++) {
            states[i] = state_of(puppets[i].pid);
            if (!strchr("STZX", states[i]))
                quiet = 0;
        }
        if (!quiet)
            sched_yield();
    }
}

static int dead(const char *states)
{
    int count = 0;
    for (int i = 0; i < made; i++)
        count += states[i] == 'Z' || states[i] == 'X';
    return count;
}

static int a_signal(void)
{
    return signals[chance(sizeof signals / sizeof *signals)];
}

static void choose(struct puppet *puppet)
{
    static const int waits[] = {0, WUNTRACED, WCONTINUED, WUNTRACED | WCONTINUED};
    static const int wait_ids[] = {WEXITED, WEXITED | WSTOPPED, WCONTINUED, WEXITED | WNOWAIT, WSTOPPED | WNOWAIT};
    int total = 0, pick, call = 0, other = chance(made), third = chance(made);
    for (int i = 0; i < CALLS; i++)
        total += weights[i];
    for (pick = chance(total); pick >= weights[call]; call++)
        pick -= weights[call];
    if (call == FORK && made == PUPPETS)
        call = WAIT;
    puppet->call = call;
    puppet->a = other;
    puppet->b = third;
    puppet->c = chance(3);
    switch (call) {
    case FORK: puppet->a = made; break;
    case EXIT: puppet->a = chance(256); break;
    case KILL: puppet->b = chance(8) ? a_signal() : chance(2) ? 0 : 99; break;
    case KILL_GROUP: puppet->b = chance(4) ? a_signal() : 0; break;
    case ACTION: puppet->a = a_signal(), puppet->b = chance(4), puppet->c = chance(6); break;
    case MASK: puppet->a = chance(3), puppet->b = chance(1 << 16) & chance(1 << 16); break;
    case WAIT: puppet->b = waits[chance(4)], puppet->c = chance(4); break;
    case WAIT_ID: puppet->b = wait_ids[chance(5)]; break;
    case QUEUE: puppet->b = a_signal(), puppet->c = chance(100); break;
    case TAKE: puppet->a = chance(1 << 16); break;
    case RAISE: puppet->a = a_signal(); break;
    case SUBREAPER: puppet->a = chance(2); break;
    case DEATH_SIGNAL: puppet->a = chance(2) ? a_signal() : 0; break;
    case THREAD_KILL: puppet->c = a_signal(), puppet->b = chance(4) ? other : third; break;
    default: break;
    }
}

static void direct(unsigned seed, int steps)
{
    char states[PUPPETS + 1] = {0};
    int status;
    state = seed * 2654435761ull + 12345;
    director = setsid(); /* a session of its own: the one it was started in may be out of sight, in another namespace */
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    made = 1;
    pid_t first = fork();
    if (first == 0) {
        setpgid(0, 0);
        act(0);
    }
    while (!puppets[0].answered)
        sched_yield();
    printf("seed %u\n", seed);
    for (int step = 0; step < steps; step++) {
        int place = -1;
        settle(states);
        for (int tries = 0; tries < 30 && place < 0; tries++) {
            int i = chance(made);
            if (states[i] == 'S')
                place = i;
        }
        if (place < 0) { /* all are dead or stopped */
            int alive = 0;
            for (int i = 0; i < made; i++)
                if (states[i] == 'T' || states[i] == 'S') {
                    alive = kill(puppets[i].pid, SIGCONT) == 0;
                    settle(states); /* it may die of what was pending, which its children are told */
                }
            if (!alive)
                break;
            continue;
        }
        struct puppet *puppet = &puppets[place];
        choose(puppet);
        puppet->answered = 0;
        if (puppet->call == FORK)
            made++;
        if (write(pipes[place][1], "", 1) != 1)
            abort();
        while (!puppet->answered && state_of(puppet->pid) == 'S')
            sched_yield(); /* it has not woken up yet */
        int before = dead(states);
        settle(states);
        if (puppet->call == KILL_GROUP && dead(states) != before)
            break; /* several have died at once: who first, and who saw it, is nobody's promise */
        printf("%d: %d does %d(%d %d %d)", step, place, puppet->call, puppet->a, puppet->b, puppet->c);
        if (puppet->answered && states[place] == 'S') /* who dies of its call may or may not have had an answer */
            printf(" = %d %d [%d %d %d]", puppet->result, puppet->error, puppet->more[0], puppet->more[1],
                   puppet->more[2]);
        int ends[PUPPETS];
        memset(ends, 0xff, sizeof ends);
        for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
            if (who(pid) < PUPPETS)
                ends[who(pid)] = status;
        for (int i = 0; i < made; i++) /* who of a group dies first is nobody's promise */
            if (ends[i] != -1)
                printf(", %d ended %x", i, ends[i]);
        for (int i = 0; i < made; i++)
            printf(" %c%x", states[i], puppets[i].seen);
        printf("\n");
    }
    for (int i = 0; i < made; i++)
        if (state_of(puppets[i].pid) != 'X')
            kill(puppets[i].pid, SIGKILL);
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
        ;
    fflush(stdout);
    _exit(0);
}

int main(int count, char **arguments)
{
    sigset_t none;
    if (count < 4)
        return 2;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (int number = 1; number < 65; number++) /* whatever the one who started it ignores */
        signal(number, SIG_DFL);
    for (unsigned seed = atoi(arguments[1]); seed < (unsigned)atoi(arguments[2]); seed++) {
        puppets = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        for (int i = 0; i < PUPPETS; i++)
            if (pipe(pipes[i]))
                return 3;
        pid_t pid = fork();
        if (pid == 0)
            direct(seed, atoi(arguments[3]));
        waitpid(pid, NULL, 0);
        munmap(puppets, 4096);
        for (int i = 0; i < PUPPETS; i++)
            close(pipes[i][0]), close(pipes[i][1]);
    }
    return 0;
}

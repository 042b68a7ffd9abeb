/* Runs the checks of a family, each in a child, and says how it went. */
#include "check.h"

volatile sig_atomic_t ticked, noted[64], notes;

static struct check *first, **last = &first;
static struct {
    char why[512];
    int failed;
} *report;

void add_check(struct check *check)
{
    *last = check;
    last = &check->next;
}

void fail(const char *where, const char *what, long long actual, long long expected)
{
    int number = errno;
    if (!__atomic_exchange_n(&report->failed, 1, __ATOMIC_SEQ_CST))
        snprintf(report->why, sizeof report->why, "%s: %s: %lld, not %lld (errno %d)", where, what, actual, expected,
                 number);
    _exit(99);
}

int ended(pid_t pid)
{
    int status;
    pid_t found;
    do
        found = waitpid(pid, &status, 0);
    while (found < 0 && errno == EINTR);
    if (found != pid)
        fail(WHERE, "waitpid", found, pid);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

pid_t child(void (*body)(void))
{
    pid_t pid = OK(fork());
    if (pid == 0) {
        body();
        _exit(0);
    }
    return pid;
}

void sleep_for_ever(void)
{
    for (;;)
        pause();
}

sigset_t set_of(int number)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, number);
    return set;
}

int file_of(const char *name, const char *content)
{
    int fd = OK(open(name, O_RDWR | O_CREAT | O_TRUNC, 0644));
    IS(pwrite(fd, content, strlen(content), 0), strlen(content));
    return fd;
}

void until_state(pid_t pid, const char *states)
{
    char path[64], line[512], *end;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    for (;;) {
        int fd = OK(open(path, O_RDONLY));
        ssize_t size = OK(read(fd, line, sizeof line - 1));
        close(fd);
        line[size] = 0;
        end = strrchr(line, ')');
        if (end && strchr(states, end[2]))
            return;
        sched_yield();
    }
}

static void tick(int number)
{
    (void)number;
    ticked++;
}

void ticks(int flags)
{
    on(SIGALRM, tick, flags);
    struct itimerval every = {{0, 3000}, {0, 3000}};
    OK(setitimer(ITIMER_REAL, &every, NULL));
}

void note(int number)
{
    if (notes < (int)COUNT(noted))
        noted[notes++] = number;
}

void on(int number, void (*handler)(int), int flags)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    OK(sigaction(number, &action, NULL));
}

static int run(struct check *check)
{
    char line[700];
    report->failed = 0;
    OK(mkdir(check->name, 0755));
    pid_t pid = OK(fork());
    if (pid == 0) {
        OK(chdir(check->name));
        OK(setpgid(0, 0));
        alarm(100); /* what hangs fails */
        check->run();
        _exit(0);
    }
    int status = ended(pid);
    kill(-pid, SIGKILL); /* what it left behind */
    if (status >= 128 && !report->failed)
        snprintf(line, sizeof line, "FAIL %s: signal %d\n", check->name, status - 128);
    else if (status || report->failed)
        snprintf(line, sizeof line, "FAIL %s: %s\n", check->name, report->failed ? report->why : "exit");
    else
        snprintf(line, sizeof line, "ok %s\n", check->name);
    IS(write(1, line, strlen(line)), strlen(line));
    return strncmp(line, "ok", 2) != 0;
}

int main(int count, char **arguments)
{
    int failures = 0;
    umask(022);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (int number = 1; number < 65; number++) /* whatever the one who started it ignores */
        signal(number, SIG_DFL);
    report = mmap(NULL, sizeof *report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (struct check *check = first; check; check = check->next)
        if (count > 1 && strcmp(check->family, arguments[1]) == 0 &&
            (count < 3 || strcmp(check->name, arguments[2]) == 0))
            failures += run(check);
    return failures;
}

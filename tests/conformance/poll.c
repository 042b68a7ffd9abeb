/* Waiting for several things: poll, select, epoll. */
#include "check.h"

#include <sys/epoll.h>
#include <sys/select.h>

FAMILY("poll");

static int ends[2];

static void fill(int fd)
{
    char block[4096] = {0};
    OK(fcntl(fd, F_SETFL, OK(fcntl(fd, F_GETFL)) | O_NONBLOCK));
    while (write(fd, block, sizeof block) > 0)
        ;
    IS(errno, EAGAIN);
}

static short polled(int fd, short events)
{
    struct pollfd one = {fd, events, -1};
    int count = OK(poll(&one, 1, 0));
    IS(count, one.revents != 0);
    return one.revents;
}

CHECK(poll_of_pipes)
{
    OK(pipe(ends));
    IS(polled(ends[0], POLLIN), 0);
    IS(polled(ends[1], POLLOUT), POLLOUT);
    IS(write(ends[1], "x", 1), 1);
    IS(polled(ends[0], POLLIN | POLLOUT), POLLIN);
    IS(polled(ends[0], 0), 0);
    fill(ends[1]);
    IS(polled(ends[1], POLLOUT), 0);
    close(ends[1]);
    IS(polled(ends[0], POLLIN), POLLIN | POLLHUP);
    OK(pipe(ends));
    close(ends[0]);
    IS(polled(ends[1], POLLOUT), POLLOUT | POLLERR);
    IS(polled(99, POLLIN), POLLNVAL);
    IS(polled(-1, POLLIN), 0);
    IS(polled(file_of("f", ""), POLLIN | POLLOUT), POLLIN | POLLOUT);
}

CHECK(poll_waits)
{
    OK(pipe(ends));
    pid_t parent = getpid(), pid = OK(fork());
    if (pid == 0) {
        until_state(parent, "S");
        IS(write(ends[1], "x", 1), 1);
        _exit(0);
    }
    struct pollfd both[2] = {{ends[0], POLLIN, 0}, {-5, POLLIN, 7}};
    IS(poll(both, 2, -1), 1);
    IS(both[0].revents, POLLIN);
    IS(both[1].revents, 0);
    IS(ended(pid), 0);
}

CHECK(poll_ends)
{
    OK(pipe(ends));
    struct pollfd one = {ends[0], POLLIN, 0};
    IS(poll(&one, 1, 5), 0);
    IS(poll(NULL, 0, 1), 0);
    ticks(SA_RESTART);
    FAILS(poll(&one, 1, -1), EINTR);
    FAILS(poll((struct pollfd *)8, 1, 0), EFAULT);
    struct rlimit limit;
    OK(getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur = 20;
    OK(setrlimit(RLIMIT_NOFILE, &limit));
    struct pollfd many[21] = {{0}};
    FAILS(poll(many, 21, 0), EINVAL);
}

CHECK(ppoll_swaps_the_mask)
{
    sigset_t set, none;
    sigemptyset(&none);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    on(SIGUSR1, note, 0);
    OK(sigprocmask(SIG_BLOCK, &set, NULL));
    OK(raise(SIGUSR1));
    struct timespec wrong = {0, 1000000000}, brief = {0, 0};
    FAILS(ppoll(NULL, 0, &wrong, NULL), EINVAL);
    IS(ppoll(NULL, 0, &brief, &set), 0);
    IS(notes, 0);
    FAILS(ppoll(NULL, 0, NULL, &none), EINTR);
    IS(notes, 1);
    OK(sigprocmask(SIG_BLOCK, NULL, &none));
    IS(sigismember(&none, SIGUSR1), 1);
}

CHECK(select_of_pipes)
{
    fd_set in, out, bad;
    struct timeval none = {0, 0};
    OK(pipe(ends));
    FD_ZERO(&in);
    FD_ZERO(&out);
    FD_ZERO(&bad);
    FD_SET(ends[0], &in);
    FD_SET(ends[1], &out);
    FD_SET(ends[0], &bad);
    IS(select(ends[1] + 1, &in, &out, &bad, &none), 1);
    TRUE(!FD_ISSET(ends[0], &in) && FD_ISSET(ends[1], &out) && !FD_ISSET(ends[0], &bad));
    close(ends[1]);
    FD_SET(ends[0], &in);
    IS(select(ends[0] + 1, &in, NULL, NULL, NULL), 1);
    FD_SET(33, &in);
    FAILS(select(34, &in, NULL, NULL, &none), EBADF);
    FAILS(select(-1, NULL, NULL, NULL, &none), EINVAL);
    none.tv_sec = -1;
    FAILS(select(0, NULL, NULL, NULL, &none), EINVAL);
}

CHECK(select_changes_the_timeout)
{
    struct timeval brief = {0, 2000}, longer = {5, 0};
    IS(select(0, NULL, NULL, NULL, &brief), 0);
    IS(brief.tv_sec, 0);
    IS(brief.tv_usec, 0);
    ticks(SA_RESTART);
    FAILS(select(0, NULL, NULL, NULL, &longer), EINTR);
    TRUE(longer.tv_sec < 5);
    struct timespec constant = {0, 2000};
    ticked = 0;
    while (pselect(0, NULL, NULL, NULL, &constant, NULL))
        IS(errno, EINTR);
    IS(constant.tv_nsec, 2000);
}

static int watch(int epoll, int operation, int fd, unsigned events)
{
    struct epoll_event event = {.events = events, .data.u64 = 0x123456789abcdef0ull + fd};
    return epoll_ctl(epoll, operation, fd, &event);
}

CHECK(epoll_tells_with_data)
{
    struct epoll_event events[4];
    int epoll = OK(epoll_create1(EPOLL_CLOEXEC));
    OK(pipe(ends));
    OK(watch(epoll, EPOLL_CTL_ADD, ends[0], EPOLLIN));
    IS(epoll_wait(epoll, events, 4, 0), 0);
    IS(write(ends[1], "x", 1), 1);
    IS(epoll_wait(epoll, events, 4, -1), 1);
    IS(events[0].events, EPOLLIN);
    IS(events[0].data.u64, 0x123456789abcdef0ull + ends[0]);
    IS(epoll_wait(epoll, events, 4, 0), 1); /* as long as it is so */
}

CHECK(epoll_edges)
{
    struct epoll_event events[4];
    char byte;
    int epoll = OK(epoll_create1(0));
    OK(pipe(ends));
    OK(watch(epoll, EPOLL_CTL_ADD, ends[0], EPOLLIN | EPOLLET));
    IS(write(ends[1], "xy", 2), 2);
    IS(epoll_wait(epoll, events, 4, 0), 1);
    IS(epoll_wait(epoll, events, 4, 0), 0);
    IS(read(ends[0], &byte, 1), 1);
    IS(epoll_wait(epoll, events, 4, 0), 0);
    IS(write(ends[1], "z", 1), 1);
    IS(epoll_wait(epoll, events, 4, 0), 1);
}

CHECK(epoll_once)
{
    struct epoll_event events[4];
    int epoll = OK(epoll_create1(0));
    OK(pipe(ends));
    OK(watch(epoll, EPOLL_CTL_ADD, ends[1], EPOLLOUT | EPOLLONESHOT));
    IS(epoll_wait(epoll, events, 4, 0), 1);
    IS(epoll_wait(epoll, events, 4, 0), 0);
    OK(watch(epoll, EPOLL_CTL_MOD, ends[1], EPOLLOUT | EPOLLONESHOT));
    IS(epoll_wait(epoll, events, 4, 0), 1);
}

CHECK(epoll_refusals)
{
    struct epoll_event event;
    int epoll = OK(epoll_create1(0)), file = file_of("f", "");
    OK(pipe(ends));
    FAILS(watch(epoll, EPOLL_CTL_ADD, file, EPOLLIN), EPERM);
    FAILS(watch(epoll, EPOLL_CTL_ADD, epoll, EPOLLIN), EINVAL);
    FAILS(watch(epoll, EPOLL_CTL_ADD, 99, EPOLLIN), EBADF);
    FAILS(watch(ends[0], EPOLL_CTL_ADD, ends[1], EPOLLIN), EINVAL);
    FAILS(watch(epoll, EPOLL_CTL_DEL, ends[0], 0), ENOENT);
    FAILS(watch(epoll, EPOLL_CTL_MOD, ends[0], 0), ENOENT);
    FAILS(watch(epoll, 9, ends[0], 0), EINVAL);
    OK(watch(epoll, EPOLL_CTL_ADD, ends[0], EPOLLIN));
    FAILS(watch(epoll, EPOLL_CTL_ADD, ends[0], EPOLLIN), EEXIST);
    FAILS(epoll_wait(epoll, &event, 0, 0), EINVAL);
    FAILS(epoll_wait(file, &event, 1, 0), EINVAL);
    FAILS(epoll_create(0), EINVAL);
    FAILS(epoll_create1(1), EINVAL);
}

CHECK(epoll_in_epoll)
{
    struct epoll_event events[4];
    int inner = OK(epoll_create1(0)), outer = OK(epoll_create1(0));
    OK(pipe(ends));
    OK(watch(inner, EPOLL_CTL_ADD, ends[0], EPOLLIN));
    OK(watch(outer, EPOLL_CTL_ADD, inner, EPOLLIN));
    FAILS(watch(inner, EPOLL_CTL_ADD, outer, EPOLLIN), ELOOP);
    IS(epoll_wait(outer, events, 4, 0), 0);
    IS(polled(inner, POLLIN), 0);
    IS(write(ends[1], "x", 1), 1);
    IS(epoll_wait(outer, events, 4, 0), 1);
    IS(polled(inner, POLLIN), POLLIN);
}

CHECK(epoll_forgets_what_is_closed)
{
    struct epoll_event events[4];
    int epoll = OK(epoll_create1(0));
    OK(pipe(ends));
    OK(watch(epoll, EPOLL_CTL_ADD, ends[1], EPOLLOUT));
    int copy = OK(dup(ends[1]));
    close(ends[1]);
    IS(epoll_wait(epoll, events, 4, 0), 1); /* the description lives on */
    close(copy);
    IS(epoll_wait(epoll, events, 4, 0), 0);
}

CHECK(epoll_wait_ends)
{
    struct epoll_event events[4];
    int epoll = OK(epoll_create1(0));
    IS(epoll_wait(epoll, events, 4, 2), 0);
    ticks(SA_RESTART);
    FAILS(epoll_wait(epoll, events, 4, -1), EINTR);
    OK(pipe(ends));
    OK(watch(epoll, EPOLL_CTL_ADD, ends[0], EPOLLIN));
    pid_t pid = OK(fork());
    if (pid == 0) {
        IS(write(ends[1], "x", 1), 1);
        _exit(0);
    }
    int count;
    while ((count = epoll_wait(epoll, events, 4, -1)) < 0)
        IS(errno, EINTR);
    IS(count, 1);
}

CHECK(epoll_is_fair)
{
    struct epoll_event event;
    int epoll = OK(epoll_create1(0)), seen = 0, pipes[4][2];
    for (int i = 0; i < 4; i++) {
        OK(pipe(pipes[i]));
        OK(watch(epoll, EPOLL_CTL_ADD, pipes[i][1], EPOLLOUT));
    }
    for (int i = 0; i < 4; i++) {
        IS(epoll_wait(epoll, &event, 1, 0), 1);
        for (int j = 0; j < 4; j++)
            if (event.data.u64 == 0x123456789abcdef0ull + pipes[j][1])
                seen |= 1 << j;
    }
    IS(seen, 15);
}

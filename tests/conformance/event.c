/* Things that are files only because they have a descriptor: eventfd, timerfd, signalfd, inotify. */
#include "check.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

FAMILY("event");

static int ready(int fd, short events)
{
    struct pollfd one = {fd, events, 0};
    OK(poll(&one, 1, 0));
    return one.revents;
}

CHECK(counters_add_up)
{
    int fd = OK(eventfd(3, EFD_NONBLOCK));
    uint64_t value = 4;
    IS(ready(fd, POLLIN | POLLOUT), POLLIN | POLLOUT);
    IS(write(fd, &value, 8), 8);
    IS(read(fd, &value, 8), 8);
    IS(value, 7);
    FAILS(read(fd, &value, 8), EAGAIN);
    IS(ready(fd, POLLIN | POLLOUT), POLLOUT);
    FAILS(read(fd, &value, 7), EINVAL);
    FAILS(write(fd, &value, 4), EINVAL);
    value = ~0ull;
    FAILS(write(fd, &value, 8), EINVAL);
    value = ~0ull - 1;
    IS(write(fd, &value, 8), 8);
    IS(ready(fd, POLLIN | POLLOUT), POLLIN);
    value = 1;
    FAILS(write(fd, &value, 8), EAGAIN);
    FAILS(eventfd(0, 0x100), EINVAL);
}

CHECK(counters_as_semaphores)
{
    int fd = OK(eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK | EFD_CLOEXEC));
    uint64_t value;
    IS(read(fd, &value, 8), 8);
    IS(value, 1);
    IS(read(fd, &value, 8), 8);
    FAILS(read(fd, &value, 8), EAGAIN);
    IS(fcntl(fd, F_GETFD), FD_CLOEXEC);
}

CHECK(counters_wake)
{
    int fd = OK(eventfd(0, 0));
    pid_t parent = getpid(), pid = OK(fork());
    uint64_t value = 9;
    if (pid == 0) {
        until_state(parent, "S");
        IS(write(fd, &value, 8), 8);
        _exit(0);
    }
    value = 0;
    IS(read(fd, &value, 8), 8);
    IS(value, 9);
    IS(ended(pid), 0);
}

CHECK(timer_descriptors)
{
    int fd = OK(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
    uint64_t count;
    struct itimerspec set = {{0, 1000000}, {0, 1000000}}, now;
    FAILS(read(fd, &count, 8), EAGAIN);
    OK(timerfd_settime(fd, 0, &set, NULL));
    struct pollfd one = {fd, POLLIN, 0};
    IS(poll(&one, 1, -1), 1);
    IS(read(fd, &count, 8), 8);
    TRUE(count >= 1);
    OK(timerfd_gettime(fd, &now));
    IS(now.it_interval.tv_nsec, 1000000);
    memset(&set, 0, sizeof set);
    OK(timerfd_settime(fd, 0, &set, &now));
    IS(now.it_interval.tv_nsec, 1000000);
    OK(timerfd_gettime(fd, &now));
    IS(now.it_value.tv_nsec, 0);
    FAILS(read(fd, &count, 4), EINVAL);
}

CHECK(timer_descriptors_are_checked)
{
    struct itimerspec set = {{0, 0}, {0, 2000000000}};
    int fd = OK(timerfd_create(CLOCK_REALTIME, 0));
    FAILS(timerfd_create(99, 0), EINVAL);
    FAILS(timerfd_create(CLOCK_MONOTONIC, 0x100), EINVAL);
    FAILS(timerfd_settime(fd, 0, &set, NULL), EINVAL);
    set.it_value.tv_nsec = 0;
    FAILS(timerfd_settime(fd, 99, &set, NULL), EINVAL);
    FAILS(timerfd_settime(file_of("f", ""), 0, &set, NULL), EINVAL);
    FAILS(timerfd_settime(99, 0, &set, NULL), EBADF);
}

CHECK(absolute_timer_descriptors)
{
    int fd = OK(timerfd_create(CLOCK_REALTIME, 0));
    struct itimerspec past = {{0, 0}, {1, 0}};
    uint64_t count = 0;
    OK(timerfd_settime(fd, TFD_TIMER_ABSTIME, &past, NULL));
    IS(read(fd, &count, 8), 8);
    IS(count, 1);
}

static int signals(int number, int flags)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, number);
    OK(sigprocmask(SIG_BLOCK, &set, NULL));
    return OK(signalfd(-1, &set, flags));
}

CHECK(signals_are_read)
{
    int fd = signals(SIGUSR1, SFD_NONBLOCK);
    struct signalfd_siginfo info[2];
    FAILS(read(fd, info, sizeof info), EAGAIN);
    IS(ready(fd, POLLIN), 0);
    OK(kill(getpid(), SIGUSR1));
    IS(ready(fd, POLLIN), POLLIN);
    IS(read(fd, info, sizeof info), sizeof *info);
    IS(info[0].ssi_signo, SIGUSR1);
    IS(info[0].ssi_pid, getpid());
    IS(info[0].ssi_code, SI_USER);
    FAILS(read(fd, info, 10), EINVAL);
}

CHECK(queued_values_are_read)
{
    int fd = signals(SIGRTMIN, 0);
    struct signalfd_siginfo info[3];
    OK(sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 5}));
    OK(sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 6}));
    IS(read(fd, info, sizeof info), 2 * sizeof *info);
    IS(info[0].ssi_int, 5);
    IS(info[1].ssi_int, 6);
}

CHECK(signal_sets_can_be_changed)
{
    int fd = signals(SIGUSR1, SFD_NONBLOCK);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    IS(signalfd(fd, &set, 0), fd);
    OK(raise(SIGUSR1));
    IS(ready(fd, POLLIN), 0);
    FAILS(signalfd(file_of("f", ""), &set, 0), EINVAL);
    FAILS(signalfd(-1, &set, 0x100), EINVAL);
    FAILS(signalfd(99, &set, 0), EBADF);
}

CHECK(children_through_signal_descriptors)
{
    int fd = signals(SIGCHLD, 0);
    struct signalfd_siginfo info;
    pid_t pid = OK(fork());
    if (pid == 0)
        _exit(3);
    IS(read(fd, &info, sizeof info), sizeof info);
    IS(info.ssi_pid, pid);
    IS(info.ssi_status, 3);
    IS(ended(pid), 3);
}

static int watcher;
static char buffer[4096] __attribute__((aligned(8)));

/* The next event has this mask, descriptor and name. */
static void event_is(unsigned mask, int watch, const char *name)
{
    static ssize_t size, at;
    if (at >= size) {
        size = OK(read(watcher, buffer, sizeof buffer));
        at = 0;
    }
    struct inotify_event *event = (void *)(buffer + at);
    at += sizeof *event + event->len;
    IS(event->mask, mask);
    IS(event->wd, watch);
    IS(strcmp(event->len ? event->name : "", name), 0);
}

CHECK(changes_in_a_directory)
{
    OK(mkdir("d", 0755));
    watcher = OK(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    FAILS(read(watcher, buffer, sizeof buffer), EAGAIN);
    int watch = OK(inotify_add_watch(watcher, "d", IN_ALL_EVENTS & ~(IN_ACCESS | IN_OPEN | IN_CLOSE_NOWRITE)));
    int fd = OK(open("d/f", O_CREAT | O_WRONLY, 0644));
    event_is(IN_CREATE, watch, "f");
    IS(write(fd, "x", 1), 1);
    event_is(IN_MODIFY, watch, "f");
    close(fd);
    event_is(IN_CLOSE_WRITE, watch, "f");
    OK(chmod("d/f", 0600));
    event_is(IN_ATTRIB, watch, "f");
    OK(rename("d/f", "d/g"));
    event_is(IN_MOVED_FROM, watch, "f");
    event_is(IN_MOVED_TO, watch, "g");
    OK(unlink("d/g"));
    event_is(IN_DELETE, watch, "g");
    OK(mkdir("d/e", 0755));
    event_is(IN_CREATE | IN_ISDIR, watch, "e");
    OK(rmdir("d/e"));
    event_is(IN_DELETE | IN_ISDIR, watch, "e");
    OK(rmdir("d"));
    event_is(IN_DELETE_SELF, watch, "");
    event_is(IN_IGNORED, watch, "");
}

CHECK(watches_are_checked)
{
    watcher = OK(inotify_init1(IN_NONBLOCK));
    FAILS(inotify_add_watch(watcher, "missing", IN_CREATE), ENOENT);
    FAILS(inotify_add_watch(watcher, ".", 0), EINVAL);
    FAILS(inotify_add_watch(0, ".", IN_CREATE), EINVAL);
    close(file_of("f", ""));
    FAILS(inotify_add_watch(watcher, "f", IN_MODIFY | IN_ONLYDIR), ENOTDIR);
    int watch = OK(inotify_add_watch(watcher, "f", IN_MODIFY));
    IS(inotify_add_watch(watcher, "f", IN_ATTRIB), watch);
    OK(inotify_rm_watch(watcher, watch));
    event_is(IN_IGNORED, watch, "");
    FAILS(inotify_rm_watch(watcher, watch), EINVAL);
    FAILS(inotify_init1(0x100), EINVAL);
}

CHECK(equal_events_are_one)
{
    watcher = OK(inotify_init1(IN_NONBLOCK));
    int fd = file_of("f", ""), watch = OK(inotify_add_watch(watcher, "f", IN_MODIFY | IN_ONESHOT));
    IS(write(fd, "x", 1), 1);
    IS(write(fd, "y", 1), 1);
    event_is(IN_MODIFY, watch, "");
    event_is(IN_IGNORED, watch, "");
    FAILS(read(watcher, buffer, sizeof buffer), EAGAIN);
}

CHECK(all_of_them_in_one_epoll)
{
    struct epoll_event event, seen[4];
    int epoll = OK(epoll_create1(0)), files[4];
    uint64_t value = 1;
    files[0] = OK(eventfd(0, 0));
    files[1] = OK(timerfd_create(CLOCK_MONOTONIC, 0));
    files[2] = signals(SIGUSR1, 0);
    files[3] = OK(inotify_init());
    for (int i = 0; i < 4; i++) {
        event = (struct epoll_event){.events = EPOLLIN, .data.u32 = i};
        OK(epoll_ctl(epoll, EPOLL_CTL_ADD, files[i], &event));
    }
    IS(epoll_wait(epoll, seen, 4, 0), 0);
    IS(write(files[0], &value, 8), 8);
    IS(epoll_wait(epoll, seen, 4, -1), 1);
    IS(read(files[0], &value, 8), 8);
    struct itimerspec set = {{0, 0}, {0, 1000}};
    OK(timerfd_settime(files[1], 0, &set, NULL));
    IS(epoll_wait(epoll, seen, 4, -1), 1);
    IS(seen[0].data.u32, 1);
    IS(read(files[1], &value, 8), 8);
    OK(raise(SIGUSR1));
    IS(epoll_wait(epoll, seen, 4, -1), 1);
    IS(seen[0].data.u32, 2);
    OK(inotify_add_watch(files[3], ".", IN_CREATE));
    close(file_of("f", ""));
    IS(epoll_wait(epoll, seen, 4, -1), 2);
}

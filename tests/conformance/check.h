/* A suite of checks that say for themselves what they expect of the kernel. Each CHECK runs in a process and an empty
   directory of its own and prints one line, `ok NAME` or `FAIL NAME: why`; nothing it expects depends on how long
   something takes. `conformance FAMILY` runs a family and exits with the number of checks that failed. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct check {
    const char *family, *name;
    void (*run)(void);
    struct check *next;
};

void add_check(struct check *check);
void fail(const char *where, const char *what, long long actual, long long expected) __attribute__((noreturn));

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)
#define WHERE __FILE__ ":" TEXT(__LINE__)

/* At the head of a file: FAMILY("process"); then CHECK(name) { ... } as often as wanted. */
#define FAMILY(text) static const char family[] = text
#define CHECK(title)                                                            \
    static void title(void);                                                    \
    __attribute__((constructor)) static void add_##title(void)                  \
    {                                                                           \
        static struct check check = {family, #title, title, NULL};              \
        add_check(&check);                                                      \
    }                                                                           \
    static void title(void)

#define TRUE(condition)                                                         \
    do {                                                                        \
        if (!(condition))                                                       \
            fail(WHERE, #condition, 0, 1);                                      \
    } while (0)

#define IS(call, value)                                                         \
    do {                                                                        \
        long long actual_ = (long long)(call), expected_ = (long long)(value);  \
        if (actual_ != expected_)                                               \
            fail(WHERE, #call, actual_, expected_);                             \
    } while (0)

/* -1 and that errno. */
#define FAILS(call, number)                                                     \
    do {                                                                        \
        errno = 0;                                                              \
        long long actual_ = (long long)(call);                                  \
        int errno_ = errno;                                                     \
        if (actual_ != -1)                                                      \
            fail(WHERE, #call, actual_, -1);                                    \
        if (errno_ != (number))                                                 \
            fail(WHERE, "errno of " #call, errno_, (number));                   \
    } while (0)

/* The result of a call that must not fail. */
#define OK(call)                                                                \
    ({                                                                          \
        long long result_ = (long long)(call);                                  \
        if (result_ == -1)                                                      \
            fail(WHERE, #call, -errno, 0);                                      \
        result_;                                                                \
    })

#define SAME(bytes, expected, size) TRUE(memcmp((bytes), (expected), (size)) == 0)
#define COUNT(array) (sizeof(array) / sizeof *(array))

/* The exit status of a child, 128 + n when signal n ended it. */
int ended(pid_t pid);
/* A child that runs `body` and exits with 0 if nothing in it fails. */
pid_t child(void (*body)(void));
/* For `child`: until a signal ends it. */
void sleep_for_ever(void);
sigset_t set_of(int number);
/* A file of this content; a descriptor open for reading and writing, at the start. */
int file_of(const char *name, const char *content);
/* Waits until the task sleeps or is stopped: its state as /proc has it. */
void until_state(pid_t pid, const char *states);
/* SIGALRM every few milliseconds from now on, to a handler that counts it: interrupts whatever waits, however late
   the wait begins. `flags` as of sigaction. */
void ticks(int flags);
extern volatile sig_atomic_t ticked;
/* Signals that `note` has seen, in order. */
extern volatile sig_atomic_t noted[64], notes;
void note(int number);
void on(int number, void (*handler)(int), int flags);

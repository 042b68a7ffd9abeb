/* Futexes: the calls themselves, robust and inheriting locks. */
#include "check.h"

#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>

FAMILY("futex");

struct kernel_time { /* what SYS_futex takes: its words are the machine's */
    long seconds, nanoseconds;
};

static long futex(void *word, int operation, unsigned value, const void *timeout, void *other, unsigned third)
{
    return syscall(SYS_futex, word, operation, value, timeout, other, third);
}

static _Atomic unsigned word, second;
static _Atomic int tids[64], done;

static pthread_t start(void *(*body)(void *), void *argument)
{
    pthread_t thread;
    IS(pthread_create(&thread, NULL, body, argument), 0);
    return thread;
}

static long sum;

CHECK(futex_waits_only_for_its_value)
{
    word = 1;
    FAILS(futex(&word, FUTEX_WAIT, 2, NULL, NULL, 0), EAGAIN);
    FAILS(futex(&word, FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0), EAGAIN);
    FAILS(futex((char *)&word + 1, FUTEX_WAIT, 1, NULL, NULL, 0), EINVAL);
    FAILS(futex((void *)8, FUTEX_WAIT, 1, NULL, NULL, 0), EFAULT);
    FAILS(futex(&word, 100, 1, NULL, NULL, 0), ENOSYS);
    FAILS(futex(&word, FUTEX_WAIT_BITSET, 1, NULL, NULL, 0), EINVAL);
    IS(futex(&word, FUTEX_WAKE, 5, NULL, NULL, 0), 0);
}

CHECK(futex_times_out)
{
    struct kernel_time brief = {0, 1000000}, wrong = {0, 2000000000}, past = {1, 0};
    word = 1;
    FAILS(futex(&word, FUTEX_WAIT, 1, &brief, NULL, 0), ETIMEDOUT);
    FAILS(futex(&word, FUTEX_WAIT, 1, &wrong, NULL, 0), EINVAL);
    FAILS(futex(&word, FUTEX_WAIT_BITSET, 1, &past, NULL, ~0u), ETIMEDOUT);
    FAILS(futex(&word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 1, &past, NULL, ~0u), ETIMEDOUT);
}

CHECK(futex_is_interrupted)
{
    struct kernel_time long_time = {1000, 0};
    ticks(0);
    FAILS(futex(&word, FUTEX_WAIT, 0, &long_time, NULL, 0), EINTR);
    FAILS(futex(&word, FUTEX_WAIT, 0, NULL, NULL, 0), EINTR);
}

static void *wait_on_word(void *argument)
{
    tids[(intptr_t)argument] = syscall(SYS_gettid);
    long result = futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, NULL, 1u << (intptr_t)argument);
    done++;
    return (void *)result;
}

/* Threads that all sleep on `word`, the n-th with bit n. */
static void sleepers(pthread_t *threads, int count)
{
    for (intptr_t i = 0; i < count; i++)
        threads[i] = start(wait_on_word, (void *)i);
    for (int i = 0; i < count; i++) {
        while (!tids[i])
            sched_yield();
        until_state(tids[i], "S");
    }
}

CHECK(futex_wakes_as_many_as_asked)
{
    pthread_t threads[4];
    sleepers(threads, 4);
    IS(futex(&word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0), 1);
    IS(futex(&word, FUTEX_WAKE_PRIVATE, 2, NULL, NULL, 0), 2);
    IS(futex(&word, FUTEX_WAKE_PRIVATE, 9, NULL, NULL, 0), 1);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
}

CHECK(futex_wakes_by_bit)
{
    pthread_t threads[3];
    sleepers(threads, 3);
    IS(futex(&word, FUTEX_WAKE_BITSET_PRIVATE, 9, NULL, NULL, 8), 0);
    IS(futex(&word, FUTEX_WAKE_BITSET_PRIVATE, 9, NULL, NULL, 2), 1);
    pthread_join(threads[1], NULL);
    IS(futex(&word, FUTEX_WAKE_BITSET_PRIVATE, 9, NULL, NULL, 5), 2);
}

CHECK(futex_requeues)
{
    pthread_t threads[3];
    sleepers(threads, 3);
    FAILS(futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)9, &second, 77), EAGAIN);
    IS(futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)9, &second, 0), 3);
    IS(futex(&word, FUTEX_WAKE_PRIVATE, 9, NULL, NULL, 0), 0);
    IS(futex(&second, FUTEX_WAKE_PRIVATE, 9, NULL, NULL, 0), 2);
}

CHECK(futex_wake_op)
{
    pthread_t threads[2];
    second = 5;
    sleepers(threads, 2);
    int add_three_if_five = FUTEX_OP(FUTEX_OP_ADD, 3, FUTEX_OP_CMP_EQ, 5);
    IS(futex(&word, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &second, add_three_if_five), 1);
    IS(second, 8);
    IS(futex(&second, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &word, FUTEX_OP(FUTEX_OP_OR, 1, FUTEX_OP_CMP_EQ, 0)), 1);
    IS(word, 1);
}

CHECK(clearing_the_tid_wakes)
{
    static _Atomic int tid;
    int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
    static char stack[65536] __attribute__((aligned(64)));
    int body(void *argument)
    {
        (void)argument;
        return 0;
    }
    tid = -1;
    TRUE(clone(body, stack + sizeof stack, flags | CLONE_CHILD_CLEARTID | CLONE_PARENT_SETTID, NULL, &tid, NULL,
               &tid) > 0);
    for (int value; (value = tid);)
        futex(&tid, FUTEX_WAIT, value, NULL, NULL, 0);
}

static void *die_with_lock(void *argument)
{
    pthread_mutex_lock(argument);
    return NULL;
}

CHECK(robust_mutexes)
{
    pthread_mutexattr_t attributes;
    static pthread_mutex_t robust;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&robust, &attributes);
    pthread_join(start(die_with_lock, &robust), NULL);
    IS(pthread_mutex_lock(&robust), EOWNERDEAD);
    IS(pthread_mutex_consistent(&robust), 0);
    IS(pthread_mutex_unlock(&robust), 0);
}

static void *hold_priority(void *argument)
{
    pthread_mutex_lock(argument);
    sum++;
    pthread_mutex_unlock(argument);
    return NULL;
}

CHECK(priority_inheritance)
{
    pthread_mutexattr_t attributes;
    static pthread_mutex_t inheriting;
    pthread_mutexattr_init(&attributes);
    IS(pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT), 0);
    IS(pthread_mutex_init(&inheriting, &attributes), 0);
    IS(pthread_mutex_lock(&inheriting), 0);
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        threads[i] = start(hold_priority, &inheriting);
    for (int i = 0; i < 10; i++)
        sched_yield();
    IS(sum, 0);
    IS(pthread_mutex_unlock(&inheriting), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    IS(sum, 3);
    FAILS(futex(&word, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0), EPERM);
    word = syscall(SYS_gettid);
    FAILS(futex(&word, FUTEX_LOCK_PI, 0, NULL, NULL, 0), EDEADLK);
}

static void *die_with_waiter(void *argument)
{
    pthread_mutex_lock(argument);
    done = 1;
    until_state(getpid(), "S");
    return NULL;
}

CHECK(dying_owner_is_inherited)
{
    pthread_mutexattr_t attributes;
    static pthread_mutex_t mutex;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&mutex, &attributes);
    pthread_t thread = start(die_with_waiter, &mutex);
    while (!done)
        sched_yield();
    IS(pthread_mutex_lock(&mutex), EOWNERDEAD);
    IS(pthread_mutex_consistent(&mutex), 0);
    IS(pthread_mutex_unlock(&mutex), 0);
    pthread_join(thread, NULL);
    IS(pthread_mutex_lock(&mutex), 0);
    IS(pthread_mutex_unlock(&mutex), 0);
}

CHECK(robust_between_processes)
{
    pthread_mutexattr_t attributes;
    pthread_mutex_t *robust = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(robust, &attributes);
    pid_t pid = OK(fork());
    if (pid == 0) {
        pthread_mutex_lock(robust);
        raise(SIGKILL);
    }
    IS(ended(pid), 128 + SIGKILL);
    IS(pthread_mutex_lock(robust), EOWNERDEAD);
}

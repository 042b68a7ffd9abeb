/* Threads and futexes: what libraries build on, and the calls themselves. */
#include "check.h"

#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

FAMILY("thread");

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

static void *give_back(void *argument)
{
    return argument;
}

CHECK(create_and_join)
{
    void *result;
    IS(pthread_join(start(give_back, &word), &result), 0);
    TRUE(result == &word);
}

static void *keep_ids(void *argument)
{
    tids[(intptr_t)argument] = syscall(SYS_gettid);
    IS(getpid(), getpgrp());
    return NULL;
}

CHECK(one_process_many_ids)
{
    pthread_t threads[20];
    for (intptr_t i = 0; i < 20; i++)
        threads[i] = start(keep_ids, (void *)i);
    for (int i = 0; i < 20; i++)
        IS(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < 20; i++) {
        TRUE(tids[i] > 0 && tids[i] != getpid());
        for (int j = 0; j < i; j++)
            TRUE(tids[i] != tids[j]);
    }
}

static _Thread_local int own = 17;

static void *change_own(void *argument)
{
    (void)argument;
    IS(own, 17);
    own = 18;
    return NULL;
}

CHECK(storage_per_thread)
{
    own = 5;
    IS(pthread_join(start(change_own, NULL), NULL), 0);
    IS(own, 5);
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static long sum;

static void *add_many(void *argument)
{
    for (int i = 0; i < 500; i++) {
        pthread_mutex_lock(&mutex);
        long before = sum;
        if (i % 50 == 0)
            sched_yield();
        sum = before + 1;
        pthread_mutex_unlock(&mutex);
    }
    return argument;
}

CHECK(mutual_exclusion)
{
    pthread_t threads[8];
    for (int i = 0; i < 8; i++)
        threads[i] = start(add_many, NULL);
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    IS(sum, 4000);
}

static void *add_atomically(void *argument)
{
    for (int i = 0; i < 3000; i++)
        atomic_fetch_add(&word, 1);
    return argument;
}

CHECK(atomic_additions)
{
    pthread_t threads[8];
    for (int i = 0; i < 8; i++)
        threads[i] = start(add_atomically, NULL);
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    IS(word, 24000);
}

static void *take_turns(void *argument)
{
    for (int i = 0; i < 100; i++) {
        pthread_mutex_lock(&mutex);
        while (sum % 2 != (intptr_t)argument)
            pthread_cond_wait(&condition, &mutex);
        sum++;
        pthread_cond_broadcast(&condition);
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}

CHECK(conditions)
{
    pthread_t one = start(take_turns, (void *)0), other = start(take_turns, (void *)1);
    pthread_join(one, NULL);
    pthread_join(other, NULL);
    IS(sum, 200);
}

CHECK(conditions_time_out)
{
    struct timespec when;
    clock_gettime(CLOCK_REALTIME, &when);
    when.tv_nsec += 1000000;
    if (when.tv_nsec >= 1000000000)
        when.tv_sec++, when.tv_nsec -= 1000000000;
    pthread_mutex_lock(&mutex);
    IS(pthread_cond_timedwait(&condition, &mutex, &when), ETIMEDOUT);
}

static pthread_barrier_t barrier;

static void *meet(void *argument)
{
    for (int i = 0; i < 10; i++) {
        atomic_fetch_add(&word, 1);
        pthread_barrier_wait(&barrier);
        TRUE(word >= 4u * (i + 1));
        pthread_barrier_wait(&barrier);
    }
    return argument;
}

CHECK(barriers)
{
    pthread_t threads[4];
    pthread_barrier_init(&barrier, NULL, 4);
    for (int i = 0; i < 4; i++)
        threads[i] = start(meet, NULL);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    IS(word, 40);
}

static sem_t full, empty;

static void *produce(void *argument)
{
    for (int i = 1; i <= 50; i++) {
        sem_wait(&empty);
        sum = i;
        sem_post(&full);
    }
    return argument;
}

CHECK(semaphores)
{
    sem_init(&full, 0, 0);
    sem_init(&empty, 0, 1);
    pthread_t thread = start(produce, NULL);
    for (int i = 1; i <= 50; i++) {
        sem_wait(&full);
        IS(sum, i);
        sem_post(&empty);
    }
    pthread_join(thread, NULL);
    FAILS(sem_trywait(&full), EAGAIN);
}

CHECK(semaphore_between_processes)
{
    sem_t *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    sem_init(shared, 1, 0);
    pid_t pid = OK(fork());
    if (pid == 0) {
        sem_post(shared);
        _exit(0);
    }
    while (sem_wait(shared))
        ;
    IS(ended(pid), 0);
}

static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;

static void *write_locked(void *argument)
{
    pthread_rwlock_wrlock(&lock);
    sum = 1;
    pthread_rwlock_unlock(&lock);
    return argument;
}

CHECK(readers_and_writers)
{
    pthread_rwlock_rdlock(&lock);
    pthread_rwlock_rdlock(&lock);
    pthread_t thread = start(write_locked, NULL);
    for (int i = 0; i < 10; i++)
        sched_yield();
    IS(sum, 0);
    IS(pthread_rwlock_trywrlock(&lock), EBUSY);
    pthread_rwlock_unlock(&lock);
    pthread_rwlock_unlock(&lock);
    pthread_join(thread, NULL);
    IS(sum, 1);
}

static void *wait_for_ever(void *argument)
{
    for (;;)
        pause();
    return argument;
}

CHECK(cancellation)
{
    pthread_t thread = start(wait_for_ever, NULL);
    void *result;
    IS(pthread_cancel(thread), 0);
    IS(pthread_join(thread, &result), 0);
    TRUE(result == PTHREAD_CANCELED);
}

static void *exit_all(void *argument)
{
    _exit((intptr_t)argument);
}

CHECK(exit_group_ends_all)
{
    pid_t pid = OK(fork());
    if (pid == 0) {
        start(wait_for_ever, NULL);
        start(exit_all, (void *)33);
        wait_for_ever(NULL);
    }
    IS(ended(pid), 33);
}

CHECK(the_first_thread_may_end_before_others)
{
    pid_t pid = OK(fork());
    if (pid == 0) {
        start(exit_all, (void *)34);
        syscall(SYS_exit, 1);
    }
    IS(ended(pid), 34);
}

static void *exec_again(void *argument)
{
    execl("/proc/self/exe", "conformance", "no such family", NULL);
    return argument;
}

CHECK(exec_ends_other_threads)
{
    pid_t pid = OK(fork());
    if (pid == 0) {
        start(wait_for_ever, NULL);
        start(exec_again, NULL);
        wait_for_ever(NULL);
    }
    IS(ended(pid), 0);
}

static void *signal_self(void *argument)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    done = 1;
    while (!notes)
        sched_yield();
    tids[0] = noted[0] == SIGUSR1;
    return argument;
}

CHECK(process_signals_find_a_thread_that_takes_them)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    on(SIGUSR1, note, 0);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    pthread_t thread = start(signal_self, NULL);
    while (!done)
        sched_yield();
    OK(kill(getpid(), SIGUSR1));
    pthread_join(thread, NULL);
    IS(tids[0], 1);
}

CHECK(thread_signals_stay_with_their_thread)
{
    sigset_t set, pending;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    pthread_t thread = start(wait_for_ever, NULL);
    IS(pthread_kill(thread, SIGUSR1), 0);
    OK(sigpending(&pending));
    IS(sigismember(&pending, SIGUSR1), 0);
    IS(pthread_cancel(thread), 0);
    IS(pthread_join(thread, NULL), 0);
    IS(syscall(SYS_tgkill, getpid(), getpid(), SIGUSR1), 0);
    OK(sigpending(&pending));
    IS(sigismember(&pending, SIGUSR1), 1);
}

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

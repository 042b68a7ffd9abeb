/* Threads: what libraries build on. */
#include "check.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

FAMILY("thread");

static _Atomic unsigned word;
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

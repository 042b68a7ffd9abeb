/* System V: message queues, semaphores, shared memory. */
#include "check.h"

#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

FAMILY("ipc");

struct message {
    long kind;
    char text[16];
};

CHECK(messages_by_kind)
{
    int queue = OK(msgget(IPC_PRIVATE, 0600));
    struct message one = {1, "one"}, two = {2, "two"}, got;
    OK(msgsnd(queue, &two, 4, 0));
    OK(msgsnd(queue, &one, 4, 0));
    IS(msgrcv(queue, &got, sizeof got.text, 1, 0), 4);
    IS(strcmp(got.text, "one"), 0);
    IS(msgrcv(queue, &got, sizeof got.text, 0, 0), 4);
    IS(got.kind, 2);
    FAILS(msgrcv(queue, &got, sizeof got.text, 0, IPC_NOWAIT), ENOMSG);
    OK(msgctl(queue, IPC_RMID, NULL));
    FAILS(msgsnd(queue, &one, 4, 0), EINVAL);
}

CHECK(messages_have_lengths)
{
    int queue = OK(msgget(IPC_PRIVATE, 0600));
    struct message sent = {3, "long message"}, got;
    OK(msgsnd(queue, &sent, 13, 0));
    FAILS(msgrcv(queue, &got, 4, 0, 0), E2BIG);
    IS(msgrcv(queue, &got, 4, 0, MSG_NOERROR), 4);
    sent.kind = 0;
    FAILS(msgsnd(queue, &sent, 4, 0), EINVAL);
    sent.kind = 1;
    FAILS(msgsnd(queue, &sent, 1 << 20, 0), EINVAL);
    OK(msgctl(queue, IPC_RMID, NULL));
}

CHECK(messages_wake)
{
    int queue = OK(msgget(IPC_PRIVATE, 0600));
    pid_t pid = OK(fork());
    struct message got, sent = {7, "up"};
    if (pid == 0) {
        IS(msgrcv(queue, &got, sizeof got.text, 7, 0), 3);
        _exit(0);
    }
    until_state(pid, "S");
    OK(msgsnd(queue, &sent, 3, 0));
    IS(ended(pid), 0);
    OK(msgctl(queue, IPC_RMID, NULL));
}

union value {
    int number;
    struct semid_ds *status;
    unsigned short *all;
};

CHECK(semaphores_count)
{
    int set = OK(semget(IPC_PRIVATE, 2, 0600));
    OK(semctl(set, 0, SETVAL, (union value){.number = 3}));
    struct sembuf take = {0, -2, IPC_NOWAIT}, give = {0, 1, 0};
    OK(semop(set, &take, 1));
    IS(semctl(set, 0, GETVAL), 1);
    FAILS(semop(set, &take, 1), EAGAIN);
    OK(semop(set, &give, 1));
    OK(semop(set, &take, 1));
    IS(semctl(set, 0, GETPID), getpid());
    struct sembuf both[2] = {{1, 5, 0}, {0, -1, IPC_NOWAIT}};
    FAILS(semop(set, both, 2), EAGAIN); /* all or nothing */
    IS(semctl(set, 1, GETVAL), 0);
    struct sembuf outside = {2, 1, 0};
    FAILS(semop(set, &outside, 1), EFBIG);
    OK(semctl(set, 0, IPC_RMID));
    FAILS(semop(set, &give, 1), EINVAL);
}

CHECK(semaphores_wake_and_undo)
{
    int set = OK(semget(IPC_PRIVATE, 1, 0600));
    pid_t pid = OK(fork());
    if (pid == 0) {
        struct sembuf give = {0, 1, SEM_UNDO}, take = {0, -2, 0};
        OK(semop(set, &give, 1));
        OK(semop(set, &take, 1));
        _exit(0);
    }
    until_state(pid, "S");
    struct sembuf give = {0, 1, 0};
    OK(semop(set, &give, 1));
    IS(ended(pid), 0);
    IS(semctl(set, 0, GETVAL), 0); /* what it gave is taken back, as far as there is something */
    OK(semctl(set, 0, IPC_RMID));
}

CHECK(removed_semaphores_end_waits)
{
    int set = OK(semget(IPC_PRIVATE, 1, 0600));
    pid_t pid = OK(fork());
    if (pid == 0) {
        struct sembuf take = {0, -1, 0};
        FAILS(semop(set, &take, 1), EIDRM);
        _exit(0);
    }
    until_state(pid, "S");
    OK(semctl(set, 0, IPC_RMID));
    IS(ended(pid), 0);
}

CHECK(shared_memory)
{
    int id = OK(shmget(IPC_PRIVATE, 10000, 0600));
    char *place = shmat(id, NULL, 0);
    TRUE(place != (void *)-1);
    IS(place[9999], 0);
    pid_t pid = OK(fork());
    if (pid == 0) {
        strcpy(place, "from the child");
        _exit(0);
    }
    IS(ended(pid), 0);
    IS(strcmp(place, "from the child"), 0);
    struct shmid_ds status;
    OK(shmctl(id, IPC_STAT, &status));
    IS(status.shm_segsz, 10000);
    IS(status.shm_nattch, 1);
    OK(shmctl(id, IPC_RMID, NULL));
    IS(strcmp(place, "from the child"), 0); /* until it is let go */
    OK(shmdt(place));
    TRUE(shmat(id, NULL, 0) == (void *)-1);
    FAILS(shmdt(place), EINVAL);
}

CHECK(keys)
{
    key_t key = ftok(".", 'k');
    TRUE(key != -1);
    int id = OK(shmget(key, 4096, IPC_CREAT | IPC_EXCL | 0600));
    FAILS(shmget(key, 4096, IPC_CREAT | IPC_EXCL | 0600), EEXIST);
    IS(shmget(key, 4096, 0), id);
    FAILS(shmget(key, 8192, 0), EINVAL);
    OK(shmctl(id, IPC_RMID, NULL));
    FAILS(shmget(key, 4096, 0), ENOENT);
}

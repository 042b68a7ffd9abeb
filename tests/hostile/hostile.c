/* Programs that want all there is. `hostile ATTACK` takes until it is refused, prints the name of the refusal and ends
   with everything still in its hands; what never ends is for the host to end (tests/test_hostile.py). */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MUST(call)                                                              \
    do {                                                                        \
        if ((long)(call) == -1) {                                               \
            perror(#call);                                                      \
            _exit(90);                                                          \
        }                                                                       \
    } while (0)

static void refused(void)
{
    static char line[100];
    snprintf(line, sizeof line, "%s\n", strerrorname_np(errno));
    write(1, line, strlen(line));
    _exit(0);
}

static void for_ever(void)
{
    for (;;)
        pause();
}

static void take_descriptors(void)
{
    struct rlimit most;
    MUST(getrlimit(RLIMIT_NOFILE, &most));
    most.rlim_cur = most.rlim_max;
    MUST(setrlimit(RLIMIT_NOFILE, &most));
}

static void fill(int fd)
{
    static char block[4096];
    MUST(fcntl(fd, F_SETFL, O_NONBLOCK));
    while (write(fd, block, sizeof block) > 0)
        ;
}

/* ---- tasks */

static void fork_bomb(void)
{
    for (;;) {
        pid_t pid = fork();
        if (pid < 0)
            refused();
        if (pid == 0)
            for_ever();
    }
}

static void fork_bomb_without_end(void)
{
    for (;;)
        fork();
}

static void zombies(void)
{
    for (;;) {
        pid_t pid = fork();
        if (pid < 0)
            refused();
        if (pid == 0)
            _exit(0);
    }
}

static void *idle(void *argument)
{
    for_ever();
    return argument;
}

static void thread_bomb(void)
{
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 65536);
    while (!(errno = pthread_create(&thread, &attributes, idle, NULL)))
        ;
    refused();
}

static void ignores_everything(void)
{
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    for (int number = 1; number < 65; number++)
        signal(number, SIG_IGN);
    write(1, "deaf\n", 5);
    for (;;)
        ;
}

/* ---- descriptors */

static void pipes(void)
{
    int ends[2];
    take_descriptors();
    while (pipe(ends) == 0)
        fill(ends[1]);
    refused();
}

static void large_pipes(void)
{
    int ends[2], refusals = 0;
    take_descriptors();
    while (pipe(ends) == 0) {
        refusals += fcntl(ends[1], F_SETPIPE_SZ, 1 << 20) < 0;
        fill(ends[1]);
    }
    if (!refusals)
        _exit(91);
    refused();
}

static void fifos(void)
{
    char name[20];
    take_descriptors();
    for (int i = 0;; i++) {
        snprintf(name, sizeof name, "f%d", i);
        int fd = mkfifo(name, 0600) ? -1 : open(name, O_RDWR);
        if (fd < 0)
            refused();
        fcntl(fd, F_SETPIPE_SZ, 1 << 20);
        fill(fd);
    }
}

static void sockets(void)
{
    int pair[2];
    take_descriptors();
    while (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0) {
        fill(pair[0]);
        fill(pair[1]);
    }
    refused();
}

static void descriptors_of_many_processes(void)
{
    int ends[2], number;
    take_descriptors();
    MUST(pipe(ends));
    for (;;) {
        pid_t pid = fork();
        if (pid < 0)
            refused();
        if (pid == 0) {
            while (dup(1) >= 0)
                ;
            write(ends[1], &errno, sizeof errno);
            for_ever();
        }
        read(ends[0], &number, sizeof number);
        if ((errno = number) == ENFILE)
            refused();
    }
}

static void listening(int number, struct sockaddr_un *address, int *server)
{
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    snprintf(address->sun_path + 1, 20, "listener%d", number);
    MUST(*server = socket(AF_UNIX, SOCK_STREAM, 0));
    MUST(bind(*server, (void *)address, sizeof *address));
    MUST(listen(*server, 4096));
}

/* Connections that nobody accepts, each with a full buffer, their other end closed. */
static void unaccepted(void)
{
    struct sockaddr_un address;
    int server;
    for (int number = 0;; number++) {
        listening(number, &address, &server);
        for (;;) {
            int client = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
            if (client < 0)
                refused();
            if (connect(client, (void *)&address, sizeof address)) {
                if (errno == EAGAIN)
                    break; /* this backlog is full: on to the next */
                refused();
            }
            fill(client);
            close(client);
        }
    }
}

static void send_descriptor(int through, int fd)
{
    union {
        char bytes[CMSG_SPACE(sizeof fd)];
        struct cmsghdr align;
    } control = {{0}};
    struct iovec vector = {"d", 1};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control,
                             .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
    if (sendmsg(through, &message, MSG_DONTWAIT) < 0)
        refused();
}

/* Each pair lies in its own buffer, and memory with it; nobody has a descriptor of it any more. */
static void cycles(void)
{
    int pair[2];
    take_descriptors();
    for (;;) {
        MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
        int memory = memfd_create("m", 0);
        MUST(memory);
        write(memory, "x", 1);
        send_descriptor(pair[0], pair[0]);
        send_descriptor(pair[0], pair[1]);
        send_descriptor(pair[1], memory);
        close(pair[0]);
        close(pair[1]);
        close(memory);
    }
}

/* A socket in a socket in a socket, very deep. */
static void nested(void)
{
    int last = -1;
    take_descriptors();
    for (;;) {
        int pair[2];
        MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
        if (last >= 0) {
            send_descriptor(pair[0], last);
            close(last);
        }
        close(pair[0]);
        last = pair[1];
    }
}

static void watches(void)
{
    take_descriptors();
    struct epoll_event event = {.events = EPOLLIN};
    int files[200];
    for (int i = 0; i < 200; i++)
        MUST(files[i] = eventfd(0, 0));
    for (;;) {
        int epoll = epoll_create1(0);
        if (epoll < 0)
            refused();
        for (int i = 0; i < 200; i++)
            if (epoll_ctl(epoll, EPOLL_CTL_ADD, files[i], &event))
                refused();
    }
}

/* ---- signals */

static void storm(void)
{
    signal(SIGUSR1, (void (*)(int))getpid);
    pid_t parent = getpid(), pid = fork();
    pid_t other = pid ? pid : parent;
    for (int i = 0; i < 3000; i++)
        kill(other, SIGUSR1);
    if (pid) {
        kill(pid, SIGKILL);
        while (wait(NULL) != pid)
            ;
        write(1, "survived\n", 9);
        _exit(0);
    }
    for_ever();
}

static void queued_signals(void)
{
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    while (sigqueue(getpid(), SIGRTMIN, (union sigval){0}) == 0)
        ;
    refused();
}

static void timers(void)
{
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
    struct itimerspec often = {{0, 1}, {0, 1}};
    timer_t timer;
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    while (timer_create(CLOCK_MONOTONIC, &event, &timer) == 0)
        MUST(timer_settime(timer, 0, &often, NULL));
    refused();
}

/* A handler that faults in a handler that faults. */
static void faulting(int number)
{
    (void)number;
    *(volatile int *)8 = 1;
}

static void faults(void)
{
    struct rlimit small = {256 << 10, 256 << 10};
    MUST(setrlimit(RLIMIT_STACK, &small));
    struct sigaction action = {.sa_handler = faulting, .sa_flags = SA_NODEFER};
    sigaction(SIGSEGV, &action, NULL);
    faulting(0);
}

/* ---- futexes */

static int words[1024];

static long futex(void *word, int operation, unsigned value, void *other, void *second, unsigned third)
{
    return syscall(SYS_futex, word, operation, value, other, second, third);
}

static void *futex_chaos(void *argument)
{
    unsigned seed = (unsigned)(long)argument;
    for (int i = 0; i < 1500; i++) {
        int *word = &words[rand_r(&seed) % 8], *second = &words[rand_r(&seed) % 8];
        struct {
            long seconds, nanoseconds;
        } brief = {0, 1000};
        switch (rand_r(&seed) % 7) {
        case 0: futex(word, 0, *word, &brief, NULL, 0); break;          /* wait */
        case 1: futex(word, 1, INT_MAX, NULL, NULL, 0); break;          /* wake */
        case 2: futex(word, 4, 1, (void *)1000, second, *word); break;  /* requeue */
        case 3: futex(word, 5, 1, (void *)1, second, rand_r(&seed)); break; /* wake_op */
        case 4: futex(word, 8, 0, NULL, NULL, 0); break;                /* trylock_pi */
        case 5: futex(word, 7, 0, NULL, NULL, 0); break;                /* unlock_pi */
        case 6: *word = rand_r(&seed) % 2 ? syscall(SYS_gettid) : rand_r(&seed); break;
        }
    }
    return NULL;
}

static void futexes(void)
{
    pthread_t threads[8];
    for (long i = 0; i < 8; i++)
        pthread_create(&threads[i], NULL, futex_chaos, (void *)i);
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    write(1, "survived\n", 9);
}

/* A robust list that never ends, and one that leads nowhere. */
static void robust_lists(void)
{
    static void *loop[3] = {loop, NULL, NULL};
    for (int i = 0; i < 2; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            void *wild[3] = {(void *)0x123450, (void *)-1, (void *)8};
            syscall(SYS_set_robust_list, i ? loop : wild, sizeof wild);
            _exit(0);
        }
        waitpid(pid, NULL, 0);
    }
    write(1, "survived\n", 9);
}

/* ---- memory and files */

static void memory(void)
{
    for (;;) {
        char *place = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (place == MAP_FAILED)
            refused();
        memset(place, 1, 1 << 20);
    }
}

static void overcommitted(void)
{
    char *place = mmap(NULL, 1 << 30, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (place == MAP_FAILED)
        refused();
    memset(place, 1, 1 << 30);
}

static void mappings(void)
{
    for (;;)
        if (mmap(NULL, 4096, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
            refused();
}

static void full_disk(void)
{
    static char block[1 << 16];
    int fd = open("large", O_CREAT | O_WRONLY, 0600);
    while (write(fd, block, sizeof block) > 0)
        ;
    refused();
}

static void names(void)
{
    char name[20];
    for (int i = 0;; i++) {
        snprintf(name, sizeof name, "n%d", i);
        if (mknod(name, S_IFREG | 0600, 0))
            refused();
    }
}

static void deep_symlinks(void)
{
    char from[20], to[20];
    for (int i = 0; i < 500; i++) {
        snprintf(from, sizeof from, "l%d", i);
        snprintf(to, sizeof to, "l%d", i + 1);
        MUST(symlink(to, from));
    }
    struct stat status;
    char path[PATH_MAX] = "";
    MUST(symlink("loop/loop/loop/loop", "loop"));
    for (int i = 0; i < 800; i++)
        strcat(path, "loop/");
    if (stat(path, &status) == 0 || errno != ELOOP || stat("l0", &status) == 0)
        _exit(92);
    refused();
}

static void deep_directories(void)
{
    for (int i = 0; i < 3000; i++) {
        MUST(mkdir("d", 0700));
        MUST(chdir("d"));
    }
    char path[PATH_MAX];
    if (syscall(SYS_getcwd, path, sizeof path) != -1)
        _exit(93);
    refused();
}

static void locks(void)
{
    int fd = open("locked", O_CREAT | O_RDWR, 0600);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
    while (fcntl(fd, F_SETLK, &lock) == 0)
        lock.l_start += 2;
    refused();
}

/* ---- much at once */

static void survived(void)
{
    write(1, "survived\n", 9);
    _exit(0);
}

static void holes(void)
{
    int files[2] = {open("sparse", O_CREAT | O_RDWR, 0600), memfd_create("sparse", 0)};
    for (int i = 0; i < 2; i++) {
        MUST(ftruncate(files[i], 1LL << 43));
        MUST(pwrite(files[i], "x", 1, 1LL << 42));
        MUST(fallocate(files[i], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 1, (1LL << 43) - 1));
    }
    survived();
}

static void long_calls(void)
{
    static char block[1 << 20];
    static struct iovec pieces[64];
    for (int i = 0; i < 64; i++)
        pieces[i] = (struct iovec){block, sizeof block};
    int zero = open("/dev/zero", O_RDONLY), null = open("/dev/null", O_WRONLY);
    int sparse = open("sparse", O_CREAT | O_RDWR, 0600);
    MUST(ftruncate(sparse, 1LL << 40));
    long whole = 64l << 20;
    if (readv(zero, pieces, 64) != whole || writev(null, pieces, 64) != whole || preadv(sparse, pieces, 64, 7) != whole)
        _exit(91);
    if (process_vm_readv(getpid(), pieces, 64, pieces, 64, 0) != whole)
        _exit(92);
    long sizes = sizeof(long) == 8 ? 1l << 34 : 1l << 30;
    char *none = mmap(NULL, sizes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    unsigned char *there = mmap(NULL, sizes >> 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mincore(none, sizes, there) || madvise(none, sizes, MADV_POPULATE_READ) == 0)
        _exit(94);
    munmap(none, sizes);
    off_t from = 3;
    if (sendfile(null, sparse, &from, whole) != whole || from != whole + 3)
        _exit(93);
    survived();
}

/* A page each in regions that need a leaf of the page table each; then all of them at once. */
static void scattered(void)
{
    char *base = (char *)0x20000000;
    int count = sizeof(long) == 8 ? 2000 : 400, fd = memfd_create("one", 0);
    MUST(ftruncate(fd, 1 << 21));
    for (int i = 0; i < count; i++) {
        char *place = base + ((long)i << 21);
        MUST(mmap(place, 1 << 21, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0));
        *place = 1;
    }
    MUST(madvise(base, (long)count << 21, MADV_DONTFORK));
    if (!fork())
        _exit(0);
    wait(NULL);
    MUST(madvise(base, (long)count << 21, MADV_DONTNEED));
    for (int i = 0; i < count; i++)
        if (base[(long)i << 21] != 1)
            _exit(91);
    MUST(ftruncate(fd, 0));
    survived();
}

static void nested_sets(void)
{
    static int sets[3][64];
    struct epoll_event event = {.events = EPOLLIN};
    for (int i = 0; i < 3 * 64; i++)
        MUST(sets[i / 64][i % 64] = epoll_create1(0));
    for (int i = 0; i < 2 * 64; i++)
        for (int j = 0; j < 64; j++)
            if (epoll_ctl(sets[i / 64 + 1][i % 64], EPOLL_CTL_ADD, sets[i / 64][j], &event))
                refused();
}

static void chained_sets(void)
{
    take_descriptors();
    struct epoll_event event = {.events = EPOLLIN};
    for (int last = epoll_create1(0);;) {
        int next = epoll_create1(0);
        if (next < 0 || epoll_ctl(last, EPOLL_CTL_ADD, next, &event))
            refused();
        last = next;
    }
}

/* ---- what the kernel keeps for others */

static void watchers(void)
{
    for (;;) {
        int fd = inotify_init();
        if (fd < 0 || inotify_add_watch(fd, ".", IN_ALL_EVENTS) < 0)
            break;
    }
    int refusal = errno;
    for (int i = 0; i < 400; i++) {
        close(open("a", O_CREAT | O_RDWR, 0600));
        close(open("b", O_CREAT | O_RDWR, 0600));
    }
    errno = refusal;
    refused();
}

static void signals_to_threads(void)
{
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    siginfo_t info = {.si_code = SI_QUEUE};
    for (int i = 0; i < 20000; i++)
        kill(getpid(), SIGRTMIN + 2);
    while (syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid(), SIGRTMIN, &info) == 0)
        ;
    refused();
}

static void undoing(void)
{
    static struct sembuf operations[500];
    int sets[16];
    for (int i = 0; i < 500; i++)
        operations[i] = (struct sembuf){i, 1, SEM_UNDO};
    for (int i = 0; i < 16; i++)
        MUST(sets[i] = semget(IPC_PRIVATE, 500, 0600));
    for (;;) {
        for (int i = 0; i < 16; i++)
            if (semop(sets[i], operations, 500))
                refused();
        pid_t pid = fork();
        if (pid) {
            waitpid(pid, NULL, 0);
            _exit(0);
        }
    }
}

static void mounts(void)
{
    char name[40];
    for (int i = 0;; i++) {
        snprintf(name, sizeof name, "mount%d", i);
        mkdir(name, 0700);
        if (mount("none", name, "tmpfs", 0, NULL))
            refused();
        for (int j = 0; j < 1000; j++) {
            snprintf(name, sizeof name, "mount%d/%d", i, j);
            if (mkdir(name, 0700))
                refused();
        }
    }
}

static void long_links(void)
{
    static char target[4095], name[20];
    memset(target, 'x', sizeof target - 1);
    for (int i = 0;; i++) {
        snprintf(name, sizeof name, "%d", i);
        if (symlink(target, name))
            refused();
    }
}

static const struct {
    const char *name;
    void (*run)(void);
} attacks[] = {
    {"fork_bomb", fork_bomb}, {"fork_bomb_without_end", fork_bomb_without_end}, {"zombies", zombies},
    {"thread_bomb", thread_bomb}, {"ignores_everything", ignores_everything}, {"pipes", pipes},
    {"large_pipes", large_pipes}, {"fifos", fifos}, {"sockets", sockets},
    {"descriptors_of_many_processes", descriptors_of_many_processes}, {"unaccepted", unaccepted},
    {"cycles", cycles}, {"nested", nested}, {"watches", watches}, {"storm", storm},
    {"queued_signals", queued_signals}, {"timers", timers}, {"faults", faults}, {"futexes", futexes},
    {"robust_lists", robust_lists}, {"memory", memory}, {"overcommitted", overcommitted}, {"mappings", mappings},
    {"full_disk", full_disk}, {"names", names}, {"deep_symlinks", deep_symlinks},
    {"deep_directories", deep_directories}, {"locks", locks}, {"holes", holes}, {"long_calls", long_calls},
    {"scattered", scattered}, {"nested_sets", nested_sets}, {"chained_sets", chained_sets}, {"watchers", watchers},
    {"signals_to_threads", signals_to_threads}, {"undoing", undoing}, {"mounts", mounts}, {"long_links", long_links},
};

int main(int count, char **arguments)
{
    for (unsigned i = 0; count > 1 && i < sizeof attacks / sizeof *attacks; i++)
        if (strcmp(attacks[i].name, arguments[1]) == 0)
            attacks[i].run();
    return 0;
}

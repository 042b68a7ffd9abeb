/* Random sequences of calls about memory. `memory FIRST LAST STEPS` plays the seeds [FIRST, LAST) and prints what every
   step answered and what is to be seen of each page afterwards; the same program must print the same on every kernel.

   All happens in an arena at an address that nothing else comes near; what the kernel puts elsewhere is looked at and
   taken away. The file that is mapped is a memfd, so that no filesystem matters. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, PAGES = 16, FILE_PAGES = 6 };
#define ARENA ((unsigned char *)0x30000000)

enum call { MAP, UNMAP, PROTECT, REMAP, ADVISE, SYNC, STORE, STRADDLE, RESIZE, FILE_WRITE, READ_INTO, WRITE_FROM, FORK, CALLS };
static const int weights[CALLS] = {14, 6, 12, 10, 10, 2, 16, 4, 4, 5, 6, 5, 4};

static sigjmp_buf back;
static volatile int signal_seen, code_seen;
static volatile uintptr_t address_seen;
static int file;
static int other_file, sink, probe; /* what is read into memory and written from it: nobody maps them */
static unsigned long long state;
static volatile unsigned *shared;

static unsigned chance(unsigned below)
{
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (state >> 33) % below;
}

static void faulted(int number, siginfo_t *info, void *context)
{
    (void)context;
    signal_seen = number;
    code_seen = info->si_code;
    address_seen = (uintptr_t)info->si_addr;
    siglongjmp(back, 1);
}

/* How it ended: 0, or the signal and its code as one number; -1 when the address told is another. */
static int load(volatile unsigned char *at, unsigned char *value)
{
    if (sigsetjmp(back, 0))
        return address_seen == (uintptr_t)at ? signal_seen * 10 + code_seen : -1;
    *value = *at;
    return 0;
}

static int store(volatile unsigned char *at, unsigned char value)
{
    if (sigsetjmp(back, 0))
        return address_seen == (uintptr_t)at ? signal_seen * 10 + code_seen : -1;
    *at = value;
    return 0;
}

/* Two pages at once; which of them it faults on, as a place in the arena. */
static int store_word(unsigned char *at, uint32_t value)
{
    if (sigsetjmp(back, 0))
        return signal_seen * 100000 + code_seen * 10000 + (int)((address_seen - (uintptr_t)ARENA) / PAGE);
    __builtin_memcpy(at, &value, 1); /* a byte at a time, so that all machines agree on what was stored before */
    __builtin_memcpy(at + 3, (char *)&value + 3, 1);
    return 0;
}

static unsigned digest(unsigned char *page)
{
    static const int places[] = {0, 1, 100, 2047, 2048, 4000, 4094, 4095};
    unsigned sum = 0;
    for (unsigned i = 0; i < sizeof places / sizeof *places; i++)
        sum = sum * 31 + ((volatile unsigned char *)page)[places[i]];
    return (sum ^ sum >> 8 ^ sum >> 16) & 0xff;
}

/* Now and then by faults, else by a call that is told so. */
static void show(int step)
{
    unsigned char byte;
    for (int i = 0; i < PAGES; i++) {
        if (step % 6 && pwrite(probe, ARENA + i * PAGE, 1, 0) != 1) {
            printf(" ??");
            continue;
        }
        int how = load(ARENA + i * PAGE, &byte);
        switch (how) {
        case 0: printf(" %02x", digest(ARENA + i * PAGE)); break;
        case SIGSEGV * 10 + SEGV_MAPERR: printf(" .."); break;
        case SIGSEGV * 10 + SEGV_ACCERR: printf(" --"); break;
        case SIGBUS * 10 + BUS_ADRERR: printf(" !!"); break;
        default: printf(" <%d>", how); break;
        }
    }
}

/* The protections of every page, as /proc has them. */
static void show_maps(void)
{
    static char text[1 << 16], seen[PAGES][5];
    size_t size = 0;
    ssize_t count;
    int fd = open("/proc/self/maps", O_RDONLY);
    while ((count = read(fd, text + size, sizeof text - 1 - size)) > 0)
        size += count;
    close(fd);
    text[size] = 0;
    for (int i = 0; i < PAGES; i++)
        strcpy(seen[i], "....");
    for (char *line = text; line && *line; line = strchr(line, '\n'), line += line != NULL) {
        unsigned long long from, to;
        char how[5];
        if (sscanf(line, "%llx-%llx %4s", &from, &to, how) == 3)
            for (int i = 0; i < PAGES; i++)
                if (from <= (uintptr_t)ARENA + i * PAGE && (uintptr_t)ARENA + i * PAGE < to)
                    strcpy(seen[i], how);
    }
    for (int i = 0; i < PAGES; i++)
        printf(" %s", seen[i]);
    printf("\n");
}

/* What a call has given that may have moved: its place in the arena, or what lies elsewhere, which goes. */
static long placed(unsigned char *at, size_t size)
{
    if (at == MAP_FAILED)
        return -errno;
    if (at >= ARENA && at < ARENA + PAGES * PAGE)
        return (at - ARENA) / PAGE;
    unsigned char byte;
    int how = load(at, &byte);
    unsigned sum = how ? (unsigned)how : digest(at);
    munmap(at, size);
    return 1000 + sum;
}

static void perform(int step)
{
    static const int protections[] = {PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE,
                                      PROT_READ | PROT_WRITE, PROT_READ | PROT_EXEC};
    static const int advices[] = {MADV_NORMAL, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_DONTNEED, MADV_DONTNEED,
                                  MADV_DONTNEED, MADV_DONTFORK, MADV_DOFORK, 18 /* WIPEONFORK */,
                                  19 /* KEEPONFORK */, 22 /* POPULATE_READ */, 23 /* POPULATE_WRITE */, 999};
    int total = 0, pick, call = 0, page = chance(PAGES), count = 1 + chance(5), other = chance(PAGES), a, b;
    long result = 0;
    for (int i = 0; i < CALLS; i++)
        total += weights[i];
    for (pick = chance(total); pick >= weights[call]; call++)
        pick -= weights[call];
    if (page + count > PAGES)
        count = PAGES - page;
    unsigned char *at = ARENA + page * PAGE;
    size_t size = (size_t)count * PAGE;
    printf("%d: %d %d %d", step, call, page, count);
    fflush(stdout);
    errno = 0;
    switch (call) {
    case MAP: {
        static const int flags[] = {MAP_PRIVATE | MAP_ANONYMOUS, MAP_SHARED | MAP_ANONYMOUS, MAP_PRIVATE, MAP_SHARED};
        a = chance(4);
        b = chance(6);
        int prot = protections[chance(6)], fixed = b < 4 ? MAP_FIXED : b == 4 ? MAP_FIXED_NOREPLACE : 0;
        off_t offset = a < 2 ? 0 : (off_t)chance(FILE_PAGES) * PAGE;
        size_t length = chance(4) ? size : size - chance(PAGE);
        printf(" (%d %d %d %d)", a, prot, fixed != 0, (int)(offset / PAGE));
        result = placed(mmap(at, length, prot, flags[a] | fixed, a < 2 ? -1 : file, offset), length);
        break;
    }
    case UNMAP: result = munmap(at + (chance(20) ? 0 : 1), size) ? -errno : 0; break;
    case PROTECT:
        a = protections[chance(6)];
        printf(" (%d)", a);
        result = mprotect(at, size - (chance(4) ? 0 : 100), a) ? -errno : 0;
        break;
    case REMAP: {
        size_t wanted = (size_t)(1 + chance(6)) * PAGE;
        int flags = chance(3);
        if (flags == 2)
            flags = MREMAP_MAYMOVE | MREMAP_FIXED;
        if (flags & MREMAP_FIXED || wanted > size)
            size = PAGE; /* so that it lies within one mapping, wherever the kernel sees one end */
        printf(" (%d %d %d)", (int)(wanted / PAGE), flags, other);
        if (chance(15) == 0 && other != page)
            size = 0; /* once more, where it is shared */
        result = placed(mremap(at, size, wanted, flags, ARENA + other * PAGE), wanted);
        result = result < 0 ? -1 : result; /* what is wrong first depends on the release of the kernel */
        break;
    }
    case ADVISE:
        a = advices[chance(sizeof advices / sizeof *advices)];
        printf(" (%d)", a);
        result = madvise(at + (chance(20) ? 0 : 1), size, a) ? -errno : 0;
        break;
    case SYNC:
        a = chance(8);
        printf(" (%d)", a);
        result = msync(at, size, a) ? -errno : 0;
        break;
    case STORE:
        for (a = 0; a < count; a++) {
            b = chance(PAGE);
            result = result * 1000 % 999983 + store(at + a * PAGE + b, 1 + chance(255));
        }
        b = chance(2) ? 0 : PAGE - 1;
        result += store(at + b, 1 + chance(255));
        break;
    case STRADDLE: result = page ? store_word(at - 2, chance(1 << 30)) : 0; break;
    case RESIZE:
        a = chance(FILE_PAGES * PAGE + 1);
        if (chance(2))
            a = a / PAGE * PAGE;
        printf(" (%d)", a);
        result = ftruncate(file, a) ? -errno : 0;
        break;
    case FILE_WRITE: {
        static unsigned char data[2 * PAGE];
        for (unsigned i = 0; i < sizeof data; i++)
            data[i] = step + i / 7;
        a = chance(FILE_PAGES * PAGE);
        b = 1 + chance(sizeof data);
        printf(" (%d %d)", a, b);
        result = pwrite(file, data, b, a);
        break;
    }
    case READ_INTO:
        a = chance(FILE_PAGES) * PAGE;
        b = chance(PAGE);
        printf(" (%d %d)", a, b);
        result = pread(other_file, at + b, size, a);
        result = result < 0 ? -errno : result;
        break;
    case WRITE_FROM:
        a = chance(FILE_PAGES) * PAGE;
        b = chance(2) ? 0 : chance(PAGE);
        printf(" (%d %d)", a, b);
        result = pwrite(sink, at + b, size, 0);
        result = result < 0 ? -errno : result;
        break;
    case FORK: {
        fflush(stdout);
        pid_t pid = fork();
        int status;
        if (pid == 0) {
            unsigned sum = 0;
            unsigned char byte;
            for (int i = 0; i < PAGES; i++) {
                int how = load(ARENA + i * PAGE, &byte);
                sum = sum * 131 + (how ? (unsigned)how : digest(ARENA + i * PAGE));
            }
            shared[0] = sum;
            shared[1] = store(at, 77);
            _exit(0);
        }
        waitpid(pid, &status, 0);
        printf(" [%x %x %d]", status, shared[0], (int)shared[1]);
        break;
    }
    }
    printf(" = %ld:", result);
    show(step);
    printf("\n");
}

int main(int count, char **arguments)
{
    struct sigaction action = {.sa_sigaction = faulted, .sa_flags = SA_SIGINFO | SA_NODEFER};
    static char output[1 << 16];
    if (count < 4)
        return 2;
    setvbuf(stdout, output, _IOFBF, sizeof output);
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    other_file = memfd_create("other", 0);
    sink = memfd_create("sink", 0);
    probe = memfd_create("probe", 0);
    shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (unsigned seed = atoi(arguments[1]); seed < (unsigned)atoi(arguments[2]); seed++) {
        static unsigned char first[FILE_PAGES * PAGE - 1000];
        file = memfd_create("file", 0);
        for (unsigned i = 0; i < sizeof first; i++)
            first[i] = i % 251;
        if (write(file, first, sizeof first) != sizeof first || pwrite(other_file, first, sizeof first, 0) < 0)
            return 3;
        munmap(ARENA, (PAGES + 16) * PAGE);
        if (mmap(ARENA, PAGES / 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != ARENA)
            return 4;
        state = seed * 2654435761ull + 12345;
        printf("seed %u\n", seed);
        for (int step = 0; step < atoi(arguments[3]); step++)
            perform(step);
        show_maps();
        fflush(stdout);
        close(file);
    }
    return 0;
}

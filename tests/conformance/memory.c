/* Mappings, protections, brk, sharing, files in memory. */
#include "check.h"

#include <setjmp.h>

FAMILY("memory");

#define PAGE 4096

static sigjmp_buf out;
static siginfo_t seen;

static void escape(int number, siginfo_t *info, void *context)
{
    (void)context;
    seen = *info;
    siglongjmp(out, number);
}

/* The signal that a load or store at `place` ends in; 0 when it is let. */
static int touch(volatile char *place, int store)
{
    struct sigaction action = {.sa_sigaction = escape, .sa_flags = SA_SIGINFO};
    OK(sigaction(SIGSEGV, &action, NULL));
    OK(sigaction(SIGBUS, &action, NULL));
    int number = sigsetjmp(out, 1);
    if (number)
        return number;
    if (store)
        *place = 1;
    else
        (void)*place;
    return 0;
}

static char *map(size_t size, int protection, int flags)
{
    char *place = mmap(NULL, size, protection, flags | MAP_ANONYMOUS, -1, 0);
    TRUE(place != MAP_FAILED);
    return place;
}

CHECK(fresh_memory_is_zero)
{
    char *place = map(10 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    for (int i = 0; i < 10 * PAGE; i++)
        TRUE(place[i] == 0);
    IS((uintptr_t)place % PAGE, 0);
}

CHECK(mmap_refusals)
{
    int fd = file_of("f", "x"), reader = OK(open("f", O_RDONLY)), writer = OK(open("f", O_WRONLY)), ends[2];
    OK(pipe(ends));
    OK(mkdir("d", 0755));
    int directory = OK(open("d", O_RDONLY));
    FAILS(mmap(NULL, 0, PROT_READ, MAP_PRIVATE, fd, 0), EINVAL);
    FAILS(mmap(NULL, PAGE, PROT_READ, 0, fd, 0), EINVAL);
    FAILS(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, 99, 0), EBADF);
    FAILS(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, writer, 0), EACCES);
    FAILS(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, reader, 0), EACCES);
    FAILS(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, ends[0], 0), ENODEV);
    FAILS(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, directory, 0), ENODEV);
    FAILS(mmap((void *)(PAGE + 1), PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1, 0), EINVAL);
    FAILS(mmap(NULL, (size_t)-PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), ENOMEM);
    TRUE(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, reader, 0) != MAP_FAILED);
}

CHECK(fixed_places)
{
    char *place = map(3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    memset(place, 'a', 3 * PAGE);
    void *middle = place + PAGE;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    TRUE(mmap(middle, PAGE, PROT_READ, flags | MAP_FIXED, -1, 0) == middle);
    IS(place[PAGE], 0);
    IS(place[0], 'a');
    IS(place[2 * PAGE], 'a');
    FAILS(mmap(middle, PAGE, PROT_READ, flags | MAP_FIXED_NOREPLACE, -1, 0), EEXIST);
    OK(munmap(middle, PAGE));
    TRUE(mmap(middle, PAGE, PROT_READ, flags | MAP_FIXED_NOREPLACE, -1, 0) == middle);
    OK(munmap(middle, PAGE));
    TRUE(mmap(middle, PAGE, PROT_READ, flags, -1, 0) == middle); /* a hint that can be followed */
}

CHECK(unmapping)
{
    char *place = map(3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    OK(munmap(place + PAGE, PAGE));
    IS(touch(place, 1), 0);
    IS(touch(place + PAGE, 1), SIGSEGV);
    IS(seen.si_code, SEGV_MAPERR);
    IS(touch(place + 2 * PAGE, 1), 0);
    OK(munmap(place, 3 * PAGE)); /* holes do not matter */
    FAILS(munmap(place + 1, PAGE), EINVAL);
    FAILS(munmap(place, 0), EINVAL);
}

CHECK(protections)
{
    char *place = map(3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    OK(mprotect(place, PAGE, PROT_NONE));
    IS(touch(place, 0), SIGSEGV);
    IS(seen.si_code, SEGV_ACCERR);
    OK(mprotect(place, PAGE, PROT_READ));
    IS(touch(place, 0), 0);
    IS(touch(place, 1), SIGSEGV);
    IS(touch(place + PAGE, 1), 0);
    OK(munmap(place + PAGE, PAGE));
    FAILS(mprotect(place, 3 * PAGE, PROT_READ | PROT_WRITE), ENOMEM);
    IS(touch(place, 1), 0); /* as far as it came */
    FAILS(mprotect(place + 1, PAGE, PROT_READ), EINVAL);
    FAILS(mprotect(place, PAGE, 0x100), EINVAL);
}

CHECK(protection_of_shared_files)
{
    close(file_of("f", "content"));
    int reader = OK(open("f", O_RDONLY));
    void *place = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, reader, 0);
    TRUE(place != MAP_FAILED);
    FAILS(mprotect(place, PAGE, PROT_READ | PROT_WRITE), EACCES);
    void *private = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, reader, 0);
    OK(mprotect(private, PAGE, PROT_READ | PROT_WRITE));
}

CHECK(code_can_be_made)
{
    typedef int function(void);
    static const unsigned char code[] = {
#if defined(__x86_64__) || defined(__i386__)
        0xb8, 42, 0, 0, 0, 0xc3
#elif defined(__aarch64__)
        0x40, 5, 0x80, 0x52, 0xc0, 3, 0x5f, 0xd6
#elif defined(__arm__)
        42, 0, 0xa0, 0xe3, 0x1e, 0xff, 0x2f, 0xe1
#else
        0x13, 5, 0xa0, 2, 0x67, 0x80, 0, 0
#endif
    };
    char *place = map(PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    memcpy(place, code, sizeof code);
    OK(mprotect(place, PAGE, PROT_READ | PROT_EXEC));
    __builtin___clear_cache(place, place + PAGE);
    IS(((function *)(uintptr_t)place)(), 42);
}

CHECK(code_needs_permission)
{
    typedef void function(void);
    char *place = map(PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    struct sigaction action = {.sa_sigaction = escape, .sa_flags = SA_SIGINFO};
    OK(sigaction(SIGSEGV, &action, NULL));
    int number = sigsetjmp(out, 1);
    if (!number)
        ((function *)(uintptr_t)place)();
    IS(number, SIGSEGV);
    IS(seen.si_code, SEGV_ACCERR);
    TRUE(seen.si_addr == place);
}

CHECK(private_files_do_not_change)
{
    int fd = file_of("f", "before");
    char *place = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0), text[6];
    SAME(place, "before", 6);
    place[0] = 'B';
    IS(pread(fd, text, 6, 0), 6);
    SAME(text, "before", 6);
    IS(place[6], 0); /* the rest of the last page */
}

CHECK(shared_files_change)
{
    int fd = file_of("f", "before");
    char *place = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), text[10];
    char *other = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
    place[0] = 'B';
    IS(pread(fd, text, 10, 0), 6);
    SAME(text, "Before", 6);
    IS(other[0], 'B');
    IS(pwrite(fd, "X", 1, 1), 1);
    IS(place[1], 'X');
    OK(msync(place, PAGE, MS_SYNC));
    FAILS(msync(place, PAGE, MS_SYNC | MS_ASYNC), EINVAL);
    FAILS(msync(place + 1, PAGE, MS_SYNC), EINVAL);
    OK(munmap(other, PAGE));
    close(fd);
    place[2] = 'Y';
    fd = OK(open("f", O_RDONLY));
    IS(read(fd, text, 10), 6);
    SAME(text, "BXYore", 6);
    OK(munmap(place, PAGE));
    FAILS(msync(place, PAGE, MS_SYNC), ENOMEM);
}

CHECK(offsets_into_files)
{
    int fd = file_of("f", "");
    OK(ftruncate(fd, 3 * PAGE));
    IS(pwrite(fd, "page two", 8, 2 * PAGE), 8);
    char *place = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 2 * PAGE);
    SAME(place, "page two", 8);
    FAILS(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 100), EINVAL);
    OK(ftruncate(fd, PAGE));
    IS(touch(place, 0), SIGBUS);
    OK(ftruncate(fd, 3 * PAGE));
    IS(touch(place, 0), 0);
    IS(place[0], 0);
}

CHECK(shared_between_relatives)
{
    volatile int *word = (int *)map(PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
    int *own = (int *)map(PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    pid_t pid = OK(fork());
    if (pid == 0) {
        *word = 5;
        *own = 6;
        _exit(0);
    }
    IS(ended(pid), 0);
    IS(*word, 5);
    IS(*own, 0);
}

CHECK(moving_and_resizing)
{
    char *place = map(2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    strcpy(place, "kept");
    char *wall = mmap(place + 2 * PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    FAILS(mremap(place, 2 * PAGE, 4 * PAGE, 0), ENOMEM);
    char *moved = mremap(place, 2 * PAGE, 4 * PAGE, MREMAP_MAYMOVE);
    TRUE(moved != MAP_FAILED && moved != place);
    IS(strcmp(moved, "kept"), 0);
    IS(moved[3 * PAGE], 0);
    IS(touch(place, 0), SIGSEGV);
    TRUE(mremap(moved, 4 * PAGE, PAGE, 0) == moved);
    IS(touch(moved + PAGE, 0), SIGSEGV);
    TRUE(mremap(moved, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, wall) == wall);
    IS(strcmp(wall, "kept"), 0);
    FAILS(mremap(wall + 1, PAGE, PAGE, MREMAP_MAYMOVE), EINVAL);
    FAILS(mremap(wall, PAGE, 0, MREMAP_MAYMOVE), EINVAL);
    FAILS(mremap(wall, PAGE, PAGE, MREMAP_FIXED, place), EINVAL);
    FAILS(mremap(place, PAGE, 2 * PAGE, MREMAP_MAYMOVE), EFAULT);
}

CHECK(advice)
{
    char *place = map(2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    place[0] = 'x';
    OK(madvise(place, PAGE, MADV_WILLNEED));
    IS(place[0], 'x');
    OK(madvise(place, PAGE, MADV_DONTNEED));
    IS(place[0], 0);
    FAILS(madvise(place + 1, PAGE, MADV_DONTNEED), EINVAL);
    FAILS(madvise(place, PAGE, 9999), EINVAL);
    OK(munmap(place + PAGE, PAGE));
    FAILS(madvise(place, 2 * PAGE, MADV_DONTNEED), ENOMEM);
    char *file = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, file_of("f", "original"), 0);
    file[0] = 'X';
    OK(madvise(file, PAGE, MADV_DONTNEED));
    SAME(file, "original", 8);
}

CHECK(not_for_children)
{
    char *place = map(2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    place[0] = place[PAGE] = 'x';
    OK(madvise(place, PAGE, MADV_DONTFORK));
    OK(madvise(place + PAGE, PAGE, MADV_WIPEONFORK));
    pid_t pid = OK(fork());
    if (pid == 0) {
        IS(touch(place, 0), SIGSEGV);
        IS(place[PAGE], 0);
        _exit(0);
    }
    IS(ended(pid), 0);
    IS(place[0], 'x');
    IS(place[PAGE], 'x');
}

CHECK(the_break)
{
    char *start = sbrk(0);
    TRUE(sbrk(3 * PAGE) == start);
    memset(start, 'b', 3 * PAGE);
    TRUE(sbrk(-3 * PAGE) == start + 3 * PAGE);
    TRUE(sbrk(2 * PAGE) == start);
    IS(start[2 * PAGE - 1], 0);
    IS(syscall(SYS_brk, 0), (long)(start + 2 * PAGE));
    IS(syscall(SYS_brk, 1), (long)(start + 2 * PAGE)); /* no errors: the old one */
}

CHECK(residence)
{
    unsigned char pages[3];
    char *place = map(3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    place[PAGE] = 1;
    OK(mincore(place, 3 * PAGE, pages));
    TRUE(!(pages[0] & 1) && pages[1] & 1 && !(pages[2] & 1));
    OK(munmap(place, PAGE));
    FAILS(mincore(place, 3 * PAGE, pages), ENOMEM);
    FAILS(mincore(place + 1, PAGE, pages), EINVAL);
}

CHECK(locking)
{
    char *place = map(2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    OK(mlock(place, 2 * PAGE));
    unsigned char pages[2];
    OK(mincore(place, 2 * PAGE, pages));
    TRUE(pages[0] & 1 && pages[1] & 1);
    OK(munlock(place, 2 * PAGE));
    OK(munmap(place + PAGE, PAGE));
    FAILS(mlock(place, 2 * PAGE), ENOMEM);
    OK(mlockall(MCL_CURRENT));
    OK(munlockall());
    FAILS(mlockall(0), EINVAL);
    FAILS(mlockall(99), EINVAL);
}

CHECK(stores_to_a_mapping_change_the_times)
{
    int fd = file_of("f", "abc");
    struct timespec times[2] = {{1, 0}, {1, 0}};
    struct stat now;
    OK(futimens(fd, times));
    char *place = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    TRUE(place != MAP_FAILED);
    OK(fstat(fd, &now));
    IS(now.st_mtime, 1);
    place[0] = 'x';
    OK(msync(place, PAGE, MS_SYNC));
    OK(fstat(fd, &now));
    TRUE(now.st_mtime > 1 && now.st_ctime > 1);
}

/* What /proc/self/status says is locked, in pages. */
static long locked(void)
{
    char text[8192];
    int fd = OK(open("/proc/self/status", O_RDONLY));
    text[OK(read(fd, text, sizeof text - 1))] = 0;
    close(fd);
    char *line = strstr(text, "VmLck:");
    TRUE(line);
    return strtol(line + 6, NULL, 10) * 1024 / PAGE;
}

CHECK(what_is_locked_is_counted)
{
    char *place = map(8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    long before = locked();
    OK(mlock(place + PAGE + 1, PAGE));
    IS(locked() - before, 2);
    OK(mlock(place, 4 * PAGE));
    IS(locked() - before, 4);
    OK(munlock(place + PAGE, PAGE));
    IS(locked() - before, 3);
    FAILS(madvise(place, PAGE, MADV_DONTNEED), EINVAL);
    OK(madvise(place + PAGE, PAGE, MADV_DONTNEED));
    FAILS(msync(place, PAGE, MS_INVALIDATE), EBUSY);
    OK(munmap(place, 4 * PAGE));
    IS(locked() - before, 0);
    OK(munlockall());
    IS(locked(), 0);
}

CHECK(limits_of_the_address_space)
{
    struct rlimit limit = {64 << 20, 64 << 20};
    OK(setrlimit(RLIMIT_AS, &limit));
    FAILS(mmap(NULL, 128 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), ENOMEM);
    map(1 << 20, PROT_READ, MAP_PRIVATE);
}

CHECK(stacks_grow)
{
    struct rlimit limit;
    OK(getrlimit(RLIMIT_STACK, &limit));
    volatile char block[1 << 20];
    for (unsigned i = 0; i < sizeof block; i += PAGE)
        block[i] = i;
    IS(block[0], 0);
}

CHECK(grows_down)
{
    char *place = map(64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    OK(munmap(place, 64 * PAGE));
    char *stack = mmap(place + 60 * PAGE, PAGE, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_GROWSDOWN, -1, 0);
    TRUE(stack == place + 60 * PAGE);
    IS(touch(stack, 1), 0);
    IS(touch(stack - 1, 1), 0);
}

CHECK(maps_are_shown)
{
    char *place = map(2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE), line[512], expected[64];
    OK(mprotect(place, 2 * PAGE, PROT_READ | PROT_EXEC));
    snprintf(expected, sizeof expected, "%lx r-xp", (unsigned long)place + 2 * PAGE);
    FILE *maps = fopen("/proc/self/maps", "r");
    int found = 0, stack = 0;
    while (fgets(line, sizeof line, maps)) {
        found += strstr(line, expected) != NULL;
        stack += strstr(line, "[stack]") != NULL;
    }
    IS(found, 1);
    IS(stack, 1);
}

CHECK(memory_of_others)
{
    char *place = map(PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE), copy[8];
    strcpy(place, "mine");
    struct iovec here = {copy, 8}, there = {place, 8};
    IS(process_vm_readv(getpid(), &here, 1, &there, 1, 0), 8);
    IS(strcmp(copy, "mine"), 0);
    strcpy(copy, "yours");
    IS(process_vm_writev(getpid(), &here, 1, &there, 1, 0), 8);
    IS(strcmp(place, "yours"), 0);
    there.iov_base = (void *)8;
    FAILS(process_vm_readv(getpid(), &here, 1, &there, 1, 0), EFAULT);
    FAILS(process_vm_readv(0x3fffffff, &here, 1, &there, 1, 0), ESRCH);
    int fd = OK(open("/proc/self/mem", O_RDWR));
    IS(pread(fd, copy, 6, (off_t)(uintptr_t)place), 6);
    IS(strcmp(copy, "yours"), 0);
}

/* Stacks for handlers, and the signals of faults. */
#include "check.h"

#include <setjmp.h>

FAMILY("fault");

static siginfo_t seen;

CHECK(other_stack)
{
    static char area[65536];
    static uintptr_t place;
    static stack_t during;
    void where(int number)
    {
        place = (uintptr_t)&number;
        sigaltstack(NULL, &during);
    }
    stack_t stack = {.ss_sp = area, .ss_size = sizeof area}, now;
    OK(sigaltstack(&stack, NULL));
    on(SIGUSR1, where, SA_ONSTACK);
    OK(raise(SIGUSR1));
    TRUE(place >= (uintptr_t)area && place < (uintptr_t)area + sizeof area);
    IS(during.ss_flags, SS_ONSTACK);
    OK(sigaltstack(NULL, &now));
    IS(now.ss_flags, 0);
    TRUE(now.ss_sp == area && now.ss_size == sizeof area);
    stack.ss_size = 100;
    FAILS(sigaltstack(&stack, NULL), ENOMEM);
    stack.ss_size = sizeof area;
    stack.ss_flags = 0x40;
    FAILS(sigaltstack(&stack, NULL), EINVAL);
    stack.ss_flags = SS_DISABLE;
    OK(sigaltstack(&stack, NULL));
    OK(sigaltstack(NULL, &now));
    IS(now.ss_flags, SS_DISABLE);
}

CHECK(stack_overflow_on_the_other_stack)
{
    static char area[65536];
    static sigjmp_buf back;
    void leave(int number) { siglongjmp(back, number); }
    struct rlimit small = {256 << 10, 256 << 10};
    OK(setrlimit(RLIMIT_STACK, &small));
    stack_t stack = {.ss_sp = area, .ss_size = sizeof area};
    OK(sigaltstack(&stack, NULL));
    on(SIGSEGV, leave, SA_ONSTACK);
    int dive(int depth)
    {
        volatile char block[8192];
        block[0] = depth;
        return depth > 100000 ? 0 : dive(depth + 1) + block[0];
    }
    int caught = sigsetjmp(back, 1);
    if (!caught)
        dive(0);
    IS(caught, SIGSEGV);
}

static sigjmp_buf out;

static void escape(int number, siginfo_t *info, void *context)
{
    (void)context;
    seen = *info;
    siglongjmp(out, number);
}

static int caught_by(int number, void (*body)(void))
{
    struct sigaction action = {.sa_sigaction = escape, .sa_flags = SA_SIGINFO};
    OK(sigaction(number, &action, NULL));
    int caught = sigsetjmp(out, 1);
    if (!caught)
        body();
    return caught;
}

static volatile char *place;

static void store(void)
{
    *place = 1;
}

static void load(void)
{
    char value = *place;
    (void)value;
}

CHECK(fault_where_nothing_is)
{
    place = (char *)0x14;
    IS(caught_by(SIGSEGV, load), SIGSEGV);
    IS(seen.si_code, SEGV_MAPERR);
    TRUE(seen.si_addr == (void *)0x14);
}

CHECK(fault_of_permission)
{
    place = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    IS(caught_by(SIGSEGV, load), 0);
    place += 123;
    IS(caught_by(SIGSEGV, store), SIGSEGV);
    IS(seen.si_code, SEGV_ACCERR);
    TRUE(seen.si_addr == (void *)place);
}

CHECK(fault_behind_the_end_of_a_file)
{
    int fd = file_of("f", "short");
    place = mmap(NULL, 8192, PROT_READ, MAP_SHARED, fd, 0);
    TRUE(place != MAP_FAILED);
    IS(caught_by(SIGBUS, load), 0);
    place += 4096;
    IS(caught_by(SIGBUS, load), SIGBUS);
    IS(seen.si_code, BUS_ADRERR);
    TRUE(seen.si_addr == (void *)place);
}

static void trap(void)
{
    __builtin_trap();
}

CHECK(illegal_instructions)
{
    int status = ended(child(trap));
    TRUE(status == 128 + SIGILL || status == 128 + SIGTRAP);
}

CHECK(faults_kill_when_masked)
{
    sigset_t set = set_of(SIGSEGV);
    on(SIGSEGV, note, 0);
    OK(sigprocmask(SIG_BLOCK, &set, NULL));
    place = NULL;
    IS(ended(child(load)), 128 + SIGSEGV);
    on(SIGSEGV, SIG_IGN, 0);
    IS(ended(child(load)), 128 + SIGSEGV);
}

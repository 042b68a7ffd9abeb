/* What processes and threads cost, over and over: tasks MODE TIMES. Modes: g(etpid), f(ork, exit and wait),
   p(ing-pong between two processes over two pipes), t(hread made and joined). */
#include "start.h"

#if defined(__x86_64__)
enum { GETPID = 39, CLONE = 56, WAIT4 = 61, PIPE2 = 293, READ = 0, FUTEX = 202 };
#define CALL5(result, number, a, b, c, d, e, then)                                                                    \
    register long r10 __asm__("r10") = d;                                                                             \
    register long r8 __asm__("r8") = e;                                                                               \
    __asm__ volatile("syscall\n" then                                                                                 \
                     : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8) : "rcx", "r11", "memory")
#define CHILD_ENDS "test %%rax, %%rax\n jnz 1f\n xor %%edi, %%edi\n mov $60, %%eax\n syscall\n1:"
#elif defined(__i386__)
enum { GETPID = 20, CLONE = 120, WAIT4 = 114, PIPE2 = 331, READ = 3, FUTEX = 240 };
#define CALL5(result, number, a, b, c, d, e, then)                                                                    \
    __asm__ volatile("int $0x80\n" then                                                                               \
                     : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e) : "memory")
#define CHILD_ENDS "test %%eax, %%eax\n jnz 1f\n xor %%ebx, %%ebx\n mov $1, %%eax\n int $0x80\n1:"
#elif defined(__aarch64__)
enum { GETPID = 172, CLONE = 220, WAIT4 = 260, PIPE2 = 59, READ = 63, FUTEX = 98 };
#define CALL5(result, number, a, b, c, d, e, then)                                                                    \
    register long x8 __asm__("x8") = number;                                                                          \
    register long x0 __asm__("x0") = a;                                                                               \
    register long x1 __asm__("x1") = b;                                                                               \
    register long x2 __asm__("x2") = c;                                                                               \
    register long x3 __asm__("x3") = d;                                                                               \
    register long x4 __asm__("x4") = e;                                                                               \
    __asm__ volatile("svc #0\n" then : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");            \
    result = x0
#define CHILD_ENDS "cbnz x0, 1f\n mov x8, #93\n svc #0\n1:"
#elif defined(__arm__)
enum { GETPID = 20, CLONE = 120, WAIT4 = 114, PIPE2 = 359, READ = 3, FUTEX = 240 };
#define CALL5(result, number, a, b, c, d, e, then)                                                                    \
    register long r7 __asm__("r7") = number;                                                                          \
    register long r0 __asm__("r0") = a;                                                                               \
    register long r1 __asm__("r1") = b;                                                                               \
    register long r2 __asm__("r2") = c;                                                                               \
    register long r3 __asm__("r3") = d;                                                                               \
    register long r4 __asm__("r4") = e;                                                                               \
    __asm__ volatile("svc #0\n" then : "+r"(r0) : "r"(r7), "r"(r1), "r"(r2), "r"(r3), "r"(r4) : "memory", "cc");      \
    result = r0
#define CHILD_ENDS "cmp r0, #0\n bne 1f\n mov r7, #1\n svc #0\n1:"
#elif defined(__riscv)
enum { GETPID = 172, CLONE = 220, WAIT4 = 260, PIPE2 = 59, READ = 63, FUTEX = 98 };
#define CALL5(result, number, a, b, c, d, e, then)                                                                    \
    register long a7 __asm__("a7") = number;                                                                          \
    register long a0 __asm__("a0") = a;                                                                               \
    register long a1 __asm__("a1") = b;                                                                               \
    register long a2 __asm__("a2") = c;                                                                               \
    register long a3 __asm__("a3") = d;                                                                               \
    register long a4 __asm__("a4") = e;                                                                               \
    __asm__ volatile("ecall\n" then : "+r"(a0) : "r"(a7), "r"(a1), "r"(a2), "r"(a3), "r"(a4) : "memory");             \
    result = a0
#define CHILD_ENDS "bnez a0, 1f\n li a7, 93\n ecall\n1:"
#endif

static long call(long number, long a, long b, long c, long d, long e) {
    long result;
    CALL5(result, number, a, b, c, d, e, "");
    return result;
}

enum { SIGCHLD = 17, WAIT = 0 };
/* VM, FS, FILES, SIGHAND, THREAD, SYSVSEM, and CHILD_CLEARTID, which joining waits for. */
enum { THREAD = 0x100 | 0x200 | 0x400 | 0x800 | 0x10000 | 0x40000 | 0x200000 };
static char stack[16384] __attribute__((aligned(16)));
static volatile int running;

/* A thread that ends at once. Its id's word is the fifth argument but on x86-64, where it is the fourth. */
static long thread(void) {
    long result, id = (long)&running;
    CALL5(result, CLONE, THREAD, (long)(stack + sizeof stack), 0, id, id, CHILD_ENDS);
    return result;
}

static long fork(void) { return call(CLONE, SIGCHLD, 0, 0, 0, 0); }

static int ping_pong(uint32_t times) {
    int there[2], back[2];
    char byte = 'x';
    if (call(PIPE2, (long)there, 0, 0, 0, 0) || call(PIPE2, (long)back, 0, 0, 0, 0)) return 3;
    long child = fork();
    if (child < 0) return 3;
    int from = child ? back[0] : there[0], to = child ? there[1] : back[1];
    for (; times > 0; times--) {
        if (child && system_call(SYS_WRITE, to, (long)&byte, 1) != 1) return 4;
        if (system_call(READ, from, (long)&byte, 1) != 1) return 4;
        if (!child && system_call(SYS_WRITE, to, (long)&byte, 1) != 1) return 4;
    }
    if (!child) system_call(SYS_EXIT, 0, 0, 0);
    return call(WAIT4, child, 0, 0, 0, 0) == child ? 0 : 5;
}

static int run(int argc, char **argv) {
    if (argc < 3) return 2;
    uint32_t times = number(argv[2]);
    int wrong = 0;
    switch (argv[1][0]) {
    case 'g':
        for (long first = system_call(GETPID, 0, 0, 0); times > 0 && !wrong; times--)
            wrong = system_call(GETPID, 0, 0, 0) != first;
        break;
    case 'f':
        for (; times > 0 && !wrong; times--) {
            long child = fork();
            if (child == 0) system_call(SYS_EXIT, 0, 0, 0);
            wrong = child < 0 || call(WAIT4, child, 0, 0, 0, 0) != child;
        }
        break;
    case 'p':
        wrong = ping_pong(times);
        break;
    case 't':
        for (; times > 0 && !wrong; times--) {
            running = 1;
            wrong = thread() <= 0;
            while (running && !wrong) call(FUTEX, (long)&running, WAIT, 1, 0, 0);
        }
        break;
    default:
        return 2;
    }
    print((uint32_t)wrong);
    return wrong;
}

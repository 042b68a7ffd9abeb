/* The smallest runtime there is: an entry point, three system calls and numbers as text, for five ISAs.

   The benchmark programs are freestanding so that the same instructions run everywhere, and nothing is measured but
   them: no libc start-up, no dynamic linker. `run` is the program's main; what it returns is the exit status. */
#include <stdint.h>

static int run(int argc, char **argv);

#if defined(__x86_64__)
enum { SYS_WRITE = 1, SYS_EXIT = 60, SYS_GETPPID = 110 };
__asm__(".globl _start\n_start: mov %rsp, %rdi\n and $-16, %rsp\n call begin\n hlt");
static inline long system_call(long number, long a, long b, long c) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}
#elif defined(__i386__)
enum { SYS_WRITE = 4, SYS_EXIT = 1, SYS_GETPPID = 64 };
__asm__(".globl _start\n_start: mov %esp, %eax\n and $-16, %esp\n sub $12, %esp\n push %eax\n call begin\n hlt");
static inline long system_call(long number, long a, long b, long c) {
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c) : "memory");
    return result;
}
#elif defined(__aarch64__)
enum { SYS_WRITE = 64, SYS_EXIT = 93, SYS_GETPPID = 173 };
__asm__(".globl _start\n_start: mov x0, sp\n bl begin\n");
static inline long system_call(long number, long a, long b, long c) {
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    return x0;
}
#elif defined(__arm__)
enum { SYS_WRITE = 4, SYS_EXIT = 1, SYS_GETPPID = 64 };
__asm__(".syntax unified\n.thumb\n.thumb_func\n.globl _start\n.type _start, %function\n_start: mov r0, sp\n bl begin\n");
static inline long system_call(long number, long a, long b, long c) {
    register long r7 __asm__("r7") = number; /* Thumb's frame pointer: built with -fomit-frame-pointer */
    register long r0 __asm__("r0") = a;
    register long r1 __asm__("r1") = b;
    register long r2 __asm__("r2") = c;
    __asm__ volatile("svc #0" : "+r"(r0) : "r"(r7), "r"(r1), "r"(r2) : "memory");
    return r0;
}
#elif defined(__riscv)
enum { SYS_WRITE = 64, SYS_EXIT = 93, SYS_GETPPID = 173 };
__asm__(".globl _start\n_start:\n.option push\n.option norelax\n la gp, __global_pointer$\n.option pop\n mv a0, sp\n"
        " call begin\n");
static inline long system_call(long number, long a, long b, long c) {
    register long a7 __asm__("a7") = number;
    register long a0 __asm__("a0") = a;
    register long a1 __asm__("a1") = b;
    register long a2 __asm__("a2") = c;
    __asm__ volatile("ecall" : "+r"(a0) : "r"(a7), "r"(a1), "r"(a2) : "memory");
    return a0;
}
#endif

__attribute__((used, noreturn)) void begin(long *stack) {
    long status = run((int)stack[0], (char **)(stack + 1));
    for (;;) system_call(SYS_EXIT, status, 0, 0);
}

/* The compiler may call these even in a freestanding program. */
__attribute__((used)) void *memset(void *to, int byte, __SIZE_TYPE__ count) {
    for (__SIZE_TYPE__ i = 0; i < count; i++) ((volatile char *)to)[i] = (char)byte;
    return to;
}
__attribute__((used)) void *memcpy(void *to, const void *from, __SIZE_TYPE__ count) {
    for (__SIZE_TYPE__ i = 0; i < count; i++) ((volatile char *)to)[i] = ((const char *)from)[i];
    return to;
}

static uint32_t number(const char *text) {
    uint32_t value = 0;
    while (*text >= '0' && *text <= '9') value = value * 10 + (uint32_t)(*text++ - '0');
    return value;
}

/* Prints a checksum, so that every peer can be seen to have done the same work. */
static void print(uint32_t value) {
    char text[9];
    for (int i = 0; i < 8; i++) text[i] = "0123456789abcdef"[value >> (28 - 4 * i) & 15];
    text[8] = '\n';
    system_call(SYS_WRITE, 1, (long)text, 9);
}

static uint32_t state = 12345;
static inline uint32_t next(void) {
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

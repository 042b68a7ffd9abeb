/* The CPU mix: mix KERNEL ROUNDS, where KERNEL is i (branchy integer), m (memory), c (calls) or f (floating point).
   Prints a checksum that does not depend on the ISA. */
#include "start.h"

/* Branches that depend on data: shell sort, and a bytewise interpreter of random programs. */
static uint32_t integers[16384];
static uint32_t branchy(void) {
    for (int i = 0; i < 16384; i++) integers[i] = next();
    for (int gap = 9841; gap > 0; gap /= 3)
        for (int i = gap; i < 16384; i++) {
            uint32_t value = integers[i];
            int j = i;
            for (; j >= gap && integers[j - gap] > value; j -= gap) integers[j] = integers[j - gap];
            integers[j] = value;
        }
    uint32_t a = 1, b = 0;
    for (int step = 0; step < 300000; step++) {
        switch (integers[(a ^ (uint32_t)step) & 16383] >> 3 & 7) {
        case 0: a += b + 1; break;
        case 1: b ^= a; break;
        case 2: a = a << 5 | a >> 27; break;
        case 3: if (a & 1) b += 3; else b -= a; break;
        case 4: a -= b >> 2; break;
        case 5: b = b * 5 + 7; break;
        case 6: if (b > a) a ^= 0x55aa; break;
        default: a += (uint32_t)step; break;
        }
    }
    return a ^ b ^ integers[77];
}

/* Loads and stores: copies of several widths, a stride, a histogram of bytes. */
static uint64_t source[65536], target[65536];
static uint32_t histogram[256];
static uint32_t memory(void) {
    for (int i = 0; i < 65536; i++) source[i] = (uint64_t)next() << 32 | (uint32_t)i;
    for (int pass = 0; pass < 4; pass++) {
        for (int i = 0; i < 65536; i++) target[i] = source[65535 - i];
        const uint8_t *bytes = (const uint8_t *)target;
        for (int i = 0; i < 65536 * 4; i++) histogram[bytes[i]]++;
        for (int offset = 0; offset < 512; offset++)
            for (int i = offset; i < 65536; i += 512) source[i] += target[(i * 17) & 65535];
    }
    return (uint32_t)(source[4711] >> 32) ^ (uint32_t)source[99] ^ histogram[65] ^ histogram[200];
}

/* Calls: recursion, and a table of functions. */
__attribute__((noinline)) static uint32_t fibonacci(uint32_t n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }
__attribute__((noinline)) static uint32_t plus(uint32_t x) { return x + 0x9e3779b9u; }
__attribute__((noinline)) static uint32_t times(uint32_t x) { return x * 2654435761u; }
__attribute__((noinline)) static uint32_t turn(uint32_t x) { return x << 7 | x >> 25; }
__attribute__((noinline)) static uint32_t blend(uint32_t x) { return plus(x) ^ turn(x); }
static uint32_t (*volatile operations[4])(uint32_t);
static uint32_t calls(void) {
    operations[0] = plus, operations[1] = times, operations[2] = turn, operations[3] = blend;
    uint32_t value = fibonacci(24);
    for (int i = 0; i < 300000; i++) value = operations[value >> 11 & 3](value);
    return value;
}

/* Doubles: a matrix product and a small n-body step; the sums are integers, so that rounding to 80 bits (x87) in
   between cannot show. */
static double left[48][48], right[48][48], product[48][48];
static uint32_t floating(void) {
    for (int i = 0; i < 48; i++)
        for (int j = 0; j < 48; j++) left[i][j] = (double)(next() & 255), right[i][j] = (double)(next() & 255) - 100.0;
    for (int pass = 0; pass < 3; pass++)
        for (int i = 0; i < 48; i++)
            for (int j = 0; j < 48; j++) {
                double sum = 0;
                for (int k = 0; k < 48; k++) sum += left[i][k] * right[k][j];
                product[i][j] += sum;
            }
    double x = 1.0, y = 0.25, sum = 0;
    for (int i = 0; i < 60000; i++) {
        double r = x * x + y * y + 0.5;
        x = x - y * 0.01 / r;
        y = y + x * 0.01 / r;
        sum += x > y ? 1.0 : 2.0;
    }
    double total = 0;
    for (int i = 0; i < 48; i++) total += product[i][i] + product[i][47 - i];
    return (uint32_t)(int32_t)total ^ (uint32_t)sum;
}

static int run(int argc, char **argv) {
    if (argc < 3) return 2;
    uint32_t checksum = 0;
    for (uint32_t round = number(argv[2]); round > 0; round--) {
        uint32_t value = 0;
        switch (argv[1][0]) {
        case 'i': value = branchy(); break;
        case 'm': value = memory(); break;
        case 'c': value = calls(); break;
        case 'f': value = floating(); break;
        default: return 2;
        }
        checksum = (checksum << 1 | checksum >> 31) ^ value;
    }
    print(checksum);
    return 0;
}

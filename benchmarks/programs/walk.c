/* A random walk over 64 MB: walk STEPS. Every page is touched first; each step reads and writes one word, and the
   next place depends on what was read. Prints a checksum. */
#include "start.h"

static uint32_t words[1 << 24];

static int run(int argc, char **argv) {
    if (argc < 2) return 2;
    for (uint32_t i = 0; i < 1 << 24; i += 1024) words[i] = i;
    uint32_t place = 0;
    for (uint32_t step = number(argv[1]); step > 0; step--) {
        place = (place * 1664525u + words[place >> 8] + 1013904223u);
        words[place >> 8] += step;
    }
    print(place ^ words[0]);
    return 0;
}

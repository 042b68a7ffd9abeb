/* A random walk over 64 MB: walk STEPS. Every page is touched first; each step reads and writes one word at a place
   that does not depend on the last, so that the host's memory can overlap them and what remains is the cost of finding
   the page. Prints a checksum. */
#include "start.h"

static uint32_t words[1 << 24];

static int run(int argc, char **argv) {
    if (argc < 2) return 2;
    for (uint32_t i = 0; i < 1 << 24; i += 1024) words[i] = i;
    uint32_t sum = 0;
    for (uint32_t step = number(argv[1]); step > 0; step--) {
        uint32_t place = next() >> 8;
        sum += words[place] ^ place;
        words[place] = step;
    }
    print(sum);
    return 0;
}

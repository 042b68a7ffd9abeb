/* A system call that does next to nothing, over and over: getppid CALLS. */
#include "start.h"

static int run(int argc, char **argv) {
    if (argc < 2) return 2;
    for (uint32_t call = number(argv[1]); call > 0; call--) system_call(SYS_GETPPID, 0, 0, 0);
    print(0);
    return 0;
}

/* Pipes and FIFOs. */
#include "check.h"

FAMILY("pipe");

static int ends[2];

static void fill(int fd)
{
    char block[4096] = {0};
    OK(fcntl(fd, F_SETFL, OK(fcntl(fd, F_GETFL)) | O_NONBLOCK));
    while (write(fd, block, sizeof block) > 0)
        ;
    IS(errno, EAGAIN);
}

CHECK(bytes_go_through)
{
    char text[10];
    OK(pipe(ends));
    IS(write(ends[1], "hello", 5), 5);
    IS(read(ends[0], text, 3), 3);
    SAME(text, "hel", 3);
    IS(read(ends[0], text, 10), 2);
    close(ends[1]);
    IS(read(ends[0], text, 10), 0);
}

CHECK(ends_have_directions)
{
    char byte;
    OK(pipe(ends));
    FAILS(write(ends[0], "x", 1), EBADF);
    FAILS(read(ends[1], &byte, 1), EBADF);
    FAILS(lseek(ends[0], 0, SEEK_CUR), ESPIPE);
    FAILS(pread(ends[0], &byte, 1, 0), ESPIPE);
    FAILS(ftruncate(ends[1], 0), EINVAL);
    FAILS(fsync(ends[0]), EINVAL);
    FAILS(pipe2(ends, 0x100), EINVAL);
    FAILS(pipe((int *)8), EFAULT);
}

CHECK(non_blocking)
{
    char byte;
    OK(pipe2(ends, O_NONBLOCK | O_CLOEXEC));
    FAILS(read(ends[0], &byte, 1), EAGAIN);
    fill(ends[1]);
    FAILS(write(ends[1], "x", 1), EAGAIN);
    IS(fcntl(ends[0], F_GETFD), FD_CLOEXEC);
}

CHECK(small_writes_are_whole)
{
    static char block[4096];
    OK(pipe2(ends, O_NONBLOCK));
    fill(ends[1]);
    IS(read(ends[0], block, 4000), 4000);
    FAILS(write(ends[1], block, 4096), EAGAIN);
    IS(read(ends[0], block, 96), 96);
    IS(write(ends[1], block, 4096), 4096);
}

CHECK(large_writes_may_be_short)
{
    static char block[1 << 17];
    OK(pipe2(ends, O_NONBLOCK));
    IS(write(ends[1], block, sizeof block), 65536);
}

CHECK(size_of_a_pipe)
{
    OK(pipe(ends));
    IS(fcntl(ends[0], F_GETPIPE_SZ), 65536);
    FAILS(fcntl(ends[0], F_SETPIPE_SZ, -1), EINVAL);
    IS(fcntl(ends[0], F_SETPIPE_SZ, 0), 4096);
    IS(fcntl(ends[0], F_SETPIPE_SZ, 5000), 8192);
    fill(ends[1]);
    int waiting;
    OK(ioctl(ends[0], FIONREAD, &waiting));
    IS(waiting, 8192);
    FAILS(fcntl(ends[0], F_SETPIPE_SZ, 4096), EBUSY);
}

CHECK(a_writer_sleeps_until_there_is_room)
{
    static char block[200000];
    OK(pipe(ends));
    pid_t pid = OK(fork());
    if (pid == 0) {
        close(ends[0]);
        memset(block, 'w', sizeof block);
        IS(write(ends[1], block, sizeof block), sizeof block);
        _exit(0);
    }
    close(ends[1]);
    long total = 0, got;
    while ((got = read(ends[0], block, 7777)) > 0) {
        for (long i = 0; i < got; i++)
            TRUE(block[i] == 'w');
        total += got;
    }
    IS(total, 200000);
    IS(ended(pid), 0);
}

CHECK(packets)
{
    char text[10];
    OK(pipe2(ends, O_DIRECT));
    IS(write(ends[1], "one", 3), 3);
    IS(write(ends[1], "second", 6), 6);
    IS(read(ends[0], text, 10), 3);
    IS(read(ends[0], text, 2), 2); /* the rest of the packet is lost */
    IS(write(ends[1], "x", 1), 1);
    IS(read(ends[0], text, 10), 1);
}

CHECK(vectors)
{
    char a[3], b[10];
    OK(pipe(ends));
    struct iovec out[3] = {{"ab", 2}, {"", 0}, {"cdef", 4}}, in[2] = {{a, 3}, {b, 10}};
    IS(writev(ends[1], out, 3), 6);
    IS(readv(ends[0], in, 2), 6);
    SAME(a, "abc", 3);
    SAME(b, "def", 3);
    FAILS(writev(ends[1], out, -1), EINVAL);
    FAILS(writev(ends[1], out, 1025), EINVAL);
    IS(writev(ends[1], out, 0), 0);
    in[0].iov_len = (size_t)-1;
    FAILS(readv(ends[0], in, 2), EINVAL);
}

CHECK(a_fifo_waits_for_the_other_side)
{
    char byte;
    OK(mkfifo("f", 0600));
    FAILS(open("f", O_WRONLY | O_NONBLOCK), ENXIO);
    pid_t pid = OK(fork());
    if (pid == 0) {
        int fd = OK(open("f", O_WRONLY));
        IS(write(fd, "q", 1), 1);
        _exit(0);
    }
    int fd = OK(open("f", O_RDONLY));
    IS(read(fd, &byte, 1), 1);
    IS(read(fd, &byte, 1), 0);
    IS(ended(pid), 0);
    int both = OK(open("f", O_RDWR));
    IS(write(both, "r", 1), 1);
    IS(read(fd, &byte, 1), 1);
}

CHECK(opening_a_fifo_is_interrupted)
{
    OK(mkfifo("f", 0600));
    ticks(0);
    FAILS(open("f", O_RDONLY), EINTR);
}

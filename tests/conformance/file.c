/* Files: opening, reading and writing, descriptors, sizes. */
#include "check.h"

FAMILY("file");

CHECK(open_flags)
{
    FAILS(open("f", O_RDONLY), ENOENT);
    int fd = OK(open("f", O_CREAT | O_EXCL | O_WRONLY, 0644));
    FAILS(open("f", O_CREAT | O_EXCL | O_WRONLY, 0644), EEXIST);
    IS(write(fd, "hello", 5), 5);
    close(OK(open("f", O_TRUNC | O_WRONLY)));
    struct stat status;
    OK(fstat(fd, &status));
    IS(status.st_size, 0);
    FAILS(open("f", O_DIRECTORY), ENOTDIR);
    FAILS(open("f/x", O_RDONLY), ENOTDIR);
    FAILS(open("", O_RDONLY), ENOENT);
    FAILS(open("f/", O_RDONLY), ENOTDIR);
    FAILS(open(".", O_WRONLY), EISDIR);
    FAILS(open(".", O_RDWR | O_CREAT, 0644), EISDIR);
    FAILS(open((char *)8, O_RDONLY), EFAULT);
}

CHECK(directions_of_descriptors)
{
    char byte;
    close(file_of("f", "x"));
    int reader = OK(open("f", O_RDONLY)), writer = OK(open("f", O_WRONLY)), path = OK(open("f", O_PATH));
    FAILS(write(reader, "x", 1), EBADF);
    FAILS(read(writer, &byte, 1), EBADF);
    FAILS(read(path, &byte, 1), EBADF);
    FAILS(read(99, &byte, 1), EBADF);
    FAILS(ftruncate(reader, 0), EINVAL);
    FAILS(fchmod(path, 0600), EBADF);
    struct stat status;
    OK(fstat(path, &status));
    IS(status.st_size, 1);
    IS(fcntl(path, F_GETFL) & ~0100000, O_PATH); /* O_LARGEFILE or not */
    FAILS(read(OK(open(".", O_RDONLY)), &byte, 1), EISDIR);
}

CHECK(positions)
{
    int fd = file_of("f", "0123456789");
    char byte;
    IS(lseek(fd, 4, SEEK_SET), 4);
    IS(read(fd, &byte, 1), 1);
    IS(byte, '4');
    IS(lseek(fd, -2, SEEK_CUR), 3);
    IS(lseek(fd, -1, SEEK_END), 9);
    IS(lseek(fd, 100, SEEK_SET), 100);
    IS(read(fd, &byte, 1), 0);
    FAILS(lseek(fd, -1, SEEK_SET), EINVAL);
    FAILS(lseek(fd, 0, 99), EINVAL);
    IS(pread(fd, &byte, 1, 7), 1);
    IS(byte, '7');
    IS(lseek(fd, 0, SEEK_CUR), 100);
    FAILS(pread(fd, &byte, 1, -1), EINVAL);
}

CHECK(holes)
{
    char text[8192];
    int fd = file_of("f", "");
    IS(pwrite(fd, "end", 3, 100000), 3);
    IS(pread(fd, text, sizeof text, 50000), sizeof text);
    for (unsigned i = 0; i < sizeof text; i++)
        TRUE(text[i] == 0);
    struct stat status;
    OK(fstat(fd, &status));
    IS(status.st_size, 100003);
    TRUE(status.st_blocks * 512 < 100003);
    FAILS(lseek(fd, 200000, SEEK_DATA), ENXIO);
    FAILS(lseek(fd, 200000, SEEK_HOLE), ENXIO);
    IS(lseek(fd, 100001, SEEK_DATA), 100001);
    IS(lseek(fd, 100001, SEEK_HOLE), 100003); /* there is one at the end */
}

CHECK(appending)
{
    int fd = OK(open("f", O_RDWR | O_CREAT | O_APPEND, 0644)), other = OK(open("f", O_WRONLY));
    IS(write(other, "abc", 3), 3);
    IS(write(fd, "def", 3), 3);
    IS(lseek(fd, 0, SEEK_CUR), 6);
    lseek(fd, 0, SEEK_SET);
    IS(write(fd, "g", 1), 1);
    IS(pwrite(fd, "h", 1, 0), 1); /* the position does not count either */
    char text[10];
    IS(pread(fd, text, 10, 0), 8);
    SAME(text, "abcdefgh", 8);
}

CHECK(vectors_with_positions)
{
    int fd = file_of("f", "0123456789");
    char a[2], b[3];
    struct iovec in[2] = {{a, 2}, {b, 3}};
    IS(preadv(fd, in, 2, 4), 5);
    SAME(a, "45", 2);
    SAME(b, "678", 3);
    IS(pwritev(fd, in, 2, 8), 5);
    IS(lseek(fd, 0, SEEK_END), 13);
    FAILS(preadv(fd, in, 2, -1), EINVAL);
    IS(preadv2(fd, in, 1, -1, 0), 0); /* at the position */
    FAILS(preadv2(fd, in, 1, 0, 0x4000), EOPNOTSUPP);
}

CHECK(partly_readable_buffers)
{
    char *place = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    OK(munmap(place + 4096, 4096));
    int fd = file_of("f", "");
    FAILS(write(fd, place + 4096, 10), EFAULT);
    int zero = OK(open("/dev/zero", O_RDONLY));
    FAILS(read(zero, place + 4096, 10), EFAULT);
    FAILS(read(zero, (void *)8, 10), EFAULT);
    IS(read(zero, (void *)8, 0), 0);
}

CHECK(duplicates)
{
    int fd = file_of("f", "abc"), copy = OK(dup(fd));
    TRUE(copy > fd);
    IS(lseek(fd, 2, SEEK_SET), 2);
    IS(lseek(copy, 0, SEEK_CUR), 2);
    IS(dup2(fd, 50), 50);
    IS(dup2(fd, fd), fd);
    FAILS(dup3(fd, fd, 0), EINVAL);
    FAILS(dup3(fd, 51, O_APPEND), EINVAL);
    IS(dup3(fd, 51, O_CLOEXEC), 51);
    IS(fcntl(51, F_GETFD), FD_CLOEXEC);
    IS(fcntl(50, F_GETFD), 0);
    FAILS(dup(99), EBADF);
    FAILS(dup2(fd, -1), EBADF);
    IS(fcntl(fd, F_DUPFD, 60), 60);
    IS(fcntl(fd, F_DUPFD_CLOEXEC, 60), 61);
    close(copy);
    FAILS(close(copy), EBADF);
}

CHECK(lowest_descriptor)
{
    int first = file_of("a", ""), second = file_of("b", ""), third = file_of("c", "");
    IS(second, first + 1);
    close(first);
    close(second);
    IS(file_of("d", ""), first);
    IS(dup(third), second);
}

CHECK(ranges_of_descriptors)
{
    for (int fd = 20; fd < 30; fd++)
        IS(dup2(1, fd), fd);
    OK(syscall(SYS_close_range, 22, 25, 0));
    FAILS(fcntl(22, F_GETFD), EBADF);
    IS(fcntl(26, F_GETFD), 0);
    OK(syscall(SYS_close_range, 26, ~0u, 4)); /* CLOSE_RANGE_CLOEXEC */
    IS(fcntl(29, F_GETFD), FD_CLOEXEC);
    FAILS(syscall(SYS_close_range, 5, 4, 0), EINVAL);
    FAILS(syscall(SYS_close_range, 5, 6, 64), EINVAL);
}

CHECK(status_flags)
{
    int fd = OK(open("f", O_RDWR | O_CREAT | O_EXCL | O_TRUNC, 0644));
    IS(fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK | O_CREAT | O_EXCL | O_TRUNC), O_RDWR);
    OK(fcntl(fd, F_SETFL, O_APPEND | O_NONBLOCK | O_WRONLY));
    IS(fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK), O_RDWR | O_APPEND | O_NONBLOCK);
    OK(fcntl(fd, F_SETFL, 0));
    IS(fcntl(fd, F_GETFL) & (O_APPEND | O_NONBLOCK), 0);
    FAILS(fcntl(fd, 9999, 0), EINVAL);
}

CHECK(sizes)
{
    int fd = file_of("f", "0123456789");
    char text[20];
    OK(ftruncate(fd, 4));
    OK(ftruncate(fd, 8));
    IS(pread(fd, text, 20, 0), 8);
    SAME(text, "0123\0\0\0\0", 8);
    OK(truncate("f", 2));
    IS(lseek(fd, 0, SEEK_END), 2);
    FAILS(ftruncate(fd, -1), EINVAL);
    FAILS(truncate(".", 0), EISDIR);
    FAILS(truncate("missing", 0), ENOENT);
}

CHECK(allocation)
{
    int fd = file_of("f", "abc");
    struct stat status;
    OK(fallocate(fd, 0, 0, 10000));
    OK(fstat(fd, &status));
    IS(status.st_size, 10000);
    OK(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 20000));
    OK(fstat(fd, &status));
    IS(status.st_size, 10000);
    OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096));
    char byte;
    IS(pread(fd, &byte, 1, 0), 1);
    IS(byte, 0);
    FAILS(fallocate(fd, 0, 0, 0), EINVAL);
    FAILS(fallocate(fd, 0, -1, 1), EINVAL);
    FAILS(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 1), EOPNOTSUPP);
    FAILS(fallocate(OK(open("f", O_RDONLY)), 0, 0, 1), EBADF);
}

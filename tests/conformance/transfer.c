/* Between files: locks, memfds, splice, sendfile, copy_file_range, extended attributes. */
#include "check.h"

#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/xattr.h>

FAMILY("transfer");

static int ends[2];

static int lock(int fd, int command, int type, off_t start, off_t length)
{
    struct flock request = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
    return fcntl(fd, command, &request);
}

/* Whether another process gets the lock. */
static int others_may(int type, off_t start, off_t length)
{
    pid_t pid = OK(fork());
    if (pid == 0) {
        int result = lock(OK(open("f", O_RDWR)), F_SETLK, type, start, length);
        _exit(result == 0 ? 1 : errno == EAGAIN || errno == EACCES ? 0 : 2);
    }
    return ended(pid);
}

CHECK(locks_of_processes)
{
    int fd = file_of("f", "0123456789");
    OK(lock(fd, F_SETLK, F_WRLCK, 2, 3));
    IS(others_may(F_RDLCK, 0, 2), 1);
    IS(others_may(F_RDLCK, 4, 1), 0);
    IS(others_may(F_RDLCK, 5, 0), 1);
    OK(lock(fd, F_SETLK, F_RDLCK, 2, 3));
    IS(others_may(F_RDLCK, 2, 3), 1);
    IS(others_may(F_WRLCK, 2, 3), 0);
    OK(lock(fd, F_SETLK, F_UNLCK, 3, 1)); /* a hole in it */
    IS(others_may(F_WRLCK, 3, 1), 1);
    IS(others_may(F_WRLCK, 4, 1), 0);
    close(OK(open("f", O_RDONLY))); /* any close by the process gives all up */
    IS(others_may(F_WRLCK, 0, 0), 1);
}

CHECK(locks_are_described)
{
    int fd = file_of("f", "");
    OK(lock(fd, F_SETLK, F_WRLCK, 10, 5));
    pid_t parent = getpid(), pid = OK(fork());
    if (pid == 0) {
        struct flock request = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
        OK(fcntl(fd, F_GETLK, &request));
        IS(request.l_type, F_WRLCK);
        IS(request.l_pid, parent);
        IS(request.l_start, 10);
        IS(request.l_len, 5);
        _exit(0);
    }
    IS(ended(pid), 0);
    struct flock request = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    OK(fcntl(fd, F_GETLK, &request));
    IS(request.l_type, F_UNLCK);
    FAILS(lock(fd, F_SETLK, 77, 0, 0), EINVAL);
    FAILS(lock(fd, F_SETLK, F_RDLCK, -1, 0), EINVAL);
    FAILS(lock(OK(open("f", O_RDONLY)), F_SETLK, F_WRLCK, 0, 0), EBADF);
}

CHECK(waiting_for_a_lock)
{
    int fd = file_of("f", "");
    OK(lock(fd, F_SETLK, F_WRLCK, 0, 0));
    pid_t pid = OK(fork());
    if (pid == 0) {
        OK(lock(fd, F_SETLKW, F_WRLCK, 0, 0));
        _exit(0);
    }
    until_state(pid, "S");
    OK(lock(fd, F_SETLK, F_UNLCK, 0, 0));
    IS(ended(pid), 0);
}

CHECK(deadlocks_are_seen)
{
    int fd = file_of("f", "");
    OK(lock(fd, F_SETLK, F_WRLCK, 0, 1));
    OK(pipe(ends));
    pid_t pid = OK(fork());
    if (pid == 0) {
        OK(lock(fd, F_SETLK, F_WRLCK, 1, 1));
        IS(write(ends[1], "x", 1), 1);
        OK(lock(fd, F_SETLKW, F_WRLCK, 0, 1));
        _exit(0);
    }
    char byte;
    IS(read(ends[0], &byte, 1), 1);
    until_state(pid, "S");
    FAILS(lock(fd, F_SETLKW, F_WRLCK, 1, 1), EDEADLK);
    OK(lock(fd, F_SETLK, F_UNLCK, 0, 1));
    IS(ended(pid), 0);
}

CHECK(locks_of_descriptions)
{
    int fd = file_of("f", ""), other = OK(open("f", O_RDWR));
    OK(lock(fd, F_OFD_SETLK, F_WRLCK, 0, 0));
    FAILS(lock(other, F_OFD_SETLK, F_RDLCK, 0, 0), EAGAIN);
    int copy = OK(dup(fd));
    close(fd);
    FAILS(lock(other, F_OFD_SETLK, F_RDLCK, 0, 0), EAGAIN);
    close(copy);
    OK(lock(other, F_OFD_SETLK, F_RDLCK, 0, 0));
}

CHECK(whole_file_locks)
{
    int fd = file_of("f", ""), other = OK(open("f", O_RDONLY));
    OK(flock(fd, LOCK_SH));
    OK(flock(other, LOCK_SH));
    FAILS(flock(other, LOCK_EX | LOCK_NB), EAGAIN);
    OK(flock(fd, LOCK_UN));
    OK(flock(other, LOCK_EX | LOCK_NB));
    FAILS(flock(fd, LOCK_SH | LOCK_NB), EAGAIN);
    FAILS(flock(fd, 77), EINVAL);
    pid_t pid = OK(fork());
    if (pid == 0) {
        OK(flock(other, LOCK_UN)); /* the description is shared */
        _exit(0);
    }
    IS(ended(pid), 0);
    OK(flock(fd, LOCK_EX | LOCK_NB));
    ticks(0);
    FAILS(flock(other, LOCK_SH), EINTR);
}

CHECK(memory_files)
{
    int fd = OK(memfd_create("name", MFD_CLOEXEC));
    char text[32] = {0};
    IS(write(fd, "content", 7), 7);
    IS(pread(fd, text, 10, 0), 7);
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    IS(readlink(path, text, sizeof text), strlen("/memfd:name (deleted)"));
    IS(fcntl(fd, F_GETFD), FD_CLOEXEC);
    FAILS(memfd_create("x", 0x8000), EINVAL);
    FAILS(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), EPERM);
    char long_name[300];
    memset(long_name, 'x', 299);
    long_name[299] = 0;
    FAILS(memfd_create(long_name, 0), EINVAL);
}

CHECK(seals)
{
    int fd = OK(memfd_create("sealed", MFD_ALLOW_SEALING));
    OK(ftruncate(fd, 4096));
    char *place = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    FAILS(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), EBUSY);
    OK(munmap(place, 4096));
    OK(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW));
    FAILS(ftruncate(fd, 0), EPERM);
    FAILS(ftruncate(fd, 5000), EPERM);
    IS(pwrite(fd, "x", 1, 0), 1);
    OK(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SEAL));
    FAILS(pwrite(fd, "x", 1, 0), EPERM);
    FAILS(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), EPERM);
    FAILS(fcntl(fd, F_ADD_SEALS, 0), EPERM);
    IS(fcntl(fd, F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
    OK(pipe(ends));
    FAILS(fcntl(ends[0], F_GET_SEALS), EINVAL);
}

CHECK(sending_files)
{
    int fd = file_of("f", "0123456789"), out = file_of("g", "");
    off_t offset = 2;
    char text[20];
    IS(sendfile(out, fd, &offset, 5), 5);
    IS(offset, 7);
    IS(lseek(fd, 0, SEEK_CUR), 0);
    IS(sendfile(out, fd, NULL, 100), 10);
    IS(lseek(fd, 0, SEEK_CUR), 10);
    IS(sendfile(out, fd, NULL, 100), 0);
    IS(pread(out, text, 20, 0), 15);
    SAME(text, "234560123456789", 15);
    OK(pipe(ends));
    offset = 0;
    IS(sendfile(ends[1], fd, &offset, 4), 4);
    FAILS(sendfile(out, ends[0], NULL, 4), EINVAL);
    FAILS(sendfile(out, 99, NULL, 1), EBADF);
    offset = -1;
    FAILS(sendfile(out, fd, &offset, 1), EINVAL);
}

CHECK(sending_files_to_sockets)
{
    int pair[2], fd = file_of("f", "over the wire");
    char text[20];
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    IS(sendfile(pair[0], fd, NULL, 13), 13);
    IS(recv(pair[1], text, 13, MSG_WAITALL), 13);
    SAME(text, "over the wire", 13);
}

CHECK(splicing)
{
    int fd = file_of("f", "0123456789"), out = file_of("g", "");
    loff_t offset = 3;
    char text[20];
    OK(pipe(ends));
    IS(splice(fd, &offset, ends[1], NULL, 4, 0), 4);
    IS(offset, 7);
    IS(splice(ends[0], NULL, out, NULL, 100, 0), 4);
    IS(pread(out, text, 20, 0), 4);
    SAME(text, "3456", 4);
    FAILS(splice(fd, NULL, out, NULL, 1, 0), EINVAL);
    FAILS(splice(fd, NULL, ends[1], &offset, 1, 0), ESPIPE);
    FAILS(splice(ends[0], NULL, out, NULL, 1, SPLICE_F_NONBLOCK), EAGAIN);
    FAILS(splice(ends[0], NULL, ends[1], NULL, 1, 0), EINVAL); /* one pipe */
    FAILS(splice(fd, NULL, ends[1], NULL, 1, 0x100), EINVAL);
    close(ends[1]);
    IS(splice(ends[0], NULL, out, NULL, 1, 0), 0);
}

CHECK(teeing)
{
    int other[2];
    char text[10];
    OK(pipe(ends));
    OK(pipe(other));
    IS(write(ends[1], "abc", 3), 3);
    IS(tee(ends[0], other[1], 10, 0), 3);
    IS(read(other[0], text, 10), 3);
    IS(read(ends[0], text, 10), 3);
    FAILS(tee(ends[0], other[1], 10, SPLICE_F_NONBLOCK), EAGAIN);
    FAILS(tee(ends[0], file_of("f", ""), 1, 0), EINVAL);
}

CHECK(memory_into_pipes)
{
    struct iovec parts[2] = {{"one", 3}, {"two", 3}};
    char text[10];
    OK(pipe(ends));
    IS(vmsplice(ends[1], parts, 2, 0), 6);
    IS(read(ends[0], text, 10), 6);
    SAME(text, "onetwo", 6);
}

CHECK(copying_ranges)
{
    int fd = file_of("f", "0123456789"), out = file_of("g", "");
    loff_t from = 2, to = 5;
    char text[20];
    IS(copy_file_range(fd, &from, out, &to, 4, 0), 4);
    IS(from, 6);
    IS(to, 9);
    IS(pread(out, text, 20, 0), 9);
    SAME(text, "\0\0\0\0\0002345", 9);
    IS(copy_file_range(fd, NULL, out, NULL, 100, 0), 10);
    IS(copy_file_range(fd, NULL, out, NULL, 100, 0), 0);
    FAILS(copy_file_range(fd, NULL, out, NULL, 1, 1), EINVAL);
    from = 0, to = 3;
    FAILS(copy_file_range(fd, &from, fd, &to, 5, 0), EINVAL); /* they overlap */
    OK(pipe(ends));
    FAILS(copy_file_range(ends[0], NULL, out, NULL, 1, 0), EINVAL);
    int appending = OK(open("g", O_WRONLY | O_APPEND));
    FAILS(copy_file_range(fd, &from, appending, NULL, 1, 0), EBADF);
}

CHECK(advice_about_files)
{
    int fd = file_of("f", "x");
    IS(posix_fadvise(fd, 0, 0, POSIX_FADV_WILLNEED), 0);
    IS(posix_fadvise(fd, 0, 0, 99), EINVAL);
    IS(posix_fadvise(99, 0, 0, 0), EBADF);
    OK(pipe(ends));
    IS(posix_fadvise(ends[0], 0, 0, 0), ESPIPE);
    OK(readahead(fd, 0, 10));
    FAILS(readahead(ends[0], 0, 10), EINVAL);
}

CHECK(absent_attributes)
{
    char text[10];
    close(file_of("f", ""));
    int result = getxattr("f", "user.absent", text, 10);
    IS(result, -1);
    TRUE(errno == ENODATA || errno == EOPNOTSUPP);
    FAILS(getxattr("missing", "user.x", text, 10), ENOENT);
    FAILS(setxattr("f", "nonsense", "", 0, 0), EOPNOTSUPP);
}

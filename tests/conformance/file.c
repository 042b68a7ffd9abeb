/* Files: opening, reading and writing, descriptors, sizes, modes, owners, times. */
#include "check.h"

#include <sys/statfs.h>
#include <sys/sysmacros.h>

FAMILY("file");

static void becomes_another(void)
{
    OK(setresgid(1000, 1000, 1000));
    OK(setresuid(1000, 1000, 1000));
}

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

CHECK(status_of_files)
{
    int fd = file_of("f", "hello");
    struct stat status, other;
    OK(fstat(fd, &status));
    TRUE(S_ISREG(status.st_mode));
    IS(status.st_mode & 07777, 0644);
    IS(status.st_nlink, 1);
    IS(status.st_uid, getuid());
    OK(stat("f", &other));
    IS(status.st_ino, other.st_ino);
    IS(status.st_dev, other.st_dev);
    OK(stat("/dev/null", &status));
    TRUE(S_ISCHR(status.st_mode));
    IS(major(status.st_rdev), 1);
    IS(minor(status.st_rdev), 3);
    FAILS(stat("missing", &status), ENOENT);
    FAILS(stat("", &status), ENOENT);
    OK(fstatat(fd, "", &status, AT_EMPTY_PATH));
    FAILS(fstatat(fd, "f", &status, 0), ENOTDIR);
    FAILS(fstatat(AT_FDCWD, "f", &status, 0x80000), EINVAL);
}

CHECK(statx_fields)
{
    close(file_of("f", "hello"));
    struct statx status;
    OK(statx(AT_FDCWD, "f", 0, STATX_BASIC_STATS, &status));
    TRUE((status.stx_mask & STATX_BASIC_STATS) == STATX_BASIC_STATS);
    IS(status.stx_size, 5);
    IS(status.stx_mode, S_IFREG | 0644);
    FAILS(statx(AT_FDCWD, "f", 0, 0x80000000u, &status), EINVAL);
    FAILS(statx(AT_FDCWD, "f", AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC, 0, &status), EINVAL);
}

CHECK(modes_and_masks)
{
    struct stat status;
    umask(027);
    close(OK(open("f", O_CREAT | O_WRONLY, 0666)));
    OK(stat("f", &status));
    IS(status.st_mode & 07777, 0640);
    IS(umask(022), 027);
    OK(chmod("f", 04751));
    OK(stat("f", &status));
    IS(status.st_mode & 07777, 04751);
    int fd = OK(open("f", O_RDWR));
    OK(fchmod(fd, 0600));
    OK(fchown(fd, 1000, -1));
    OK(fstat(fd, &status));
    IS(status.st_uid, 1000);
    IS(status.st_gid, getgid());
    FAILS(chmod("missing", 0600), ENOENT);
}

CHECK(change_of_owner_drops_set_id)
{
    struct stat status;
    close(file_of("f", ""));
    OK(chmod("f", 06755));
    OK(chown("f", 1000, 1000));
    OK(stat("f", &status));
    IS(status.st_mode & 07777, 0755);
}

CHECK(permissions)
{
    close(file_of("secret", "x"));
    OK(chmod("secret", 0600));
    close(file_of("public", "x"));
    OK(chmod("public", 0644));
    OK(mkdir("closed", 0700));
    close(file_of("closed/f", ""));
    becomes_another();
    FAILS(open("secret", O_RDONLY), EACCES);
    OK(open("public", O_RDONLY));
    FAILS(open("public", O_WRONLY), EACCES);
    FAILS(open("closed/f", O_RDONLY), EACCES);
    FAILS(open("new", O_CREAT | O_WRONLY, 0644), EACCES);
    FAILS(unlink("public"), EACCES);
    FAILS(chmod("public", 0666), EPERM);
    FAILS(chown("public", 1000, 1000), EPERM);
    FAILS(access("secret", R_OK), EACCES);
    OK(access("public", R_OK));
    OK(access("secret", F_OK));
    FAILS(truncate("public", 0), EACCES);
    FAILS(utimensat(AT_FDCWD, "public", NULL, 0), EACCES);
}

CHECK(access_asks_for_the_real_user)
{
    close(file_of("f", ""));
    OK(chmod("f", 0600));
    OK(setresuid(1000, 0, 0));
    FAILS(access("f", R_OK), EACCES);
    OK(faccessat(AT_FDCWD, "f", R_OK, AT_EACCESS));
    FAILS(access("f", 99), EINVAL);
}

CHECK(execute_needs_a_bit_even_for_root)
{
    close(file_of("f", ""));
    FAILS(access("f", X_OK), EACCES);
    OK(chmod("f", 0010));
    OK(access("f", X_OK));
}

CHECK(times)
{
    struct timespec times[2] = {{100, 5}, {200, 7}};
    struct stat status;
    int fd = file_of("f", "x");
    OK(futimens(fd, times));
    OK(fstat(fd, &status));
    IS(status.st_atim.tv_sec, 100);
    IS(status.st_mtim.tv_sec, 200);
    IS(status.st_mtim.tv_nsec, 7);
    times[0].tv_nsec = UTIME_OMIT;
    times[1].tv_nsec = UTIME_NOW;
    OK(futimens(fd, times));
    OK(fstat(fd, &status));
    IS(status.st_atim.tv_sec, 100);
    TRUE(status.st_mtim.tv_sec > 1000000);
    times[0].tv_nsec = 2000000000;
    FAILS(futimens(fd, times), EINVAL);
    OK(symlink("f", "l"));
    struct timespec both[2] = {{300, 0}, {300, 0}};
    OK(utimensat(AT_FDCWD, "l", both, AT_SYMLINK_NOFOLLOW));
    OK(lstat("l", &status));
    IS(status.st_mtim.tv_sec, 300);
    OK(stat("l", &status));
    IS(status.st_atim.tv_sec, 100);
}

CHECK(writing_changes_times)
{
    struct timespec past[2] = {{100, 0}, {100, 0}};
    struct stat status;
    int fd = file_of("f", "x");
    OK(futimens(fd, past));
    IS(write(fd, "y", 1), 1);
    OK(fstat(fd, &status));
    TRUE(status.st_mtim.tv_sec > 100);
    IS(status.st_atim.tv_sec, 100);
    OK(futimens(fd, past));
    OK(ftruncate(fd, 1)); /* also when the size stays */
    OK(fstat(fd, &status));
    TRUE(status.st_mtim.tv_sec > 100);
}

CHECK(removed_files_live_on)
{
    struct stat status;
    int fd = file_of("f", "still here");
    char text[10];
    OK(unlink("f"));
    IS(read(fd, text, 10), 10);
    OK(fstat(fd, &status));
    IS(status.st_nlink, 0);
    FAILS(stat("f", &status), ENOENT);
}

CHECK(nameless_files)
{
    int fd = open(".", O_TMPFILE | O_RDWR, 0600);
    TRUE(fd >= 0);
    struct stat status;
    OK(fstat(fd, &status));
    IS(status.st_nlink, 0);
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    OK(linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
    OK(stat("named", &status));
    IS(status.st_nlink, 1);
    FAILS(open(".", O_TMPFILE | O_RDONLY, 0600), EINVAL);
}

CHECK(devices)
{
    char text[16] = "xxxxxxxxxxxxxxx";
    int null = OK(open("/dev/null", O_RDWR)), zero = OK(open("/dev/zero", O_RDWR));
    IS(read(null, text, 16), 0);
    IS(write(null, text, 16), 16);
    IS(read(zero, text, 16), 16);
    IS(text[15], 0);
    FAILS(write(OK(open("/dev/full", O_WRONLY)), text, 1), ENOSPC);
    char random[16] = {0};
    IS(read(OK(open("/dev/urandom", O_RDONLY)), random, 16), 16);
    TRUE(memcmp(random, text, 16) != 0);
    IS(lseek(null, 5, SEEK_SET), 0);
    FAILS(ioctl(null, TIOCGWINSZ, text), ENOTTY);
}

CHECK(names_through_proc)
{
    char path[64], target[PATH_MAX], expected[PATH_MAX];
    int fd = file_of("f", "abc");
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t size = OK(readlink(path, target, sizeof target));
    TRUE(getcwd(expected, sizeof expected) != NULL);
    strcat(expected, "/f");
    IS(size, strlen(expected));
    SAME(target, expected, size);
    OK(unlink("f"));
    size = OK(readlink(path, target, sizeof target));
    SAME(target + size - 10, " (deleted)", 10);
    char text[3];
    IS(read(OK(open(path, O_RDONLY)), text, 3), 3);
}

CHECK(whole_filesystems)
{
    struct statfs status;
    OK(statfs(".", &status));
    TRUE(status.f_bsize > 0 && status.f_namelen >= 255);
    OK(fstatfs(file_of("f", ""), &status));
    FAILS(statfs("missing", &status), ENOENT);
    sync();
    OK(fsync(3));
    OK(fdatasync(3));
}

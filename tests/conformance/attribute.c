/* What there is to know of a file: status, modes, owners, times; and files without a name. */
#include "check.h"

#include <sys/statfs.h>
#include <sys/sysmacros.h>

FAMILY("attribute");

static void becomes_another(void)
{
    OK(setresgid(1000, 1000, 1000));
    OK(setresuid(1000, 1000, 1000));
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

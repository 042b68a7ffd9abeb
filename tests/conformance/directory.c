/* Directories, links, paths. */
#include "check.h"

#include <dirent.h>
#include <sys/xattr.h>

FAMILY("directory");

static int count_entries(const char *path)
{
    DIR *directory = opendir(path);
    TRUE(directory != NULL);
    int count = 0;
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

CHECK(making_and_removing)
{
    OK(mkdir("d", 0755));
    FAILS(mkdir("d", 0755), EEXIST);
    FAILS(mkdir("missing/d", 0755), ENOENT);
    FAILS(mkdir("", 0755), ENOENT);
    close(file_of("f", ""));
    FAILS(mkdir("f/d", 0755), ENOTDIR);
    close(file_of("d/f", ""));
    FAILS(rmdir("d"), ENOTEMPTY);
    OK(unlink("d/f"));
    OK(rmdir("d"));
    FAILS(rmdir("d"), ENOENT);
    FAILS(rmdir("f"), ENOTDIR);
    FAILS(rmdir("."), EINVAL);
    OK(mkdir("e/", 0755));
    FAILS(rmdir("e/."), EINVAL);
    FAILS(rmdir("e/.."), ENOTEMPTY);
    FAILS(unlink("e"), EISDIR);
    FAILS(unlinkat(AT_FDCWD, "e", 0x4000), EINVAL);
    OK(unlinkat(AT_FDCWD, "e", AT_REMOVEDIR));
}

CHECK(links_of_directories)
{
    struct stat status;
    OK(mkdir("d", 02750));
    OK(stat("d", &status));
    IS(status.st_nlink, 2);
    OK(mkdir("d/a", 0755));
    OK(mkdir("d/b", 0755));
    OK(stat("d", &status));
    IS(status.st_nlink, 4);
}

CHECK(group_of_a_directory_is_inherited)
{
    struct stat status;
    OK(mkdir("d", 0755));
    OK(chown("d", 0, 1000));
    OK(chmod("d", 02755));
    close(file_of("d/f", ""));
    OK(stat("d/f", &status));
    IS(status.st_gid, 1000);
    OK(mkdir("d/e", 0755));
    OK(stat("d/e", &status));
    IS(status.st_gid, 1000);
    IS(status.st_mode & 07777, 02755);
}

CHECK(reading)
{
    OK(mkdir("d", 0755));
    IS(count_entries("d"), 2);
    char path[20];
    for (int i = 0; i < 300; i++) {
        snprintf(path, sizeof path, "d/file%d", i);
        close(OK(open(path, O_CREAT | O_WRONLY, 0644)));
    }
    IS(count_entries("d"), 302);
}

CHECK(kinds_of_entries)
{
    OK(mkdir("d", 0755));
    close(file_of("d/f", ""));
    OK(mkdir("d/d", 0755));
    OK(symlink("x", "d/l"));
    OK(mkfifo("d/p", 0600));
    DIR *directory = opendir("d");
    struct dirent *entry;
    int seen = 0;
    while ((entry = readdir(directory))) {
        struct stat status;
        OK(fstatat(dirfd(directory), entry->d_name, &status, AT_SYMLINK_NOFOLLOW));
        IS(entry->d_type, IFTODT(status.st_mode));
        if (strcmp(entry->d_name, ".."))
            IS(entry->d_ino, status.st_ino);
        seen |= 1 << entry->d_type;
    }
    IS(seen, 1 << DT_REG | 1 << DT_DIR | 1 << DT_LNK | 1 << DT_FIFO);
}

CHECK(going_back)
{
    OK(mkdir("d", 0755));
    for (const char *name = "abcdef"; *name; name++) {
        char path[4] = {'d', '/', *name, 0};
        close(file_of(path, ""));
    }
    DIR *directory = opendir("d");
    for (int i = 0; i < 3; i++)
        TRUE(readdir(directory) != NULL);
    long place = telldir(directory);
    char expected[256];
    strcpy(expected, readdir(directory)->d_name);
    while (readdir(directory))
        ;
    seekdir(directory, place);
    IS(strcmp(readdir(directory)->d_name, expected), 0);
    rewinddir(directory);
    int count = 0;
    while (readdir(directory))
        count++;
    IS(count, 8);
}

CHECK(reading_what_changes)
{
    OK(mkdir("d", 0755));
    char path[20];
    for (int i = 0; i < 100; i++) {
        snprintf(path, sizeof path, "d/%d", i);
        close(file_of(path, ""));
    }
    DIR *directory = opendir("d");
    struct dirent *entry;
    int removed = 0;
    while ((entry = readdir(directory)))
        if (entry->d_name[0] != '.') {
            OK(unlinkat(dirfd(directory), entry->d_name, 0));
            removed++;
        }
    IS(removed, 100);
    OK(rmdir("d"));
    rewinddir(directory);
    TRUE(readdir(directory) == NULL);
}

CHECK(small_buffers)
{
    char buffer[24];
    close(file_of("a name that is rather long", ""));
    int fd = OK(open(".", O_RDONLY));
    int count = 0;
    long got;
    while ((got = syscall(SYS_getdents64, fd, buffer, sizeof buffer)) > 0)
        count++;
    IS(got, -1);
    IS(errno, EINVAL);
    FAILS(syscall(SYS_getdents64, file_of("f", ""), buffer, sizeof buffer), ENOTDIR);
}

CHECK(hard_links)
{
    struct stat status;
    close(file_of("f", "x"));
    OK(link("f", "g"));
    OK(stat("g", &status));
    IS(status.st_nlink, 2);
    FAILS(link("f", "g"), EEXIST);
    FAILS(link("missing", "h"), ENOENT);
    OK(mkdir("d", 0755));
    FAILS(link("d", "h"), EPERM);
    OK(unlink("f"));
    OK(stat("g", &status));
    IS(status.st_nlink, 1);
    OK(symlink("g", "l"));
    OK(link("l", "m"));
    OK(lstat("m", &status));
    TRUE(S_ISLNK(status.st_mode));
    OK(linkat(AT_FDCWD, "l", AT_FDCWD, "n", AT_SYMLINK_FOLLOW));
    OK(lstat("n", &status));
    TRUE(S_ISREG(status.st_mode));
}

CHECK(symbolic_links)
{
    char text[20] = {0};
    struct stat status;
    close(file_of("f", "12345"));
    OK(symlink("f", "l"));
    IS(readlink("l", text, 20), 1);
    IS(readlink("l", text, 1), 1);
    OK(lstat("l", &status));
    IS(status.st_size, 1);
    OK(stat("l", &status));
    IS(status.st_size, 5);
    FAILS(readlink("f", text, 20), EINVAL);
    FAILS(readlink("l", text, 0), EINVAL);
    FAILS(symlink("f", "l"), EEXIST);
    FAILS(symlink("", "e"), ENOENT);
    FAILS(open("l", O_RDONLY | O_NOFOLLOW), ELOOP);
    OK(open("l", O_PATH | O_NOFOLLOW));
    FAILS(open("l", O_CREAT | O_EXCL | O_WRONLY, 0644), EEXIST);
    OK(symlink("new", "dangling"));
    FAILS(stat("dangling", &status), ENOENT);
    close(OK(open("dangling", O_CREAT | O_WRONLY, 0644)));
    OK(stat("new", &status));
    OK(unlink("l"));
    OK(stat("f", &status));
}

CHECK(loops)
{
    struct stat status;
    OK(symlink("a", "b"));
    OK(symlink("b", "a"));
    FAILS(stat("a", &status), ELOOP);
    OK(lstat("a", &status));
    FAILS(open("a", O_RDONLY), ELOOP);
    close(file_of("f0", ""));
    char from[8], to[8];
    for (int i = 0; i < 41; i++) {
        snprintf(to, sizeof to, "f%d", i);
        snprintf(from, sizeof from, "f%d", i + 1);
        OK(symlink(to, from));
    }
    OK(stat("f40", &status));
    FAILS(stat("f41", &status), ELOOP);
}

CHECK(long_names)
{
    char name[5000];
    struct stat status;
    memset(name, 'n', sizeof name);
    name[256] = 0;
    FAILS(mkdir(name, 0755), ENAMETOOLONG);
    name[255] = 0;
    OK(mkdir(name, 0755));
    for (unsigned i = 0; i < sizeof name; i++)
        name[i] = i % 2 ? '/' : '.';
    name[4096] = 0;
    FAILS(stat(name, &status), ENAMETOOLONG);
    name[4095] = 0;
    OK(stat(name, &status));
}

CHECK(paths)
{
    struct stat status;
    OK(mkdir("d", 0755));
    close(file_of("d/f", ""));
    OK(stat("d//f", &status));
    OK(stat("./d/../d/./f", &status));
    OK(stat("d/", &status));
    FAILS(stat("d/f/", &status), ENOTDIR);
    FAILS(stat("d/f/..", &status), ENOTDIR);
    OK(stat("/../../..", &status));
    OK(symlink("d", "l"));
    OK(lstat("l", &status));
    TRUE(S_ISLNK(status.st_mode));
    OK(lstat("l/", &status));
    TRUE(S_ISDIR(status.st_mode));
}

CHECK(relative_to_descriptors)
{
    OK(mkdir("d", 0755));
    int fd = OK(open("d", O_RDONLY | O_DIRECTORY));
    close(OK(openat(fd, "f", O_CREAT | O_WRONLY, 0644)));
    OK(faccessat(fd, "f", F_OK, 0));
    OK(renameat(fd, "f", AT_FDCWD, "g"));
    OK(access("g", F_OK));
    FAILS(openat(99, "f", O_RDONLY), EBADF);
    FAILS(openat(file_of("plain", ""), "f", O_RDONLY), ENOTDIR);
    OK(rmdir("d"));
    FAILS(openat(fd, "f", O_CREAT | O_WRONLY, 0644), ENOENT);
    close(OK(openat(99, "/dev/null", O_RDONLY)));
}

CHECK(working_directories)
{
    char path[PATH_MAX], small[2];
    OK(mkdir("d", 0755));
    int back = OK(open(".", O_RDONLY));
    OK(chdir("d"));
    TRUE(getcwd(path, sizeof path) != NULL);
    IS(strcmp(path + strlen(path) - 2, "/d"), 0);
    FAILS(syscall(SYS_getcwd, small, 2), ERANGE);
    OK(rmdir("../d"));
    FAILS(syscall(SYS_getcwd, path, sizeof path), ENOENT);
    FAILS(mkdir("x", 0755), ENOENT);
    OK(fchdir(back));
    FAILS(chdir("missing"), ENOENT);
    close(file_of("f", ""));
    FAILS(chdir("f"), ENOTDIR);
    FAILS(fchdir(99), EBADF);
}

CHECK(other_roots)
{
    char path[PATH_MAX];
    OK(mkdir("root", 0755));
    close(file_of("root/inside", ""));
    pid_t pid = OK(fork());
    if (pid == 0) {
        OK(chroot("root"));
        OK(access("/inside", F_OK));
        OK(chdir("/"));
        OK(access("../../inside", F_OK));
        IS(syscall(SYS_getcwd, path, sizeof path), 2);
        _exit(0);
    }
    IS(ended(pid), 0);
    FAILS(chroot("root/inside"), ENOTDIR);
}

CHECK(renaming)
{
    close(file_of("a", "A"));
    close(file_of("b", "B"));
    OK(rename("a", "b"));
    FAILS(access("a", F_OK), ENOENT);
    OK(rename("b", "b"));
    OK(mkdir("d", 0755));
    FAILS(rename("b", "d"), EISDIR);
    FAILS(rename("d", "b"), ENOTDIR);
    FAILS(rename("missing", "x"), ENOENT);
    OK(mkdir("e", 0755));
    close(file_of("e/f", ""));
    FAILS(rename("d", "e"), ENOTEMPTY);
    OK(rename("e", "d"));
    OK(access("d/f", F_OK));
    OK(mkdir("d/sub", 0755));
    FAILS(rename("d", "d/sub/x"), EINVAL);
    FAILS(rename("d/sub", "d"), ENOTEMPTY);
    FAILS(rename("d", "."), EBUSY);
    OK(link("b", "same"));
    OK(rename("b", "same")); /* one file: nothing happens */
    OK(access("b", F_OK));
}

CHECK(renaming_with_flags)
{
    close(file_of("a", "A"));
    OK(mkdir("d", 0755));
    FAILS(renameat2(AT_FDCWD, "a", AT_FDCWD, "d", RENAME_NOREPLACE), EEXIST);
    OK(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_NOREPLACE));
    OK(renameat2(AT_FDCWD, "b", AT_FDCWD, "d", RENAME_EXCHANGE));
    struct stat status;
    OK(stat("b", &status));
    TRUE(S_ISDIR(status.st_mode));
    FAILS(renameat2(AT_FDCWD, "b", AT_FDCWD, "missing", RENAME_EXCHANGE), ENOENT);
    FAILS(renameat2(AT_FDCWD, "b", AT_FDCWD, "d", RENAME_EXCHANGE | RENAME_NOREPLACE), EINVAL);
}

CHECK(sticky_directories)
{
    OK(mkdir("t", 01777));
    OK(chmod("t", 01777));
    close(file_of("t/f", ""));
    OK(chmod(".", 0755));
    OK(setresuid(1000, 1000, 1000));
    FAILS(unlink("t/f"), EPERM);
    FAILS(rename("t/f", "t/g"), EPERM);
    close(file_of("t/mine", ""));
    OK(unlink("t/mine"));
}

CHECK(nodes)
{
    struct stat status;
    OK(mknod("p", S_IFIFO | 0600, 0));
    OK(mknod("f", S_IFREG | 0600, 0));
    OK(mknod("g", 0600, 0));
    FAILS(mknod("f", S_IFREG | 0600, 0), EEXIST);
    FAILS(mknod("d", S_IFDIR | 0700, 0), EPERM);
    FAILS(mknod("x", 0170000, 0), EINVAL);
    OK(stat("g", &status));
    TRUE(S_ISREG(status.st_mode));
}

CHECK(restricted_resolution)
{
    struct {
        uint64_t flags, mode, resolve;
    } how = {O_RDONLY, 0, 8}; /* RESOLVE_BENEATH */
    OK(mkdir("d", 0755));
    close(file_of("f", ""));
    close(file_of("d/f", ""));
    OK(symlink("../f", "d/out"));
    int fd = OK(open("d", O_RDONLY));
    OK(syscall(SYS_openat2, fd, "f", &how, sizeof how));
    FAILS(syscall(SYS_openat2, fd, "../f", &how, sizeof how), EXDEV);
    FAILS(syscall(SYS_openat2, fd, "out", &how, sizeof how), EXDEV);
    FAILS(syscall(SYS_openat2, fd, "/dev/null", &how, sizeof how), EXDEV);
    how.resolve = 4; /* RESOLVE_NO_SYMLINKS */
    FAILS(syscall(SYS_openat2, fd, "out", &how, sizeof how), ELOOP);
    how.resolve = 1 << 20;
    FAILS(syscall(SYS_openat2, fd, "f", &how, sizeof how), EINVAL);
    FAILS(syscall(SYS_openat2, fd, "f", &how, 8), EINVAL);
}

CHECK(removing_while_open)
{
    OK(mkdir("d", 0755));
    close(file_of("d/f", "x"));
    int fd = OK(open("d/f", O_RDONLY));
    OK(unlink("d/f"));
    OK(rmdir("d"));
    char byte;
    IS(read(fd, &byte, 1), 1);
    OK(mkdir("d", 0755));
    FAILS(access("d/f", F_OK), ENOENT);
}

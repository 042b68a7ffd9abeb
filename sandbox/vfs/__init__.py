"""The virtual filesystem of one VM: everything a guest path can name, and nothing of the host that was not given.

From the bottom up: `file` (open file descriptions) and `node` (inodes, filesystems, the right errno by default);
`mount` (places in the tree, the mount table) and `walk` (path resolution); `namespace` and `opening` (the checked
operations a syscall needs: permissions, read-only mounts, sticky directories). Filesystems: `tree` (inodes in
memory) with `tmpfs`, `overlay`, `tarfs` and `volume` on top of it, `hostfs`, `procfs`. Not in the tree: `pipe`,
`stream`. `device` and `devfs` are /dev; `root` puts a whole tree together.

To add a filesystem: subclass `Node` (or build on `tree`), and add a line to `tests/test_vfs_filesystems.py`.
Nothing here knows of tasks or syscalls; guest-side names and contents are bytes.
"""

"""The virtual filesystem of one VM: everything a guest path can name, and nothing of the host that was not given.

From the bottom up: `file` (open file descriptions) and `node` (inodes, filesystems, the right errno by default);
`mount` (places in the tree, the mount table) and `walk` (path resolution); `namespace` and `opening` (the checked
operations a syscall needs: permissions, read-only mounts, sticky directories); `lock` (advisory locks).

Filesystems: `tree` and `tree_node` (inodes in memory) with `tmpfs`, `overlay`, `tarfs`, `image` and `volume` on top;
`hostfs` (with `host_node`, `host_descriptors`); `procfs` (with `proc_*`). Of volumes: `volume_journal` is the file,
`volume_content` a file's blocks, `volume_store` names and locks, `archive` the export. Not in the tree: `pipe`,
`stream`, `eventfile`, `socket` (with `stream_socket`, `datagram_socket`, `ports`), `epoll`, `terminal` (with
`line_discipline`, `termios`), `anonymous`. `devfs` is /dev; `root` puts a whole tree together.

To add a filesystem: subclass `Node` (or build on `tree`), and add a line to `tests/vfs_filesystems.py`.
Nothing here knows of tasks or syscalls; guest-side names and contents are bytes.
"""

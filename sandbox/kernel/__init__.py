"""The Linux personality: one instance per VM serves the real Linux syscall ABI from the VM's own parts.

    linux       the machine: run loop, tasks, what a stop of the engine means
    task process fdtable signals timers      what the kernel keeps
    row table calling dispatch trace stats   one table of syscalls, and everything derived from it
    lookup transfer readiness watching       what the file calls share: names, bytes, waiting, inotify
    nameless timerfd terminals job_control   files without a place in the tree, and who a terminal belongs to
    sys_*       the handlers by family; each file ends with its rows of the table

Rule: a guest call is never passed through to the host. Handlers raise `Errno` or `Block` and nothing else.
"""

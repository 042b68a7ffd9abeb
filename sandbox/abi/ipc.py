"""System V IPC: commands, flags, and the layouts of its structures (the IPC_64 ones, which every libc asks for).

Sources: `linux/ipc.h`, `linux/msg.h`, `linux/sem.h`, `linux/shm.h`, `asm/ipcbuf.h`, `asm/sembuf.h` and relatives.
"""

from __future__ import annotations

from struct import Struct

from sandbox.abi.structs import BITS

IPC_PRIVATE = 0
IPC_CREAT, IPC_EXCL, IPC_NOWAIT = 0o1000, 0o2000, 0o4000
IPC_RMID, IPC_SET, IPC_STAT, IPC_INFO = 0, 1, 2, 3
IPC_64 = 0x100  # added to a command on the ISAs that once had smaller structures
VERSIONED = ("i386", "arm")

MSG_NOERROR, MSG_EXCEPT, MSG_COPY = 0o10000, 0o20000, 0o40000
MSG_STAT, MSG_INFO, MSG_STAT_ANY = 11, 12, 13

SEM_UNDO = 0x1000
GETPID, GETVAL, GETALL, GETNCNT, GETZCNT, SETVAL, SETALL = 11, 12, 13, 14, 15, 16, 17
SEM_STAT, SEM_INFO, SEM_STAT_ANY = 18, 19, 20

SHM_RDONLY, SHM_RND, SHM_REMAP, SHM_EXEC = 0o10000, 0o20000, 0o40000, 0o100000
SHM_HUGETLB, SHM_NORESERVE = 0o4000, 0o10000  # of shmget
SHM_DEST, SHM_LOCKED = 0o1000, 0o2000  # in the mode that shmctl shows
SHM_LOCK, SHM_UNLOCK, SHM_STAT, SHM_INFO, SHM_STAT_ANY = 11, 12, 13, 14, 15

SEMBUF = Struct("<Hhh")  # struct sembuf: sem_num, sem_op, sem_flg

# key, uid, gid, cuid, cgid, mode, seq
_PERMISSIONS = {32: "iIIIIH2xH2x8x", 64: "iIIIIIH2x4x16x"}
# stime, rtime, ctime; cbytes, qnum, qbytes; lspid, lrpid
_QUEUE = {32: "QQQIIIii8x", 64: "qqqQQQii16x"}
# otime, ctime, nsems
_SET = {32: "QQI8x", 64: "qqQ16x"}
_SET_X86_64 = "q8xq8xQ16x"
# segsz, atime, dtime, ctime, cpid, lpid, nattch
_SEGMENT = {32: "IQQQiiI8x", 64: "QqqqiiQ16x"}

PERMISSIONS = {bits: Struct("<" + layout) for bits, layout in _PERMISSIONS.items()}
MSQID_DS = {isa: Struct("<" + _PERMISSIONS[bits] + _QUEUE[bits]) for isa, bits in BITS.items()}
SEMID_DS = {
    isa: Struct("<" + _PERMISSIONS[bits] + (_SET_X86_64 if isa == "x86_64" else _SET[bits]))
    for isa, bits in BITS.items()
}
SHMID_DS = {isa: Struct("<" + _PERMISSIONS[bits] + _SEGMENT[bits]) for isa, bits in BITS.items()}

MSGINFO = Struct("<7iH2x")  # msgpool msgmap msgmax msgmnb msgmni msgssz msgtql msgseg
SEMINFO = Struct("<10i")  # semmap semmni semmns semmnu semmsl semopm semume semusz semvmx semaem
SHMINFO = {32: Struct("<5I16x"), 64: Struct("<5Q32x")}  # shmmax shmmin shmmni shmseg shmall
SHM_USAGE = {32: Struct("<i3I8x"), 64: Struct("<i4x3Q16x")}  # struct shm_info: used_ids shm_tot shm_rss shm_swp

assert {isa: layout.size for isa, layout in MSQID_DS.items()} == {
    isa: {32: 88, 64: 120}[bits] for isa, bits in BITS.items()
}
assert [SEMID_DS[isa].size for isa in ("x86_64", "arm64", "i386", "arm")] == [104, 88, 64, 64]
assert [SHMID_DS[isa].size for isa in ("x86_64", "i386")] == [112, 84]

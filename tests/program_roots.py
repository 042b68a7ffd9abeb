"""Root filesystems of real, dynamically linked Debian programs, one per ISA, put together from unpacked packages.

`root(isa)` is a directory in the test cache that `sandbox run --rootfs` takes and that qemu-user's -L understands.
Packages are merged as on a system where /bin, /sbin and /lib are links into /usr; no maintainer script runs, so what
those would have made (a python3 that is a link, a password file) is made here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

from tests import debian, native

EVERYWHERE = """
    base-files bash dash coreutils grep sed mawk findutils diffutils tar gzip bzip2 xz-utils zstd sqlite3 jq lua5.4
    perl-base python3-minimal libpython3-stdlib
    libc6 libc-bin libtinfo6 libselinux1 libacl1 libattr1 libgmp10 libpcre2-8-0 liblzma5 libzstd1 liblz4-1 zlib1g
    libbz2-1.0 libgcc-s1 libstdc++6 libexpat1 libcrypt1 libffi8 libncursesw6 libsqlite3-0 libuuid1 libnsl2 libjq1
    libonig5 liblua5.4-0
""".split()
OF_SUITE = {
    "bookworm": """
        python3.11-minimal libpython3.11-minimal libpython3.11-stdlib libssl3 libreadline8 libdb5.3 libtirpc3
    """.split(),
    "trixie": """
        python3.13-minimal libpython3.13-minimal libpython3.13-stdlib libssl3t64 libreadline8t64 libdb5.3t64
        libtirpc3t64 libcap2 libsystemd0 libatomic1
    """.split(),
}
TWINS = {"x86_64-trixie": debian.Port("amd64", "trixie")}
# In a mount namespace of its own, so that the host sees nothing of it.
ENTER = """
mount --rbind /proc "$1/proc" && mount --rbind /dev "$1/dev" || exit 125
root=$1 directory=$2
shift 2
exec unshare --root="$root" --wd="$directory" -- "$@"
"""
LINKED_DIRECTORIES = ("bin", "sbin", "lib", "lib64")
VERSION = "3"  # of what this module makes; another one makes every root anew


def root(isa: str) -> Path:
    """Raises debian.Unavailable."""
    parent = debian.cache_directory() / "program-roots"
    place = parent / isa
    if _is_current(place):
        return place
    port = TWINS.get(isa) or debian.PORTS[isa]
    trees = debian.packages(port, [*EVERYWHERE, *OF_SUITE[port.suite]])
    parent.mkdir(parents=True, exist_ok=True)
    with debian.locked(parent / ".lock"):
        if not _is_current(place):
            partial = parent / f".{isa}"
            shutil.rmtree(partial, ignore_errors=True)
            shutil.rmtree(place, ignore_errors=True)
            _build(partial, trees)
            partial.rename(place)
    return place


def twin(isa: str) -> Path:
    """The root of the same release whose programs the host kernel runs: of the ISA itself, or of amd64."""
    if isa in ("x86_64", "i386"):
        return root(isa)
    return root("x86_64" if debian.PORTS[isa].suite == "bookworm" else "x86_64-trixie")


def run_in_chroot(place: Path, words: list[str], stdin: bytes, cwd: str, environment: dict[str, str]) -> native.Outcome:
    """Natively, with `place` as root. Raises native.NoOracle where an ordinary user may not."""
    namespace = ["unshare", "--mount", *([] if os.getuid() == 0 else ["--map-root-user"])]
    if not _possible(tuple(namespace)):
        raise native.NoOracle("no chroot with /proc: this needs the superuser or user namespaces")
    done = subprocess.run(
        [*namespace, "/bin/sh", "-c", ENTER, "sh", str(place), cwd, *words],
        executable=shutil.which("unshare"),
        input=stdin,
        capture_output=True,
        env=environment,
        timeout=120,
        check=False,
    )
    status = done.returncode if done.returncode >= 0 else 128 - done.returncode
    return native.Outcome(done.stdout, done.stderr, status)


@cache
def _possible(namespace: tuple[str, ...]) -> bool:
    probe = [*namespace, "/bin/sh", "-c", "mount --rbind /proc /proc"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def _is_current(place: Path) -> bool:
    marker = place / ".made-by"
    return marker.is_file() and marker.read_text() == VERSION


def _build(place: Path, trees: list[Path]) -> None:
    for directory in ("usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "tmp", "root", "proc", "dev", "work"):
        (place / directory).mkdir(parents=True)
    for name in LINKED_DIRECTORIES:
        (place / name).symlink_to(f"usr/{name}")
    for tree in trees:
        for name in sorted(os.listdir(tree)):
            target = place / "usr" / name if name in LINKED_DIRECTORIES else place / name
            source = tree / name
            if not source.is_symlink():
                shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
    for link in (place / "usr").rglob("*"):
        if link.is_symlink() and os.readlink(link).startswith("/"):  # qemu-user would look for it on the host
            absolute = place / os.readlink(link)[1:]
            link.unlink()
            link.symlink_to(os.path.relpath(absolute, link.parent.resolve()))
    (place / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534::/:/bin/false\n")
    (place / "etc" / "group").write_text("root:x:0:\nnogroup:x:65534:\n")
    for name, program in (("sh", "dash"), ("awk", "mawk"), ("lua", "lua5.4")):
        link = place / "usr" / "bin" / name
        if not link.is_symlink() and not link.exists():
            link.symlink_to(program)
    (place / ".made-by").write_text(VERSION)


if __name__ == "__main__":
    for isa_name in (*debian.PORTS, *TWINS):
        print(isa_name, root(isa_name))

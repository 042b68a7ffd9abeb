"""Real programs of every ISA and kind of linking, built here with the cross compilers: all say the same as the static
one says where the truth is."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

import sandbox
from tests import native

COMPILERS = {
    "x86_64": "x86_64-linux-gnu",
    "i386": "i686-linux-gnu",
    "arm64": "aarch64-linux-gnu",
    "arm": "arm-linux-gnueabihf",
    "riscv64": "riscv64-linux-gnu",
}
LINKING = {"static": ["-static"], "static-pie": ["-static-pie"], "dynamic": ["-no-pie"], "dynamic-pie": ["-pie"]}
NO_STATIC_PIE = {"arm", "riscv64"}  # Debian's C libraries lack its start files there
SOURCE = r"""
#include <elf.h>
#include <link.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

static __thread int local = 41;
static int constructed, zeros[5000], table[3] = {1, 2, 3};
static const char *names[] = {"relocated", "pointers"};
extern char **environ;
__attribute__((constructor)) static void construct(void) { constructed = 7; }

int main(int argc, char **argv)
{
    for (int i = 0; i < argc; i++) printf("argv[%d]=%s\n", i, argv[i]);
    for (char **e = environ; *e; e++) printf("%s\n", *e);
    int sum = 0;
    for (int i = 0; i < 5000; i++) sum += zeros[i];
    printf("%d %d %d %d %s %s\n", ++local, constructed, sum, table[2], names[0], names[1]);
    printf("%.6f %.3e\n", sqrt(argc), pow(1.5, 40));
    const ElfW(Phdr) *headers = (const void *)getauxval(AT_PHDR);
    int loads = 0;
    for (unsigned long i = 0; i < getauxval(AT_PHNUM); i++) loads += headers[i].p_type == PT_LOAD;
    printf("%d %lu %lu %lu\n", loads > 0, getauxval(AT_PAGESZ), getauxval(AT_CLKTCK), getauxval(AT_SECURE));
    printf("%s\n", strrchr((char *)getauxval(AT_EXECFN), '/') + 1);
    printf("%s\n", getauxval(AT_PLATFORM) ? (char *)getauxval(AT_PLATFORM) : "-");
    printf("%d\n", getauxval(AT_RANDOM) != 0);
    char *more = malloc(1 << 20);
    memset(more, 'x', 1 << 20);
    free(more);
    printf("%d\n", (char *)sbrk(0) > (char *)0);
    return 3;
}
"""


@cache
def built(arch: str, kind: str, folder: Path) -> Path:
    compiler = shutil.which(f"{COMPILERS[arch]}-gcc")
    if compiler is None:
        pytest.skip(f"{COMPILERS[arch]}-gcc is not installed")
    root = folder / f"{arch}-{kind}"
    (root / "lib").mkdir(parents=True)
    source = root / "program.c"
    source.write_text(SOURCE)
    program = root / "program"
    command = [compiler, "-O1", *LINKING[kind], "-o", str(program), str(source), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{COMPILERS[arch]}-gcc cannot build it: {done.stderr.splitlines()[0]}")
    if "dynamic" in kind:
        for name in ("libc.so.6", "libm.so.6", *_interpreters(program)):
            found = _library(compiler, name)
            target = root / name.lstrip("/") if name.startswith("/") else root / "lib" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(found, target)
    return root


def _interpreters(program: Path) -> list[str]:
    text = subprocess.run(["readelf", "-l", program], capture_output=True, text=True, check=True).stdout
    return [line.split("interpreter: ")[1].rstrip("]") for line in text.splitlines() if "interpreter: " in line]


def _library(compiler: str, name: str) -> str:
    name = name.rpartition("/")[2]
    done = subprocess.run([compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("programs")


ARGUMENTS = ["program", "one", "", "three words here"]
ENVIRONMENT = {"FIRST": "1", "SECOND": "zwei", "LD_LIBRARY_PATH": "/lib"}


KINDS = [(arch, kind) for arch in COMPILERS for kind in LINKING if not (kind == "static-pie" and arch in NO_STATIC_PIE)]


@pytest.mark.parametrize(("arch", "kind"), KINDS)
def test_programs_say_the_same(arch: str, kind: str, folder: Path) -> None:
    program = built(arch, "static", folder) / "program"
    try:
        there = native.run(arch, program, ARGUMENTS, environment=ENVIRONMENT)
    except native.NoOracle as missing:
        pytest.skip(str(missing))
    root = built(arch, kind, folder)
    done = sandbox.run(["/program", *ARGUMENTS[1:]], rootfs=str(root), env=ENVIRONMENT, timeout=30)
    here = done.stdout.replace(b"argv[0]=/program", b"argv[0]=program")
    expected = there.stdout.replace(b"v8l", b"v7l")  # qemu-arm's default is a newer CPU
    assert (here.splitlines(), done.returncode) == (expected.splitlines(), 3), done.stderr


# An instruction for each feature that HWCAP promises: it must not end in SIGILL.
FEATURES = [
    ("arm64", "fp", "fadd d0, d0, d1"),
    ("arm64", "asimd", "add v0.4s, v0.4s, v1.4s"),
    ("arm64", "aes", ".word 0x4e284820"),
    ("arm64", "pmull", ".word 0x0ee2e020"),
    ("arm64", "sha1", ".word 0x5e280820"),
    ("arm64", "sha2", ".word 0x5e024020"),
    ("arm64", "crc32", ".word 0x9ac24c20"),
    ("arm", "swp", "swp r0, r1, [sp]"),
    ("arm", "half", "ldrh r0, [sp]"),
    ("arm", "fast multiplication", "umull r0, r1, r2, r3"),
    ("arm", "edsp", "qadd r0, r1, r2"),
    ("arm", "vfpv4", "vfma.f32 s0, s1, s2"),
    ("arm", "vfpd32", "vadd.f64 d20, d21, d22"),
    ("arm", "neon", "vadd.i32 q0, q1, q2"),
    ("arm", "tls", "mrc p15, #0, r0, c13, c0, #3"),
    ("arm", "idiva", "udiv r0, r0, r1"),
    ("arm", "lpae", "ldrexd r0, r1, [sp]"),
    ("x86_64", "fsgsbase", "rdfsbase rax\nwrfsbase rax"),
    ("x86_64", "sse2", "paddq xmm0, xmm1"),
    ("i386", "sse2", "paddq xmm0, xmm1"),
]
EXITS = {
    "arm64": "mov x8, #94\nmov x0, #0\nsvc #0\n",
    "arm": "mov r7, #248\nmov r0, #0\nsvc #0\n",
    "x86_64": "mov eax, 231\nxor edi, edi\nsyscall\n",
    "i386": "mov eax, 252\nxor ebx, ebx\nint 0x80\n",
}


@pytest.mark.parametrize(
    ("arch", "instruction"), [(row[0], row[2]) for row in FEATURES], ids=[f"{row[0]}-{row[1]}" for row in FEATURES]
)
def test_hwcap_is_honest(arch: str, instruction: str, tmp_path: Path) -> None:
    path = tmp_path / "feature.s"
    path.write_text(f"{instruction}\n{EXITS[arch]}")
    done = sandbox.run([str(path)], arch=arch, timeout=10)
    assert done.returncode == 0, done.reason


def test_features_that_are_missing_are_not_promised(tmp_path: Path) -> None:
    path = tmp_path / "atomics.s"
    path.write_text(f".word 0xb8200041\n{EXITS['arm64']}")  # ldadd: HWCAP_ATOMICS is not set
    assert sandbox.run([str(path)], arch="arm64", timeout=10).returncode == 132

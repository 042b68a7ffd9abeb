"""The small directory that busybox applets work on in test_busybox: made anew for every invocation.

All contents are computed here (no opaque files), all times are fixed, and archives are written by Python's own
modules, so that what busybox reads was not written by busybox.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import tarfile
import zipfile
from functools import cache
from pathlib import Path

TIME = 981173106  # 2001-02-03 04:05:06 UTC

TEXT = b"""\
The quick brown fox jumps over the lazy dog.
\tA line that begins with a tab\tand has one inside.
Numbers: 1 22 333 4444 55555, hexadecimal 0xdeadbeef.

An empty line stands above; this one is rather long, longer than the eighty columns that a terminal used to have.
apple
Apple
apple
apple
banana
the last but one line\x20\x20\x20
Grosse aus \xc3\xa4\xc3\xb6\xc3\xbc, in UTF-8; and a stray byte \xff here.
end
"""

TABLE = b"""\
root:x:0:0:Charlie Root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
bin:x:2:2:bin:/bin:/usr/sbin/nologin
www:x:33:33:web,server:/var/www:/usr/sbin/nologin
user:x:1000:1000:A User,,,:/home/user:/bin/bash
other:x:1001:100:An Other:/home/other:/bin/bash
"""

OLD = b"".join(b"line %d\n" % n for n in range(1, 31))
NEW = OLD.replace(b"line 7\n", b"line seven\n").replace(b"line 20\n", b"") + b"line 31\n"

PATCH = b"""\
--- a/old
+++ b/old
@@ -5,5 +5,5 @@
 line 5
 line 6
-line 7
+line seven
 line 8
 line 9
"""


def noise(count: int, seed: int = 1) -> bytes:
    """Bytes that do not compress, the same on every machine."""
    return hashlib.shake_128(b"scene %d" % seed).digest(count)


def numbers() -> bytes:
    values = [
        int.from_bytes(noise(2, seed), "little", signed=True) / (10 if seed % 3 == 0 else 1) for seed in range(60)
    ]
    return b"".join(b"%s\n" % f"{value:g}".encode() for value in values)


@cache
def files() -> dict[str, bytes]:
    blob = noise(9000) + bytes(range(256)) * 20 + b"printable text inside\0" + noise(1111, 2)
    words = sorted({b"w%02x" % byte for byte in noise(90, 3)})
    more = sorted({b"w%02x" % byte for byte in noise(90, 4)})
    repetitive = TEXT * 40 + noise(2000, 5)
    contents = {
        "text": TEXT,
        "table": TABLE,
        "old": OLD,
        "new": NEW,
        "fix.patch": PATCH,
        "blob": blob,
        "zeros": bytes(5000),
        "numbers": numbers(),
        "words": b"\n".join(words) + b"\n",
        "more": b"\n".join(more) + b"\n",
        "no-newline": b"first\nsecond without an end",
        "dos": b"one\r\ntwo\r\nthree\r\n",
        "empty": b"",
        "repetitive": repetitive,
        "repetitive.gz": gzip.compress(repetitive, mtime=TIME),
        "repetitive2.bz2": bz2.compress(repetitive),
        "repetitive3.xz": lzma.compress(repetitive),
        "repetitive4.lzma": lzma.compress(repetitive, format=lzma.FORMAT_ALONE),
        "damaged.gz": gzip.compress(repetitive, mtime=TIME)[:-900],
        "SHA256SUMS": b"".join(
            b"%s  %s\n" % (hashlib.sha256(data).hexdigest().encode(), name)
            for name, data in ((b"text", TEXT), (b"table", TABLE), (b"old", NEW))
        ),
        "tree/one": b"1\n",
        "tree/two.txt": TEXT,
        "tree/.hidden": b"hidden\n",
        "tree/sub/three.txt": b"three\n" * 500,
        "tree/sub/deep/four": blob,
        "tree/executable": b"#!/bin/sh\nexit 3\n",
        "other-tree/one": b"1\n",
        "other-tree/two.txt": TEXT.replace(b"lazy", b"sleepy"),
        "other-tree/only-here": b"only\n",
    }
    contents["archive.tar"] = _tar(contents)
    contents["archive.zip"] = _zip(contents)
    return contents


def _tar(contents: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name in ("text", "tree/one", "tree/sub/three.txt"):
            member = tarfile.TarInfo(f"packed/{name}")
            member.size, member.mtime, member.mode = len(contents[name]), TIME, 0o640
            archive.addfile(member, io.BytesIO(contents[name]))
        link = tarfile.TarInfo("packed/link")
        link.type, link.linkname, link.mtime = tarfile.SYMTYPE, "text", TIME
        archive.addfile(link)
        hard = tarfile.TarInfo("packed/hard")
        hard.type, hard.linkname, hard.mtime = tarfile.LNKTYPE, "packed/text", TIME
        archive.addfile(hard)
    return stream.getvalue()


def _zip(contents: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("text", "tree/one", "blob"):
            archive.writestr(zipfile.ZipInfo(f"zipped/{name}", (2001, 2, 3, 4, 5, 6)), contents[name])
    return stream.getvalue()


def build(directory: Path) -> None:
    """Fill `directory`. Modes and times are set one by one: neither the umask nor the clock is seen."""
    for name, data in files().items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o755 if name.endswith("executable") else 0o644)
    (directory / "tree" / "link").symlink_to("one")
    (directory / "tree" / "broken").symlink_to("nowhere")
    (directory / "loop").symlink_to("loop")
    (directory / "hard").hardlink_to(directory / "tree" / "one")
    (directory / "hollow").mkdir()
    for parent, directories, names in os.walk(directory, topdown=False):
        for number, name in enumerate(sorted(names)):
            os.utime(Path(parent) / name, (TIME, TIME + number), follow_symlinks=False)
        for name in directories:
            (Path(parent) / name).chmod(0o755)
            os.utime(Path(parent) / name, (TIME, TIME))
    directory.chmod(0o755)
    os.utime(directory, (TIME, TIME))

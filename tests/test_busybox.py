"""Applets of Debian's static busybox, unmodified, must do in a virtual machine what they do on a real one.

The same ELF file runs the same command twice, each time in a fresh copy of the same directory (tests/scene.py): by
the oracle (the host kernel, or qemu-user) and by the sandbox. stdout, stderr, exit status and every file that is there
afterwards are compared byte for byte. To add an invocation, add a line to COMMANDS.

Each line is run for x86_64 and for one of the other ISAs in turn; where SANDBOX_TEST_MANY is set, for all of them.
Each line is one process: no pipes, nothing that forks. Nothing here depends on the machine's name, users or clock, or
asks for what a host directory refuses on purpose (set-uid bits, devices).
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import sandbox
from tests import campaign, debian, native, scene

COMMANDS = r"""
# sums
sha256sum blob text empty
sha256sum -c SHA256SUMS
sha1sum blob
sha512sum blob text
sha3sum blob
md5sum blob text table
md5sum absent
crc32 blob
# lines
cat text no-newline table
cat -A text
cat absent
head -n 3 text table
head -c 100 blob
tail -n 4 text
tail -n +9 old
tail -c 33 blob
tac old
rev table
nl text
nl -b a -s :: table
wc text blob empty
wc -L text
fold -w 30 text
fold -s -w 30 text
expand -t 4 text
unexpand -a text
paste words more
paste -s -d, words
cut -d : -f 1,3-4,7 table
cut -c 2-5,9 table
cut -b 3- words
tr a-z A-Z <text
tr -d aeiou <text
tr -s ' \n' '__' <text
tr -cd '[:digit:]\n' <text
uniq -c text
uniq -d text
uniq -u -f 1 table
sort text
sort -n numbers
sort -rn -u numbers
sort -t : -k 3,3n table
sort -f -u text
sort -c words
sort -c text
sort -o sorted numbers
strings blob
strings -n 8 -t x blob
dos2unix dos
unix2dos old
tee copy1 copy2 <text
shuf -i 5-5
# patterns
grep apple text
grep -n -i apple text table
grep -c line old
grep -v line new
grep -E '^[a-z]+:x:[0-9]{4}:' table
grep -o '[0-9]*[a-f]' text
grep -rl line .
grep -F -x -f words more
grep -q absent text
grep -A1 -B1 'line 7' old
egrep '(quick|lazy).*dog' text
fgrep -w 22 text
sed 's/line/LINE/' old
sed -n '/line 3/,/line 9/p' old
sed -e '1d;$d' -e 's/\([a-z]*\) \([0-9]*\)/\2 \1/' old
sed 'N;P;D' text
sed ':a;N;$!ba;s/\n/|/g' old
sed -i 's/apple/pear/g' text
sed '/fox/a\  appended' text
sed 'y/abc/xyz/;=' table
sed -E 's/(.)(.)(.*)/\2\1\3/;t;s/^$/empty/' text
sed --frob text
awk '{ print NF ": " $1 }' text
awk -F: '$3 >= 33 { sum += $3; n++; names = names $1 " " } END { print names sum / n }' table
awk 'BEGIN { for (i = 0; i < 12; i++) printf "%d %5.3f %e %x %c|%-6s|\n", i, i / 7, i * 1e5 / 3, i * 1000, i + 65, i }'
awk '{ count[substr($0, 1, 1)]++ } END { for (c in count) print c, count[c] }' words
awk '{ gsub(/[aeiou]/, "<&>"); print toupper($0) }' text
awk 'BEGIN { srand(7); print length("word"), index("hay needle", "needle"), match("xxabc", /b/), RSTART }'
awk '{ while (i < 3) { getline line <"words"; print line; i++ } } END { print NR }' table
awk 'function f(n) { return n < 2 ? n : f(n - 1) + f(n - 2) } BEGIN { print f(17) }'
awk '/quick/ { exit 7 }' text
# numbers
dc -e '2 100 ^ p 10 k 2 v p 16 o 255 p'
dc <script.dc
bc -l <script.bc
bc <factorial.bc
expr 6 '*' 7
expr 7 '>' 12
expr hello : 'h\(.*\)o'
expr length abcdef
seq 5 -2 -5
seq -w 8 11
seq -s , 0.5 0.25 2
factor 1234567890 97 1000036000099
printf '%05d|%-8s|%x|%o|%c|%.3f|%e\n' 42 left 255 8 c 3.14159 12345.678
printf '%b' 'a\tb\n\0101\n'
printf '%d\n' notanumber
echo -e 'tab\there\nline\x41\c dropped'
echo -n plain
# bytes
od blob
od -A x -t x1 -N 100 blob
od -t d4 -j 16 -N 64 blob
od -c text
od -t f8 -N 64 blob
hexdump blob
hexdump -C text
hexdump -v -e '4/1 "%02x " "\n"' -n 64 blob
xxd text
xxd -p -c 20 blob
xxd -r hex
xxd -i no-newline
base64 blob
base64 -w 0 text
base64 -d encoded
uuencode blob <blob
uuencode -m name <text
uudecode -o decoded uuencoded
cmp old new
cmp -l text other-tree/two.txt
cmp old old
cmp -s text table
diff old new
diff -u old new
diff -r tree other-tree
diff -q text table
diff old old
patch -p1 -i fix.patch
patch -R old wrong.patch
ed old <script.ed
vi -c ':%s/line/row/g' -c ':3d' -c ':wq' old
vi -c 'dd' -c ':x!' -c ':q!' words
# archives and compression
tar cf out.tar --numeric-owner text tree/sub/deep hard tree/one tree/link hollow
tar cf - --numeric-owner -C tree one sub/deep broken
tar tf archive.tar
tar tvf archive.tar --numeric-owner
tar xf archive.tar
tar xvf archive.tar packed/tree --strip-components 1
tar xOf archive.tar packed/text
tar xf text
cpio -o -H newc --renumber-inodes --ignore-devno <names
cpio -t -F names
gzip -k text
gzip -c -9 repetitive
gzip -d repetitive.gz
gzip -df repetitive.gz
gunzip -t damaged.gz
gunzip -c damaged.gz
gunzip -c repetitive.gz
bzip2 -k repetitive
bzip2 -dc repetitive2.bz2
bunzip2 repetitive2.bz2
xz -dc repetitive3.xz
unxz repetitive3.xz
unlzma -c repetitive4.lzma
gunzip -c text
unzip -o archive.zip
unzip -l archive.zip
# files
ls -ln
ls -lan tree
ls -lRn .
ls -1S
ls -1rt
ls -F tree
ls absent text
stat -c '%n %s %F %a %h %Y %N' text tree tree/link hard loop
stat -L -c '%n %F %s' tree/link
stat absent
find tree
find . -name '*.txt' -type f -size +1k
find . -type l -o -perm -111 -type f
find tree -maxdepth 1 -newer tree/one
find . -empty -print0
find tree -depth -mmin +5 ! -name '*o*'
find tree -name sub -prune -o -perm 644 -print
du -a tree/sub/deep
cp text copy
cp -a tree copy
cp -r tree other-tree hollow
cp tree copy
cp -i text table <no
mv text hollow/moved
mv tree renamed
mv absent elsewhere
rm text table
rm -r tree
rm -rf absent hollow
rm tree
mkdir -p new-tree/a/b/c
mkdir -m 700 private
mkdir tree
rmdir hollow
rmdir tree
rmdir -p hollow
ln text linked
ln -s ../text tree/pointer
ln -sf elsewhere tree/link
ln text tree
link text linked
unlink text
readlink tree/link
readlink -f tree/link/../two.txt
readlink -f loop
realpath tree/sub/../link
cat loop
touch -d '2012-01-02 03:04:05' stamped text
touch -r old text
touch -c absent
touch -h -d @86400 tree/link
chmod u+x,g-r,o= text
chmod -R 700 tree
chmod 1751 text
chmod 644 absent
truncate -s 77 blob
truncate -s 70000 text
fallocate -l 10000 reserved
dd if=blob of=out bs=512 skip=3 count=5 seek=2
dd if=blob bs=1000 count=2 conv=swab
dd if=/dev/zero of=text bs=7 count=3 seek=1 conv=notrunc
dd if=text bs=100 conv=sync
mktemp -u -p hollow nothing
cp -p script.sh archive.tar hollow
ls -ln --full-time loop tree
# environment
basename /usr/lib/file.txt .txt
dirname /usr/lib/file.txt
pwd
env
env -i ONE=1 TWO=2
env -u HOME A='b c'
id -u
uname -s
uname -o
test -f text -a ! -d text
test 5 -gt 7
[ -L tree/link ]
[ abc = abc
true
false
sleep 0
usleep 10
tty <empty
stty <empty
date -u -d @1234567890
date -u -d '2024-02-29 12:34:56' '+%A %d %B %Y %j %U %H:%M:%S %s %Z'
date -u -r text +%s
date -u -d nonsense
cal 2 2024
cal 2025
getopt -o ab:c -l long,value: -- -a -b x --value=3 rest
ipcalc -bnm 10.1.2.3/22
ascii
yes --help
nosuchapplet
which absent
less text
mkpasswd -m sha512 -S saltstring secret
# the shell, builtins only
sh -c 'i=0; s=0; while [ $i -lt 2000 ]; do s=$((s + i * i)); i=$((i + 1)); done; echo $s'
sh -c 'for f in *; do echo "[$f]"; done; echo tree/*.txt nothing*'
sh -c 'while IFS=: read -r a b c rest; do echo "$c-$a"; done <table >out; read x <out; echo "${x%%-*} ${#x}"'
sh -c 'f() { case $1 in a*) return 3;; *) echo "no: $1" >&2; esac; }; f abc; echo $?; f xyz'
sh -c 'cd tree/sub && pwd && cd - && set -- a b c; shift; echo "$# $*"'
sh -c 'echo one >new1; echo two >>new1; exec 3<new1; read a <&3; read b <&3; echo "$b $a"; exec 3<&-; umask 77; : >n'
sh -c 'read line; echo "got <$line>"; exit 9' <text
sh -c 'trap "echo bye" EXIT; printf "%s\n" $((0x10 | 3)) ${HOME:-none} ${UNSET:=set}; echo $UNSET'
sh -c 'set -e; test -d tree; cat </absent; echo not reached'
sh -c 'kill -9 $$'
sh -c 'kill -TERM $$; echo not reached'
sh script.sh a "b c"
"""

SCRIPTS = {
    "script.ed": "/line 5/s/line/LINE/\n2d\n$a\nappended\n.\n1,5p\nw written\nq\n",
    "script.dc": "[la1+dsa*pla10>y]sy 0sa1 lyx 3 k 22 7 / p\n",
    "script.bc": "scale=30\n4*a(1)\ne(1)\nsqrt(2)\nl(10)\ns(1)\n",
    "factorial.bc": "define f(n) { if (n < 2) return 1; return n * f(n - 1); }\nf(60)\nobase=16\n2^200-1\n",
    "script.sh": 'echo "$0 $# $2"\nfor word in $2; do\n  echo "word $word"\ndone\nexit $(( $# + 40 ))\n',
    "hex": "00000000: 4865 6c6c 6f2c 2077 6f72 6c64 210a 00ff  Hello, world!...\n",
    "encoded": "SGVsbG8sIGJhc2U2NCB3b3JsZCEKAP8=\n",
    "uuencoded": "begin 640 uufile\n#0V%T\n`\nend\n",
    "wrong.patch": "--- old\n+++ old\n@@ -1,2 +1,2 @@\n-nothing\n+like\n this\n",
    "names": "text\ntree\ntree/one\ntree/sub\ntree/sub/deep/four\ntree/link\n",
    "no": "n\n",
}

ENVIRONMENT = {"PATH": "/bin", "HOME": "/tmp", "TZ": "UTC0"}


# What prints or stores owners: the sandbox shows the operator as root, so only root can be compared with.
SHOWS_OWNER = ("ls -l", "tar c", "cpio -o", "id")


# What prints names in the order of the directory, which is nobody's promise: lines are compared sorted.
IN_ANY_ORDER = ("find ", "grep -r")


@dataclass(frozen=True)
class Invocation:
    arguments: tuple[str, ...]
    stdin: str | None  # a file of the scene


def invocations() -> dict[str, Invocation]:
    found: dict[str, Invocation] = {}
    for line in COMMANDS.splitlines():
        if not line or line.startswith("# "):
            continue
        words = shlex.split(line)
        stdin = None
        if words[-1].startswith("<") and len(words[-1]) > 1:
            stdin = words.pop()[1:]
        assert line not in found, f"twice: {line}"
        found[line] = Invocation(tuple(words), stdin)
    return found


INVOCATIONS = invocations()


def prepare(directory: Path) -> None:
    directory.mkdir()
    for name, contents in SCRIPTS.items():
        (directory / name).write_text(contents)
    scene.build(directory)


def by_oracle(isa: str, invocation: Invocation, directory: Path) -> native.Outcome:
    argv = ["/bin/busybox", *invocation.arguments]
    stdin = (directory / invocation.stdin).read_bytes() if invocation.stdin else b""
    return native.run(isa, debian.busybox(isa), argv, stdin=stdin, cwd=directory, environment=ENVIRONMENT)


def by_sandbox(isa: str, invocation: Invocation, directory: Path, seen_as: Path) -> native.Outcome:
    argv = ["/bin/busybox", *invocation.arguments]
    stdin = (directory / invocation.stdin).read_bytes() if invocation.stdin else b""
    result = sandbox.run(
        argv,
        input=stdin,
        rootfs=debian.root_with_busybox(isa),
        volumes=[f"{directory}:{seen_as}:rw"],
        cwd=str(seen_as),
        env=ENVIRONMENT,
        timeout=120,
    )
    return native.Outcome(result.stdout, result.stderr, result.returncode)


def selected() -> Iterator[tuple[str, str]]:
    others = [isa for isa in debian.PORTS if isa != "x86_64"]
    for number, command in enumerate(INVOCATIONS):
        isas = debian.PORTS if campaign.AT_LENGTH else ("x86_64", others[number % len(others)])
        yield from ((isa, command) for isa in isas)


@pytest.mark.parametrize(("isa", "command"), list(selected()))
def test_applet(isa: str, command: str, tmp_path: Path) -> None:
    invocation = INVOCATIONS[command]
    if os.getuid() and command.startswith(SHOWS_OWNER):
        pytest.skip("the sandbox shows the operator's files as root's; here that is not root")
    real, virtual = tmp_path / "real", tmp_path / "virtual"
    prepare(real)
    prepare(virtual)
    started = time.time() - 60
    try:
        expected = by_oracle(isa, invocation, real)
    except (debian.Unavailable, native.NoOracle) as reason:
        pytest.skip(str(reason))
    outcome = by_sandbox(isa, invocation, virtual, seen_as=real)
    if command.startswith(IN_ANY_ORDER):
        expected, outcome = expected.sorted(), outcome.sorted()
    assert outcome == expected
    assert native.files_below(virtual, recent=started) == native.files_below(real, recent=started)

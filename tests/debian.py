"""Real programs of five ISAs: fetches Debian packages for foreign ISAs without root and without touching the host.

Every (suite, architecture) pair has an apt of its own: state, cache, sources and package lists live under the test
cache, only the settings for the network (`Acquire::*`) come from the host's configuration. Packages are unpacked with
`dpkg-deb -x`, never installed. The cache is $SANDBOX_TEST_CACHE or ~/.cache/unicorn-sandbox; what is there is not
fetched again, so only the first run needs a network. Safe with several test processes at once (one lock a pair).

`busybox(isa)` is what tests want: the path of a static busybox, or `Unavailable` with a reason to skip with.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
DEFAULT_MIRROR = "http://deb.debian.org/debian"


@dataclass(frozen=True)
class Port:
    """Where Debian keeps the programs of an ISA."""

    architecture: str
    suite: str


PORTS: dict[str, Port] = {
    "x86_64": Port("amd64", "bookworm"),
    "i386": Port("i386", "bookworm"),
    "arm64": Port("arm64", "bookworm"),
    "arm": Port("armhf", "bookworm"),
    "riscv64": Port("riscv64", "trixie"),  # a release architecture from Debian 13 on
}


class Unavailable(Exception):
    """The package cannot be had here; the message says why."""


def cache_directory() -> Path:
    chosen = os.environ.get("SANDBOX_TEST_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "unicorn-sandbox"


def package(isa: str, name: str) -> Path:
    """The directory that package `name` of the ISA is unpacked in, fetched when it is not there yet."""
    port = PORTS[isa]
    place = cache_directory() / "packages" / port.suite / port.architecture / name
    if place.is_dir():
        return place
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with locked(place.parent / ".lock"):
            if not place.is_dir():
                _fetch(port, [name], place.parent)
    except OSError as error:
        raise Unavailable(f"{name}:{port.architecture} cannot be kept in {place.parent}: {error}") from error
    return place


def packages(port: Port, names: Sequence[str]) -> list[Path]:
    """The same for many; those that are missing are fetched in one go."""
    parent = cache_directory() / "packages" / port.suite / port.architecture
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with locked(parent / ".lock"):
            missing = [name for name in names if not (parent / name).is_dir()]
            if missing:
                _fetch(port, missing, parent)
    except OSError as error:
        raise Unavailable(f"packages of {port.architecture} cannot be kept in {parent}: {error}") from error
    return [parent / name for name in names]


def busybox(isa: str) -> Path:
    """The static busybox of the ISA. Raises Unavailable."""
    tree = package(isa, "busybox-static")
    for candidate in (tree / "bin" / "busybox", tree / "usr" / "bin" / "busybox"):
        if candidate.is_file():
            return candidate
    raise Unavailable(f"there is no busybox in {tree}")


def root_with_busybox(isa: str) -> Path:
    """A root filesystem for `sandbox run --rootfs` with /bin/busybox and the superuser's name. Raises Unavailable."""
    program = busybox(isa)
    root = cache_directory() / "roots" / isa
    root.mkdir(parents=True, exist_ok=True)
    with locked(root.parent / ".lock"):
        if not (root / "bin" / "busybox").is_file():
            for directory in ("bin", "etc", "tmp"):
                (root / directory).mkdir(exist_ok=True)
            (root / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
            (root / "etc" / "group").write_text("root:x:0:\n")
            partial = root / "bin" / ".busybox"
            shutil.copy2(program, partial)
            partial.rename(root / "bin" / "busybox")
    return root


def _fetch(port: Port, names: Sequence[str], parent: Path) -> None:
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise Unavailable(f"{tool} is not here to fetch {names[0]}:{port.architecture} with")
    environment = _private_apt(port)
    with tempfile.TemporaryDirectory(dir=parent) as scratch:
        download = ["apt-get", "-q", "download", *(f"{name}:{port.architecture}" for name in names)]
        result = _run(download, environment, scratch)
        if result.returncode:  # no lists yet, or lists so old that the mirror has moved on
            _run(["apt-get", "-q", "update"], environment, scratch)
            result = _run(download, environment, scratch)
        if result.returncode:
            raise Unavailable(f"{' '.join(download)} ({port.suite}) failed: {_last_line(result.stdout)}")
        for name in names:
            archives = list(Path(scratch).glob(f"{name}_*.deb"))
            if len(archives) != 1:
                raise Unavailable(f"apt-get download {name}:{port.architecture} ({port.suite}) left no archive")
            unpacked = Path(scratch) / "unpacked"
            result = _run(["dpkg-deb", "-x", str(archives[0]), str(unpacked)], environment, scratch)
            if result.returncode:
                raise Unavailable(f"dpkg-deb -x of {archives[0].name} failed: {_last_line(result.stdout)}")
            unpacked.chmod(0o755)
            unpacked.rename(parent / name)


def _private_apt(port: Port) -> dict[str, str]:
    """Set up an apt for one port; return the environment that makes apt-get use it."""
    home = cache_directory() / "apt" / f"{port.suite}-{port.architecture}"
    for directory in ("state/lists/partial", "cache/archives/partial"):
        (home / directory).mkdir(parents=True, exist_ok=True)
    (home / "state" / "status").touch()
    signed_by = f" [signed-by={KEYRING}]" if KEYRING.exists() else ""
    (home / "sources.list").write_text(f"deb{signed_by} {_mirror()} {port.suite} main\n")
    settings = {
        "Dir::State": str(home / "state"),
        "Dir::State::status": str(home / "state" / "status"),
        "Dir::Cache": str(home / "cache"),
        "Dir::Etc::Main": "/dev/null",  # the host's hooks must not run; its network settings follow below
        "Dir::Etc::Parts": "/dev/null",
        "Dir::Etc::SourceList": str(home / "sources.list"),
        "Dir::Etc::SourceParts": "/dev/null",
        "APT::Architecture": port.architecture,
        "APT::Architectures": port.architecture,
        "APT::Sandbox::User": "root",  # the _apt user cannot write into our directories
        "APT::Get::List-Cleanup": "false",
        "Acquire::GzipIndexes": "true",  # lists stay compressed, and apt's binary caches are not kept: 10 MB a port
        "Dir::Cache::pkgcache": "",
        "Dir::Cache::srcpkgcache": "",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
    }
    configuration = home / "apt.conf"
    configuration.write_text(_network_settings() + "".join(f'{key} "{value}";\n' for key, value in settings.items()))
    return {**os.environ, "APT_CONFIG": str(configuration), "LC_ALL": "C"}


def _network_settings() -> str:
    """The host's `Acquire::*` settings (proxies, certificates), in the syntax of apt.conf."""
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=False).stdout
    wanted = ("Acquire::http", "Acquire::https", "Acquire::Check", "Acquire::Proxy")
    return "".join(line + "\n" for line in dump.splitlines() if line.startswith(wanted))


def _mirror() -> str:
    """The mirror that the host's sources name for Debian itself, whichever format they are in."""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    listing = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    mirrors = [line.rstrip("/") for line in listing.splitlines() if line.rstrip("/").endswith("/debian")]
    return mirrors[0] if mirrors else DEFAULT_MIRROR


def _run(command: list[str], environment: dict[str, str], directory: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=environment,
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def _last_line(output: str) -> str:
    lines = [line for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    for isa_name in PORTS:
        print(isa_name, busybox(isa_name))

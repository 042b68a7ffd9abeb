"""`sandbox volume`: persistent filesystems by name, which VMs mount with `-v NAME:GUEST`."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from typing import TYPE_CHECKING, Any

from sandbox.cli.listing import show
from sandbox.cli.options import Parser, size
from sandbox.errors import ConfigurationError, SandboxError

if TYPE_CHECKING:
    from sandbox.vfs.volume_store import VolumeStore

EXAMPLES = """\
  sandbox volume create data --size 64M
  sandbox run -v data:/data --rootfs DIR /bin/busybox touch /data/kept
  sandbox volume ls
  sandbox volume export data data.tar
  sandbox volume rm data"""


def volume(arguments: list[str]) -> int:
    parser = Parser("volume", "Persistent filesystems by name; a VM mounts one with -v NAME:GUEST.", EXAMPLES)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=argparse.ArgumentParser)
    create = _verb(verbs, parser, "create", "make an empty volume")
    create.add_argument("name", metavar="NAME")
    create.add_argument("--size", type=size, required=True, help="the most it may hold: 64M, 1G")
    listing = _verb(verbs, parser, "ls", "list the volumes")
    listing.add_argument("--json", action="store_true", help="print JSON")
    remove = _verb(verbs, parser, "rm", "remove volumes and what is on them")
    remove.add_argument("names", metavar="NAME", nargs="+")
    export = _verb(verbs, parser, "export", "write what is on a volume to a tar file")
    export.add_argument("name", metavar="NAME")
    export.add_argument("tar", metavar="TAR", help="the file to write; - is stdout")
    export.add_argument("-f", "--force", action="store_true", help="also over a file that exists")
    given = parser.parse_args(arguments)

    from sandbox.hypervisor.volumes import volume_store
    from sandbox.quantity import format_size

    store = volume_store()
    if given.verb == "create":
        store.create(given.name, given.size)
    elif given.verb == "rm":
        return _remove(store, given.names)
    elif given.verb == "export":
        store.check(given.name)
        _export(given.name, given.tar, given.force)
    else:
        rows: list[dict[str, Any]] = [
            {"name": info.name, "size": info.size, "stored": info.stored, "in_use": info.in_use}
            for info in store.list()
        ]
        titles = {"name": "NAME", "size": "SIZE", "stored": "STORED", "in_use": "IN USE"}
        if not given.json:
            rows = [{**row, "size": format_size(row["size"]), "stored": format_size(row["stored"])} for row in rows]
        show(rows, titles, given.json, "there is no volume: sandbox volume create NAME --size SIZE makes one")
    return 0


def _verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser], parser: Parser, name: str, summary: str
) -> argparse.ArgumentParser:
    verb = verbs.add_parser(name, help=summary, description=f"{summary.capitalize()}.", allow_abbrev=False)
    verb.error = parser.error  # type: ignore[method-assign]
    return verb


def _remove(store: VolumeStore, names: list[str]) -> int:
    """All are tried."""
    from sandbox.cli import FAILED, complain

    status = 0
    for name in names:
        try:
            store.remove(name)
        except SandboxError as error:
            complain(str(error))
            status = FAILED
    return status


def _export(name: str, target: str, force: bool) -> None:
    """The file is there whole or not at all."""
    from sandbox.clock import HostClock
    from sandbox.hypervisor.volumes import volume_store
    from sandbox.vfs.archive import write_tar

    if target != "-" and os.path.lexists(target) and not os.path.isdir(target):
        if not force:
            raise ConfigurationError(f"{target} exists already: name another file, or add --force")
        if not os.path.isfile(target):
            raise ConfigurationError(f"{target} is no regular file; - is stdout")
    filesystem = volume_store().open(name, HostClock(), read_only=True)
    try:
        if target == "-":
            if sys.stdout.isatty():
                raise ConfigurationError("a tar archive is not for a terminal: name a file, or send it through a pipe")
            write_tar(filesystem, sys.stdout.buffer)
            return
        draft = ""
        try:
            descriptor, draft = tempfile.mkstemp(dir=os.path.dirname(target) or ".", prefix=".sandbox-export-")
            with os.fdopen(descriptor, "wb") as out:
                write_tar(filesystem, out)
                mask = os.umask(0)
                os.umask(mask)
                os.fchmod(out.fileno(), 0o666 & ~mask)
            os.replace(draft, target)
        except OSError as error:
            raise ConfigurationError(f"{target} cannot be written: {(error.strerror or str(error)).lower()}") from None
        finally:
            if draft and os.path.exists(draft):
                os.unlink(draft)
    finally:
        filesystem.close()

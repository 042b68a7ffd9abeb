"""`sandbox volume`: persistent filesystems by name, which VMs mount with `-v NAME:GUEST`."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile

from sandbox.cli.listing import show
from sandbox.cli.options import Parser, size

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
    given = parser.parse_args(arguments)

    from sandbox.hypervisor.volumes import volume_store

    store = volume_store()
    if given.verb == "create":
        store.create(given.name, given.size)
    elif given.verb == "rm":
        for name in given.names:
            store.remove(name)
    elif given.verb == "export":
        _export(given.name, given.tar)
    else:
        rows = [
            {"name": info.name, "size": info.size, "stored": info.stored, "in_use": info.in_use}
            for info in store.list()
        ]
        titles = {"name": "NAME", "size": "SIZE", "stored": "STORED", "in_use": "IN USE"}
        show(rows, titles, given.json, "there is no volume: sandbox volume create NAME --size SIZE makes one")
    return 0


def _verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser], parser: Parser, name: str, summary: str
) -> argparse.ArgumentParser:
    verb = verbs.add_parser(name, help=summary, description=f"{summary.capitalize()}.", allow_abbrev=False)
    verb.error = parser.error  # type: ignore[method-assign]
    return verb


def _export(name: str, target: str) -> None:
    """The file is there whole or not at all."""
    from sandbox.clock import HostClock
    from sandbox.errors import ConfigurationError
    from sandbox.hypervisor.volumes import volume_store
    from sandbox.vfs.archive import write_tar

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
            os.replace(draft, target)
        except OSError as error:
            raise ConfigurationError(f"{target} cannot be written: {(error.strerror or str(error)).lower()}") from None
        finally:
            if draft and os.path.exists(draft):
                os.unlink(draft)
    finally:
        filesystem.close()

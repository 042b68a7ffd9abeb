"""`sandbox guests`, `sandbox boards`, `sandbox syscalls`: what there is."""

from __future__ import annotations

import sys

from sandbox.cli.listing import show, show_json
from sandbox.cli.options import ARCHES, Parser


def guests(arguments: list[str]) -> int:
    parser = Parser(
        "guests",
        "The assembled programs that come with the package; the header of each file is its contract.",
        "  sandbox guests --arch arm64\n"
        "  sandbox run hello                   runs the one for x86_64\n"
        "  sandbox run --arch riscv64 echo hi",
    )
    parser.add_argument("--arch", choices=ARCHES, help="only those of one ISA")
    parser.json_option()
    given = parser.parse_args(arguments)

    from sandbox import guests as shipped

    found = [guest for guest in shipped.guests() if given.arch in (None, guest.arch)]
    if given.json:
        show_json([guest.row() for guest in found])
        return 0
    by_name: dict[tuple[str, str], dict[str, object]] = {}
    for guest in found:
        key = (guest.name, guest.board or "")
        row = by_name.setdefault(
            key, {"name": guest.name, "arches": "", "purpose": _first_sentence(guest.purpose), "board": guest.board}
        )
        row["arches"] = f"{row['arches']} {guest.arch}".strip()
    columns = {"name": "NAME", "purpose": "PURPOSE", "arches": "ARCHITECTURES"}
    show(list(by_name.values()), columns, False, "no guest for this ISA")
    return 0


def _first_sentence(text: str) -> str:
    return text.split(". ")[0].split(": ")[0].rstrip(".")


def boards(arguments: list[str]) -> int:
    parser = Parser(
        "boards",
        "The bare-metal boards that come with the package.",
        "  sandbox boards --json",
    )
    parser.json_option()
    given = parser.parse_args(arguments)

    from sandbox.board import BOARDS

    rows = [board.row() for board in BOARDS.values()]
    show(rows, {"name": "NAME", "arch": "ARCH", "purpose": "PURPOSE"}, given.json)
    return 0


def syscalls(arguments: list[str]) -> int:
    parser = Parser(
        "syscalls",
        "The system calls that are served. full: as on Linux; partial: with the caveat said; stub: answers only.",
        "  sandbox syscalls --arch riscv64\n  sandbox syscalls --json | jq '.[] | select(.level == \"partial\")'",
    )
    parser.add_argument("--arch", choices=ARCHES, help="only those of one ISA, ordered by number")
    parser.json_option()
    given = parser.parse_args(arguments)

    from sandbox.kernel import table

    rows = table.describe(given.arch)
    if given.json:
        show_json(rows)
        return 0
    columns = {"number": "NUMBER"} if given.arch else {}
    show(rows, {**columns, "name": "NAME", "level": "LEVEL", "arguments": "ARGUMENTS", "caveat": "CAVEAT"}, False)
    for arch in [given.arch] if given.arch else ARCHES:
        counted = table.counts(arch)
        total = counted.pop("total")
        words = ", ".join(f"{number} {level}" for level, number in counted.items())
        print(f"{arch}: {words}; of {total} calls the ISA has", file=sys.stderr)
    return 0

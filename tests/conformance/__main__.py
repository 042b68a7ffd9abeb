"""`python -m tests.conformance [ISA ...]`: every family natively and in the sandbox, and how many checks pass."""

from __future__ import annotations

import sys

from tests import conformance, static_programs


def main(isas: list[str]) -> int:
    missed = 0
    for isa in isas or list(static_programs.COMPILERS):
        total = passed = native = 0
        for family in conformance.FAMILIES:
            demanded = conformance.on_host(family, isa)
            found, _ = conformance.in_sandbox(family, isa)
            total += len(demanded)
            native += sum(not why for why in demanded.values())
            passed += sum(found.get(name, "missing") == "" for name in demanded)
            for name, why in demanded.items():
                here = found.get(name, "it did not run")
                if why:
                    print(f"{isa} {family} {name}: not natively, {why}; in the sandbox: {here or 'ok'}")
                elif here:
                    print(f"{isa} {family} {name}: {here}")
                    missed += 1
        print(f"{isa}: {passed} of {total} checks pass, {native} natively")
    return missed != 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

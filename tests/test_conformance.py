"""The conformance suite (tests/conformance) on five ISAs: what passes on the host's kernel passes in the sandbox.

A check that the host itself fails (a container without some call, a kernel of another age) is not demanded; a warning
at the end of the run names it.
"""

from __future__ import annotations

import re
import warnings

import pytest

from tests import conformance, debian, native, static_programs

RUNS = [(isa, family) for isa in static_programs.COMPILERS for family in conformance.FAMILIES]


@pytest.mark.parametrize(("isa", "family"), RUNS, ids=[f"{isa}-{family}" for isa, family in RUNS])
def test_what_passes_natively_passes_here(isa: str, family: str) -> None:
    try:
        demanded = conformance.on_host(family, isa)
        found, said = conformance.in_sandbox(family, isa)
    except (debian.Unavailable, native.NoOracle) as reason:
        pytest.skip(str(reason))
    assert list(found) == list(demanded), said.decode(errors="replace")
    beyond = {name: why for name, why in demanded.items() if why}
    if beyond:
        warnings.warn(f"{isa} {family}: the host fails {beyond}", stacklevel=1)
    assert not {name: why for name, why in found.items() if why and name not in beyond}


def test_the_suite_is_as_large_as_it_says() -> None:
    names = [
        re.findall(r"^CHECK\((\w+)\)$", (conformance.HERE / f"{family}.c").read_text(), re.MULTILINE)
        for family in conformance.FAMILIES
    ]
    assert all(len(set(family)) == len(family) >= 5 for family in names)
    assert sum(map(len, names)) >= 300

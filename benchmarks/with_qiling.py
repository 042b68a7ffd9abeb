"""The peer "Qiling": run by the interpreter that `--qiling` names, which has it installed; needs nothing else here."""

from __future__ import annotations

import tempfile
from typing import Any

from benchmarks.peers import serve


def run(isa: str, argv: list[str]) -> bytes:
    from qiling import Qiling  # type: ignore[import-not-found, unused-ignore]
    from qiling.const import QL_VERBOSE  # type: ignore[import-not-found, unused-ignore]
    from qiling.extensions import pipe  # type: ignore[import-not-found, unused-ignore]

    with tempfile.TemporaryDirectory() as rootfs:
        machine: Any = Qiling(argv, rootfs, verbose=QL_VERBOSE.DISABLED)
        machine.os.stdout = pipe.SimpleOutStream(1)
        machine.run()
        return bytes(machine.os.stdout.read())


if __name__ == "__main__":
    serve(run)

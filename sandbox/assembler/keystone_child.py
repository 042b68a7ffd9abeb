"""Runs keystone in a process of its own: on some input it calls `exit` or crashes, which must not end ours.

Run as a script by `sandbox.assembler.keystone_process`, never imported: argument 1 is the folder keystone is
in; standard input is one JSON request, standard output one JSON answer. Nothing of the package is
imported. Each attempt to assemble is a fork, so that an attempt that dies can be narrowed down to its line.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from typing import Any

_SECONDS = 5
_BYTES = 1 << 30


class Attempts:
    """Assembling prefixes of the request's lines."""

    def __init__(self, request: dict[str, Any]) -> None:
        import keystone

        machines = {
            "x86_64": (keystone.KS_ARCH_X86, keystone.KS_MODE_64),
            "i386": (keystone.KS_ARCH_X86, keystone.KS_MODE_32),
            "arm64": (keystone.KS_ARCH_ARM64, keystone.KS_MODE_LITTLE_ENDIAN),
            "arm": (keystone.KS_ARCH_ARM, keystone.KS_MODE_THUMB if request["thumb"] else keystone.KS_MODE_ARM),
        }
        self._keystone = keystone
        self._machine = machines[request["arch"]]
        self._address: int = request["address"]
        self._lines: list[list[Any]] = request["lines"]  # [text, closers, labels] each

    def whole(self) -> tuple[bytes, str]:
        return self._forked("\n".join(line[0] for line in self._lines))

    def prefix_fails(self, count: int) -> str:
        """Whether the first `count` lines fail on their own: open blocks are closed and later labels defined."""
        closers = self._lines[count - 1][1] if count else []
        later = [label + ":" for line in self._lines[count:] for label in line[2]]
        return self._forked("\n".join([*(line[0] for line in self._lines[:count]), *closers, *later, ".byte 0"]))[1]

    def first_bad_line(self, message: str) -> tuple[int | None, str]:
        low, high = 0, len(self._lines)
        if not self.prefix_fails(high):
            return None, message
        while high - low > 1:
            middle = (low + high) // 2
            failure = self.prefix_fails(middle)
            if failure:
                high, message = middle, failure
            else:
                low = middle
        return high - 1, message

    def _forked(self, text: str) -> tuple[bytes, str]:
        reader, writer = os.pipe()
        errors_reader, errors_writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            os.dup2(errors_writer, 2)
            status = 1
            try:
                status = self._assemble(text, writer)
            finally:
                os._exit(status)
        os.close(writer)
        os.close(errors_writer)
        with os.fdopen(reader, "rb") as pipe:
            output = pipe.read()
        with os.fdopen(errors_reader, "rb") as pipe:
            printed = pipe.read(4096).decode("utf-8", "replace")
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status == 0:
            return output, ""
        if status == 2:
            return b"", output.decode()
        reason = next((line for line in printed.splitlines() if "error:" in line.lower()), "")
        return b"", reason.split(":", 1)[-1].strip() or f"keystone died of it ({status})"

    def _assemble(self, text: str, output: int) -> int:
        resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (_BYTES, _BYTES))
        try:
            encoded, _ = self._keystone.Ks(*self._machine).asm(text, self._address, as_bytes=True)
        except self._keystone.KsError as error:
            os.write(output, str(error).split(" (KS_")[0].lower().encode())
            return 2
        if encoded is None:
            os.write(output, b"keystone refuses it")
            return 2
        view = memoryview(encoded)
        while view:
            view = view[os.write(output, view) :]
        return 0


def main() -> None:
    sys.path.append(sys.argv[1])
    attempts = Attempts(json.load(sys.stdin))
    encoded, message = attempts.whole()
    line: int | None = None
    if message:
        line, message = attempts.first_bad_line(message)
    json.dump({"bytes": encoded.hex(), "line": line, "error": message}, sys.stdout)


if __name__ == "__main__":
    main()

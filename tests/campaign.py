"""How many cases a campaign of random ones runs: a few hundred that are the same every time by default, so that the
suite is quick and fails only for a reason; as many new ones as `SANDBOX_TEST_MANY` says where it is set, 20,000 say.
"""

from __future__ import annotations

import os

_WANTED = os.environ.get("SANDBOX_TEST_MANY", "")
AT_LENGTH = bool(_WANTED)


def cases(default: int) -> int:
    return int(_WANTED) if AT_LENGTH else default

"""How many cases a campaign of random ones runs: a few hundred that are the same every time by default, so that the
suite is quick and fails only for a reason; where `SANDBOX_TEST_MANY` is set, to 20,000 say, so many, and never fewer.
"""

from __future__ import annotations

import os

_WANTED = os.environ.get("SANDBOX_TEST_MANY", "")
AT_LENGTH = bool(_WANTED)


def cases(default: int) -> int:
    return max(default, int(_WANTED)) if AT_LENGTH else default

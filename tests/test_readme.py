"""The examples of README.md do what it says."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from tests import debian

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_the_example_for_reverse_engineers() -> None:
    """It prints what the block behind it shows. A busybox of Debian stands in for the machine's own."""
    section = README.partition("### For reverse engineers")[2].partition("\n#")[0]
    found = re.search(r"```python\n(.*?)```\n\n```\n(.*?)```", section, re.DOTALL)
    assert found is not None
    code, printed = found.groups()
    assert code.count('"/bin/busybox"') == 1
    try:
        code = code.replace('"/bin/busybox"', repr(str(debian.busybox("x86_64"))))
    except debian.Unavailable as reason:
        pytest.skip(str(reason))
    output = io.StringIO()
    with redirect_stdout(output):
        exec(compile(code, "README.md", "exec"), {})
    assert output.getvalue() == printed

"""Fixtures that are shared by all test modules, and the rule that nothing may be skipped in CI.

A test that needs something the machine may lack (a Debian package, qemu-user, a compiler) skips with a reason, so
that the suite passes on a bare machine. `.ci/run` installs all of it and sets CI=true; there a skip means that
something went wrong unseen, and becomes a failure. `@pytest.mark.optional(reason)` exempts a test.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Generator

import pytest

from sandbox.engine import accelerator
from sandbox.engine.native import Accelerator

IN_CI = os.environ.get("CI") == "true"

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell without job control starts what it puts in the background so; the programs under test would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def built_accelerator(monkeypatch: pytest.MonkeyPatch) -> Accelerator:
    """The accelerator, also where the rest of the run is the twin's (SANDBOX_ENGINE=python)."""
    monkeypatch.delenv("SANDBOX_ENGINE", raising=False)
    found = accelerator()
    if found is None:
        pytest.skip("the accelerator is not built")
    return found


def _forbid_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if IN_CI and report.outcome == "skipped" and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"skipped, which is a failure in CI: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if item.get_closest_marker("optional") is None:
        _forbid_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _forbid_skip(report)
    return report

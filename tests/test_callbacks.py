"""What a signal handler raises in one of Unicorn's callbacks is heard, on both engines."""

from __future__ import annotations

import ctypes
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.callbacks import heard
from sandbox.hypervisor import Hypervisor


class Alarm(BaseException):
    pass


def called_back(function: Callable[[], None]) -> None:
    ctypes.CFUNCTYPE(None)(function)()


def fail(error: BaseException) -> None:
    raise error


def test_it_is_raised_at_the_end() -> None:
    done = []
    with pytest.raises(Alarm), heard():
        called_back(lambda: fail(Alarm()))
        done.append("what was to be done")
    assert done


def test_what_is_no_signal_is_told_as_always(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: told.append(unraisable.exc_value))
    before, bug, elsewhere = sys.unraisablehook, ValueError(), Alarm()
    with heard():
        called_back(lambda: fail(bug))
        thread = threading.Thread(target=lambda: called_back(lambda: fail(elsewhere)))
        thread.start()
        thread.join()
    assert told == [bug, elsewhere]
    assert sys.unraisablehook is before


def test_a_signal_ends_a_deterministic_run(tmp_path: Path) -> None:
    """CPUID asks Python every time on the twin: so that is where the signal comes."""
    source = tmp_path / "asks.s"
    source.write_text("# arch: x86_64\n_start:\nmov eax, 1\ncpuid\njmp _start\n")

    def handler(number: int, frame: object) -> None:
        raise Alarm

    before = signal.signal(signal.SIGALRM, handler)
    try:
        for delay in range(20, 30):
            with Hypervisor(deterministic=True) as hypervisor:
                vm = hypervisor.create("asks", str(source))
                vm.start()
                signal.setitimer(signal.ITIMER_REAL, delay / 1000)
                with pytest.raises(Alarm):
                    vm.wait(timeout=1000)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

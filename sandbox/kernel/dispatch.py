"""From a stop of the engine to a result: the boundary at which exceptions become numbers.

`dispatch` is the fast path. When somebody watches (a trace, `on_syscall` observers) the machine uses
`dispatch_observed` instead, which does the same and tells. Errno becomes -errno here and nowhere else; `Block` puts
the task to sleep; any other exception is a bug of ours: it is reported and the guest gets -EIO.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.abi.errno import EIO, ENOMEM, ENOSYS, Errno
from sandbox.abi.numbers import NAMES
from sandbox.errors import OutOfMemory
from sandbox.kernel.table import entries
from sandbox.wait import Block

if TYPE_CHECKING:
    from sandbox.kernel.task import Task


def dispatch(task: Task, number: int, arguments: tuple[int, ...]) -> int | None:
    """The value for the result register (-errno on failure), or None: nothing is to be written."""
    kernel = task.kernel
    try:
        return kernel.calls[number](task, arguments)
    except Errno as error:
        return -error.number
    except Block as block:
        kernel.sleep(task, block, number, arguments)
        return None
    except Exception as error:
        return _unexpected(task, number, error)


def _unexpected(task: Task, number: int, error: Exception) -> int:
    kernel = task.kernel
    if isinstance(error, KeyError) and number not in kernel.calls:
        kernel.stats.refuse(number, NAMES[task.isa].get(number, f"syscall_{number}"))
        return -ENOSYS
    if isinstance(error, OutOfMemory):
        return -ENOMEM
    kernel.report_bug(task, NAMES[task.isa].get(number, f"syscall_{number}"), error)
    return -EIO


def dispatch_observed(task: Task, number: int, arguments: tuple[int, ...]) -> int | None:
    """The same, with the observers of the call asked before and the trace told after."""
    kernel = task.kernel
    result: int | None = None
    if kernel.observers and task.call is None:
        result = kernel.observers.ask(task, NAMES[task.isa].get(number, f"syscall_{number}"), arguments)
    replaced = result is not None
    if kernel.trace is None:
        return result if replaced else dispatch(task, number, arguments)
    began = kernel.call_began
    if began is not None and task.call is None:
        began[task.tid] = kernel.clock.monotonic()
    entry = entries(task.isa).get(number)
    formatter = kernel.trace_formatter
    # Formatted before the call: input that the call will overwrite, and calls that never return.
    before = formatter.before(task, entry, arguments)
    if not replaced:
        result = dispatch(task, number, arguments)
    if task.state != "waiting":
        line = formatter.after(task, entry, number, before, arguments, result)
        if began is None:
            kernel.trace(line)
        else:
            start = began.pop(task.tid, None)
            kernel.trace(line, None if start is None else kernel.clock.monotonic() - start)
    return result

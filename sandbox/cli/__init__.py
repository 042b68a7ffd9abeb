"""The `sandbox` command: one table of commands, one file per family, no mechanism.

A command is a function that takes its arguments and returns an exit status; its module is imported when it
is called for, so that `sandbox run` pays for nothing else. Results go to stdout, everything else to stderr.
Exit statuses: `STATUSES`, which `sandbox --help` prints and the README explains.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module

from sandbox.errors import LoadError, SandboxError

TIMEOUT, FAILED, NOT_EXECUTABLE, NOT_FOUND, INTERRUPTED = 124, 125, 126, 127, 130


STATUSES = """\
Exit status: the guest's own where there is one; 128+n when signal n ended it, or us (130: Ctrl-C);
  124 timeout; 125 the sandbox failed or was misused; 126 not executable; 127 not found;
  1 from up: a VM did not end with 0; from doctor: something is missing"""


@dataclass(frozen=True, slots=True)
class Command:
    """`function` in `sandbox.cli.MODULE`; an empty module: not served yet."""

    name: str
    summary: str
    module: str = ""
    group: str = ""


RUN, KEEP, LOOK_UP, FLEET = "Run programs", "Keep files", "Look things up", "Many VMs"

COMMANDS = (
    Command("run", "run a program in a VM, in the foreground", "run", RUN),
    Command("demo", "a mixed fleet of VMs of every ISA in the dashboard", "demo", RUN),
    Command("asm", "assemble a .s file to an ELF program", "assembly", RUN),
    Command("disasm", "list the code of a program", "assembly", RUN),
    Command("volume", "persistent filesystems by name, for -v NAME:GUEST", "volume", KEEP),
    Command("guests", "the programs that come with the package", "catalogue", LOOK_UP),
    Command("boards", "the bare-metal boards that come with the package", "catalogue", LOOK_UP),
    Command("syscalls", "which system calls are served, and how well", "catalogue", LOOK_UP),
    Command("doctor", "what is built, what the host offers, what is missing", "doctor", LOOK_UP),
    Command("up", "start a fleet of VMs from a TOML file", "fleet", FLEET),
    Command("ps", "the VMs of the fleet that is up", "steer", FLEET),
    Command("top", "its dashboard", "steer", FLEET),
    Command("inspect", "everything about one VM", "steer", FLEET),
    Command("logs", "what a VM printed", "steer", FLEET),
    Command("exec", "run a program in a running VM", "exec", FLEET),
    Command("start", "start a VM, or start it again", "steer", FLEET),
    Command("pause", "let a VM stand still", "steer", FLEET),
    Command("resume", "let it run again", "steer", FLEET),
    Command("stop", "ask a VM to end, then kill it", "steer", FLEET),
    Command("kill", "end a VM at once", "steer", FLEET),
    Command("rm", "remove a VM that has ended", "steer", FLEET),
    Command("set", "change a VM's limits", "steer", FLEET),
    Command("down", "end the fleet", "fleet", FLEET),
    Command("snapshot", "save a VM to a file"),
    Command("restore", "a VM from a file"),
    Command("fork", "copies of a running VM"),
    Command("image", "root filesystems by name"),
)
BY_NAME = {command.name: command for command in COMMANDS}


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status of `sandbox ARGUMENTS`. Never raises."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    _open_missing_streams()
    try:
        status = _dispatch(words)
        sys.stdout.flush()
        return status
    except SandboxError as error:
        complain(str(error))
        return error.status if isinstance(error, LoadError) else FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader of a listing has gone: `sandbox syscalls | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else FAILED if leaving.code else 0
    except Exception as error:
        if os.environ.get("SANDBOX_TRACEBACK"):
            raise
        complain(f"this is a defect of the sandbox: {type(error).__name__}: {error} (SANDBOX_TRACEBACK=1 shows where)")
        return FAILED


def _open_missing_streams() -> None:
    """A standard descriptor that the caller has closed would be given to the next file that we open."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _dispatch(words: list[str]) -> int:
    name = words[0] if words else "--help"
    if name in ("-h", "--help", "help"):
        if len(words) > 1 and not words[1].startswith("-"):
            return _dispatch([words[1], "--help"])
        print(overview(), end="")
        return 0
    if name in ("-V", "--version"):
        from importlib.metadata import PackageNotFoundError, version

        try:
            print("sandbox", version("unicorn-sandbox"))
        except PackageNotFoundError:
            print("sandbox (not installed: run from a checkout)")
        return 0
    command = BY_NAME.get(name)
    if command is None:
        complain(f"there is no command {name!r}{_nearest(name)}; `sandbox --help` lists them")
        return FAILED
    if not command.module:
        complain(f"`sandbox {name}` ({command.summary}) is not served yet")
        return FAILED
    module = import_module(f"sandbox.cli.{command.module}")
    function = getattr(module, f"{name}_", None) or getattr(module, name)  # `set_`: not to hide the builtin
    status: int = function(words[1:])
    return status


def complain(sentence: str) -> None:
    """One line on stderr; what it quotes may come from a guest or a hostile file."""
    line = "".join(character if character.isprintable() else f"\\x{ord(character):02x}" for character in sentence)
    print(f"sandbox: {line}", file=sys.stderr)


def _nearest(name: str) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, [command.name for command in COMMANDS if command.module], 1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def overview() -> str:
    """`sandbox --help`: what is served, and where to begin."""
    lines = [
        "usage: sandbox COMMAND ...",
        "",
        "Linux programs of five ISAs and bare-metal boards in virtual machines.",
        "",
    ]
    for group in (RUN, KEEP, LOOK_UP, FLEET):
        commands = [command for command in COMMANDS if command.group == group and command.module]
        if commands:
            lines.append(f"{group}:")
            lines += [f"  {command.name:<10} {command.summary}" for command in commands]
            lines.append("")
    lines += [
        "Begin with:",
        "  sandbox demo                                  a fleet of VMs in the dashboard; ? there explains the keys",
        "  sandbox run hello                             a guest that comes with the package",
        "  sandbox run --stats PROGRAM.s                 assemble and run, with figures at the end",
        "  sandbox run --rootfs DIR /bin/busybox sh      a program of any ISA, its files untouched",
        "  sandbox COMMAND --help                        options and examples of a command",
        "",
        STATUSES,
        "",
    ]
    return "\n".join(lines)

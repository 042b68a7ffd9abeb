"""`python -m benchmarks`: which figures, how often, and where the results go."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from benchmarks import report
from benchmarks.figures import all_figures
from benchmarks.peers import CLOCK


def main() -> int:
    figures = all_figures()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Every figure beside its peers.")
    parser.add_argument("figure", nargs="*", help=f"which figures (default: all): {', '.join(figures)}")
    parser.add_argument("--runs", type=int, default=3, help="the minimum of this many runs counts (default: 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all values there as well")
    parser.add_argument("--qiling", metavar="PYTHON", help="an interpreter that has Qiling, to measure it too")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="what seconds mean (default: wall)")
    options = parser.parse_args()
    if unknown := set(options.figure) - set(figures):
        parser.error(f"no such figure: {', '.join(sorted(unknown))}; there are {', '.join(figures)}")
    if options.runs < 1:
        parser.error("--runs: at least one")

    os.environ[CLOCK] = options.clock
    facts = report.machine()
    print(
        f"{facts['cpu']}, {facts['cores']} cores, {facts['system']}, Python {facts['python']}, load {facts['load']}\n"
    )
    results = []
    for name in options.figure or figures:
        result = figures[name].measure(options.qiling, options.runs, progress)
        progress("")
        print(report.table(result, options.runs), flush=True)
        results.append(result)
    if options.json:
        options.json.write_text(json.dumps(report.as_json(results, options.runs), indent=1) + "\n")
    return 0


def progress(line: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

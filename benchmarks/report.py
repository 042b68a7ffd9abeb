"""Results as a table for people (ratios first) and as JSON for comparison over time."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from benchmarks.figure import Result, geometric_mean, ratio
from benchmarks.peers import wall_clock

MISSING = "not measured"


def machine() -> dict[str, Any]:
    model = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
        "clock": "wall" if wall_clock() else "cpu",
    }


def table(result: Result, runs: int) -> str:
    peers = list(dict.fromkeys(peer for row in result.rows for peer in (*row.values, *row.notes)))
    ratios = [pair for pair in result.ratios if pair[0] in peers and pair[1] in peers]
    heads = ["", *(_short(ours) for ours, _ in ratios), *(peer.split()[0].rstrip(",") for peer in peers)]
    seconds = ["", *(f"x {peer.split()[0]}" for _, peer in ratios), *(" ".join(peer.split()[1:]) for peer in peers)]
    lines = [heads, seconds]
    for row in result.rows:
        lines.append(
            [
                row.label,
                *(_factor(ratio(row, *pair)) for pair in ratios),
                *(f"{row.values[peer]:.3g}" if peer in row.values else MISSING for peer in peers),
            ]
        )
    if len(result.rows) > 1 and ratios:
        means = [geometric_mean([ratio(row, *pair) for row in result.rows]) for pair in ratios]
        lines.append(["geometric mean", *map(_factor, means), *("" for _ in peers)])
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    body = "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    reasons: dict[tuple[str, str], list[str]] = {}
    for row in result.rows:
        for peer, why in row.notes.items():
            reasons.setdefault((peer, why), []).append(row.label)
    notes = "".join(f"\n  {peer} on {', '.join(labels)}: {why}" for (peer, why), labels in reasons.items())
    clock = "wall" if wall_clock() else "CPU"
    head = f"{result.title}: {result.unit}, {result.how or f'{clock} time, minimum of {runs} runs'}"
    if ratios:
        head += "; x = times as fast as"
    return f"{head}\n{body}{notes}\n"


def as_json(results: list[Result], runs: int) -> dict[str, Any]:
    return {
        "machine": machine(),
        "runs": runs,
        "figures": [
            {
                "name": result.name,
                "title": result.title,
                "unit": result.unit,
                "rows": [
                    {
                        "label": row.label,
                        "ratios": {f"{ours} / {peer}": ratio(row, ours, peer) for ours, peer in result.ratios},
                        "values": row.values,
                        "details": row.details,
                        "not_measured": row.notes,
                    }
                    for row in result.rows
                ],
                "geometric_mean": {
                    f"{ours} / {peer}": geometric_mean([ratio(row, ours, peer) for row in result.rows])
                    for ours, peer in result.ratios
                },
            }
            for result in results
        ],
    }


def _short(peer: str) -> str:
    return peer.split(", ")[-1]


def _factor(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"

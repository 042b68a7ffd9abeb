"""One file per figure, each with a `FIGURE`; found by name, in the order of their files."""

from __future__ import annotations

import importlib
import pkgutil

from benchmarks.figure import Figure


def all_figures() -> dict[str, Figure]:
    modules = (importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__))
    figures: list[Figure] = [module.FIGURE for module in modules]
    return {figure.name: figure for figure in figures}

"""Where the operator's named volumes are."""

from __future__ import annotations

import os
from pathlib import Path

from sandbox.vfs.volume_store import VolumeStore


def volume_store() -> VolumeStore:
    """$SANDBOX_HOME, else the directory for the user's data (XDG base directory specification)."""
    home = os.environ.get("SANDBOX_HOME")
    if home:
        return VolumeStore(Path(home) / "volumes")
    data = os.environ.get("XDG_DATA_HOME")
    return VolumeStore((Path(data) if data else Path.home() / ".local" / "share") / "sandbox" / "volumes")

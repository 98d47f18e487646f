"""What an argument names, where it may be a path as well as the text of an architecture."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Literal


def kind_of(text: str | Path) -> Literal["folder", "file", "other"] | None:
    """What lies at a path; None if nothing does, or if it cannot be looked at.

    `other` is a pipe or a device: to read what it is would use it up.
    """
    try:
        mode = Path(text).stat().st_mode
    except (OSError, ValueError):  # a genotype is longer than names may be
        return None
    if stat.S_ISDIR(mode):
        return "folder"
    return "file" if stat.S_ISREG(mode) else "other"

"""The re-identification tasks by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from bnas_bench.transfer.identities import identities
from bnas_bench.transfer.people import People, from_folder

FOLDERS: Mapping[str, str] = {
    "market1501": "Market-1501-v15.09.15",
    "duke": "DukeMTMC-reID",
    "cuhk03": "CUHK03-NP/detected",
}
"""Where below the folder of all datasets each is looked for."""


def people(task: str, folder: Path, device: torch.device) -> People:
    """The dataset of a task: `identities`, or one of `FOLDERS`.

    Args:
        folder: of all datasets.

    Raises:
        MissingData, BadValue: as `from_folder`.
    """
    if task in FOLDERS:
        return from_folder(task, folder / FOLDERS[task], device)
    return identities(device)

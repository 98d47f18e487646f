"""Costs of the networks that a paper's rows name, counted at the paper's size; nothing is trained."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from bnas_bench.core.errors import UnknownName
from bnas_bench.papers.artefact import FOLDER, Count
from bnas_bench.plugins.making import space as space_of
from bnas_bench.plugins.spec import parse_spec
from bnas_bench.runs.size import Size

if TYPE_CHECKING:
    from bnas_bench.cost import Ledger
    from bnas_bench.nn.network import Network

ARCHITECTURES = FOLDER / "architectures"


@cache
def counted(count: Count) -> dict[str, Any]:
    """The costs of a network, by the fields of a record that hold them (`bnas_bench.cost.costs`).

    Raises:
        UnknownName: if no file holds the architecture.
    """
    from bnas_bench.cost import costs

    return costs(ledger_of(count))


@cache
def ledger_of(count: Count) -> Ledger:
    """The layers of a network at the size that a row names.

    Raises:
        UnknownName: if no file holds the architecture.
    """
    from bnas_bench.cost import ledger

    space = space_of(count.space)
    size = Size(count.channels, count.cells, count.input, count.classes)
    arch = space.parse(architecture(count))
    network = size.network(space, arch)
    if not count.task:
        return ledger(network, count.input)
    return _of_detector(network, count, "W32A32" if space.is_real(arch) else "W1A1")


def _of_detector(network: Network, count: Count, precision: str) -> Ledger:
    """The layers of the detector around a network, as the paper's recipe has it."""
    import numpy as np

    from bnas_bench.cost import ledger
    from bnas_bench.nn.binary import Precision
    from bnas_bench.nn.network import run_at
    from bnas_bench.transfer.detection.frames import FRAMES
    from bnas_bench.transfer.detection.model import Counted
    from bnas_bench.transfer.detection.task import Recipe, detector

    frame, rng = FRAMES[count.task], np.random.default_rng(0)
    model = detector(network, frame, count.classes, Recipe(heads=count.heads), rng)
    run_at(model, Precision(precision))
    return ledger(Counted(model), count.input)


def architecture(count: Count) -> str:
    """The text of an architecture: that of its file, or a model's name."""
    if parse_spec(count.space).name == "handcrafted":
        return count.arch
    files = {file.stem: file for file in ARCHITECTURES.iterdir()}
    if count.arch not in files:
        raise UnknownName("architecture of the papers", count.arch, files)
    return files[count.arch].read_text("utf-8")

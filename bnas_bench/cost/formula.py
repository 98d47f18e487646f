"""OPs as a formula over a space's decisions: no network is built, no image runs.

OPs of a network are a sum over its layers, and what a layer costs depends on few decisions: the
operation of an edge; two widths, a kernel and a depth. So they are a sum of small tables, and their
expectation under independent relaxed decisions is the same sum with every table contracted with the
weights of its decisions: exact, differentiable, and an architecture's own OPs where they are one-hot.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from bnas_bench.core.errors import BadValue, UnknownName
from bnas_bench.cost.conventions import BEYOND_PRODUCTS, OPS
from bnas_bench.cost.ledger import Layer

if TYPE_CHECKING:
    from bnas_bench.core.architecture import Mix

CONVENTION = "nas-bnn"
"""Real MACs + 8-bit MACs / 8 + binary MACs / 64: what BARS, NAS-BNN and Bi-Real Net call OPs."""


@dataclass(frozen=True)
class Term:
    """What a layer costs, by the options of the decisions that it depends on.

    Attributes:
        decisions: their positions in the space, each once.
        table: OPs, one axis per decision, as long as it has options.
    """

    decisions: tuple[int, ...]
    table: np.ndarray


class OpsFormula:
    """OPs of every architecture of a space at one scale.

    Args:
        terms: those of the same decisions are added up.
    """

    def __init__(self, terms: Iterable[Term]) -> None:
        tables: dict[tuple[int, ...], np.ndarray] = {}
        for term in terms:
            table = np.asarray(term.table, dtype=np.float64)
            tables[term.decisions] = tables.get(term.decisions, 0) + table
        self.terms = tuple(
            Term(decisions, np.asarray(table)) for decisions, table in tables.items()
        )
        self._flat = [
            (tuple(zip(t.decisions, _strides(t.table), strict=True)), t.table.ravel().tolist())
            for t in self.terms
        ]
        self._tensors: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}

    def of_paths(self, paths: np.ndarray) -> np.ndarray:
        """OPs of many architectures at once, exactly as the ledger counts them.

        Args:
            paths: `space.path(...)` of each, shape (architectures, decisions).

        Returns:
            shape (architectures,), float64.
        """
        paths = np.asarray(paths)
        total = np.zeros(len(paths))
        columns = np.ascontiguousarray(paths.T)
        for term in self.terms:
            place = np.zeros(len(paths), dtype=np.intp)
            for decision, stride in zip(term.decisions, _strides(term.table), strict=True):
                place += columns[decision] * stride
            total += term.table.ravel()[place]
        return total

    def of(self, path: Sequence[int]) -> float:
        """OPs of one architecture, by its `space.path(arch)`."""
        total = 0.0
        for axes, table in self._flat:  # for one, plain numbers are ten times as fast as arrays
            place = 0
            for decision, stride in axes:
                place += path[decision] * stride
            total += table[place]
        return total

    def expected(self, mix: Mix) -> Tensor:
        """Expected OPs when every decision is drawn by its weights alone; a scalar.

        Entries that are indices count as certain. Differentiable in the weights.
        """
        weights = [entry for entry in mix if isinstance(entry, Tensor)]
        like = weights[0] if weights else torch.zeros((), dtype=torch.float64)
        total = like.new_zeros(())
        for term, full in zip(self.terms, self._on(like), strict=True):
            table = full
            for decision in term.decisions:  # the table's first axis, time and again
                w = mix[decision]
                table = torch.tensordot(w, table, 1) if isinstance(w, Tensor) else table[w]
            total = total + table
        return total

    def _on(self, like: Tensor) -> list[Tensor]:
        key = like.device, like.dtype
        if key not in self._tensors:
            self._tensors[key] = [
                torch.from_numpy(term.table).to(device=like.device, dtype=like.dtype)
                for term in self.terms
            ]
        return self._tensors[key]


def _strides(table: np.ndarray) -> list[int]:
    """How many entries of the flattened table lie between neighbours along each axis."""
    return [prod(table.shape[axis + 1 :]) for axis in range(table.ndim)]


@cache
def convolution_ops(
    inputs: int,
    outputs: int,
    kernel: int,
    pixels: int,
    *,
    groups: int = 1,
    bits: tuple[int, int] = (1, 1),
    convention: str = CONVENTION,
) -> float:
    """OPs of a convolution without bias.

    Args:
        pixels: of the output map.
        bits: of the weights and of the activations.

    Raises:
        UnknownName: if there is no such convention.
        BadValue: if it charges more than convolutions and linear layers, as `flops` and `all` do.
    """
    kind = "depthwise" if groups == inputs > 1 else "pointwise" if kernel == 1 else "conv"
    macs = inputs // groups * outputs * kernel**2 * pixels
    return _ops(Layer("", kind, (inputs,), (outputs, pixels), *bits, macs, {}, 0), convention)


def linear_ops(inputs: int, outputs: int, *, convention: str = CONVENTION) -> float:
    """OPs of a real linear layer with bias.

    Raises:
        UnknownName: if there is no such convention.
        BadValue: if it charges more than convolutions and linear layers.
    """
    layer = Layer("", "linear", (inputs,), (outputs,), 32, 32, inputs * outputs, {}, 0, outputs)
    return _ops(layer, convention)


def _ops(layer: Layer, convention: str) -> float:
    check_convention(convention)
    return float(OPS[convention](layer))


def check_convention(convention: str, *, known: Container[str] = ()) -> None:
    """Refuse a convention that charges what a formula does not know.

    Args:
        known: conventions of `BEYOND_PRODUCTS` for which this formula lists the layers.

    Raises:
        UnknownName: if there is no such convention.
        BadValue: if it charges more than convolutions and linear layers.
    """
    if convention not in OPS:
        raise UnknownName("convention of counting operations", convention, OPS)
    if convention in BEYOND_PRODUCTS and convention not in known:
        raise BadValue(
            f"a formula knows convolutions and linear layers, and '{convention}' charges "
            f"{BEYOND_PRODUCTS[convention]} too; count a network instead (bnas-bench measure)"
        )


def halved(side: int, times: int = 1) -> int:
    """The side of a map after so many layers of stride 2 that pad as is usual."""
    for _ in range(times):
        side = -(-side // 2)
    return side


def pixels(shape: Sequence[int], halvings: int = 0) -> int:
    """Pixels of a map: of the image (C, H, W), halved so many times."""
    return prod(halved(side, halvings) for side in shape[1:])

"""What every network and supernet has in common: the precision switch and the counted forward."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from bnas_bench.nn.binary import BinaryConv2d, Filters, Precision, reconstruction_of
from bnas_bench.nn.passes import Passes
from bnas_bench.nn.quantised import QuantConv2d

if TYPE_CHECKING:
    import numpy as np

    from bnas_bench.core.architecture import Mix


M = TypeVar("M", bound=nn.Module)


class ListOf(nn.ModuleList, Generic[M]):
    """A ModuleList whose members' type the type checker knows."""

    if TYPE_CHECKING:

        def __getitem__(self, index: int) -> M: ...  # type: ignore[override]

        def __iter__(self) -> Iterator[M]: ...


@contextmanager
def initialised_by(rng: np.random.Generator) -> Iterator[None]:
    """Draw the weights of the modules built inside from `rng`; torch's global generator is put back."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**63)))
        yield


class Counted(Passes):
    """A module whose passes a meter counts, and which several ranks may compute together.

    Attributes:
        head: from the last maps to the logits.
    """

    head: nn.Module

    def forward(self, *args: Any) -> Tensor:
        return self.head(self.features(*args))

    def logits_and_features(self, *args: Any) -> tuple[Tensor, Tensor]:
        """One forward pass that also hands out the maps that the head sees."""
        features = self.features(*args)
        return self.head(features), features

    @property
    def precision(self) -> Precision:
        """The precision that the network runs at; a layer's own precision bounds it from below."""
        return self._precision

    @precision.setter
    def precision(self, precision: Precision) -> None:
        run_at(self, precision)

    _precision: Precision = Precision.W1A1

    def features(self, *args: Any) -> Tensor:
        """The feature maps of the last layer before the head's pooling, shape (B, C, H, W)."""
        raise NotImplementedError

    def reconstruction_error(self, per: str = "sum") -> Tensor:
        """Eq. (7) of DCP-NAS for all layers of 1-bit weights, a scalar.

        Args:
            per: one of `RECONSTRUCTIONS`.
        """
        filters = (
            module.filters()
            for module in self.modules()
            if isinstance(module, BinaryConv2d) and module.own.weight_bits == 1
        )
        return reconstruction_of(filters, per).to(next(self.parameters()))


def run_at(module: nn.Module, precision: Precision) -> None:
    """Let all layers within a module, and the networks among them, run at a precision."""
    precision = Precision(precision)
    for each in module.modules():
        if isinstance(each, BinaryConv2d | QuantConv2d):
            each.running = precision
        elif isinstance(each, Counted):
            each._precision = precision


class Network(Counted):
    """A stand-alone network: `forward(x_BCHW) -> logits_BN`."""

    def successive(self, x_BCHW: Tensor) -> Iterator[Tensor]:
        """The maps behind the stem and behind each block, as they come; the last are the features."""
        yield self.features(x_BCHW)

    def stages(self, x_BCHW: Tensor) -> list[Tensor]:
        """The last maps of each size, the largest first, shape (B, C, H, W) each.

        A network that does not say what comes before its features has one stage.
        """
        found: list[Tensor] = []
        for maps_BCHW in self.successive(x_BCHW):
            if found and found[-1].shape[2:] == maps_BCHW.shape[2:]:
                found.pop()
            found.append(maps_BCHW)
        return found

    def both(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor | None]:
        """The logits and, where the network has an auxiliary head and trains, that head's logits."""
        return self(x_BCHW), None


def last(maps: Iterable[Tensor]) -> Tensor:
    """The last of some maps; no earlier one is kept meanwhile.

    Raises:
        ValueError: if there is none.
    """
    found = None
    for found in maps:  # noqa: B007
        pass
    if found is None:
        raise ValueError("there are no maps")
    return found


class Supernet(Counted):
    """A weight-sharing network: `forward(x_BCHW, mix) -> logits_BN`; see `bnas_bench.core.architecture.Mix`.

    Batch normalisation uses the batch's own statistics throughout: a path's running averages would
    be those of other paths.
    """

    def features(self, x_BCHW: Tensor, mix: Mix) -> Tensor:
        raise NotImplementedError

    def filters(self, path: Sequence[int]) -> Iterator[Filters]:
        """The 1-bit convolutions that run when every decision takes one option's index."""
        raise NotImplementedError

    def weight_norms(self) -> Tensor:
        """Squared 2-norm of the weights that each decision governs, shape (decisions,).

        At a binary precision these are the reconstructed weights beta * sign(w).
        """
        raise NotImplementedError

    def bequeath(self, network: Network) -> None:
        """Copy the weights of the path that a stand-alone network of the same spec is into it."""
        raise NotImplementedError

"""The maps of one forward pass: which are alive together, and who reads them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.weak import WeakIdKeyDictionary

from bnas_bench.nn.binary import BinaryConv2d, Precision, RSign
from bnas_bench.nn.nasbnn.network import NormalisedConv2d

NO_THRESHOLD = None
"""The threshold of a plain sign, among those that are named by the layer which has them."""

Threshold = nn.Module | None


@dataclass(eq=False)
class Map:
    """A tensor as one layer or operation made it.

    Attributes:
        maker: the layer; None for an operation outside the layers, and for the image.
        sources: what it was made from.
        readers: what was made from it, and counts for the logits once `Maps.finish` was called.
    """

    maker: nn.Module | None
    sources: tuple[Map, ...]
    readers: list[Map] = field(default_factory=list)
    live: bool = False

    @property
    def thresholds(self) -> set[Threshold] | None:
        """Of the signs that 1-bit convolutions take of it; None if it is read as numbers as well.

        The signs come directly or through Hardtanh, which changes none, or RSign. A threshold is
        named by the RSign or the convolution that has it.
        """
        found: set[Threshold] = set()
        for reader in self.readers:
            match reader.maker:
                case NormalisedConv2d() as conv if conv.precision == Precision.W1A1:
                    found.add(conv)
                case BinaryConv2d() as conv if conv.precision == Precision.W1A1:
                    found.add(NO_THRESHOLD)
                case (nn.Hardtanh() | RSign()) as sign if reader.thresholds == {NO_THRESHOLD}:
                    found.add(sign if isinstance(sign, RSign) else NO_THRESHOLD)
                case _:
                    return None
        return found or None

    @property
    def folded(self) -> bool:
        """Whether it is the output of a batch norm that a packed file keeps as thresholds alone."""
        norm = isinstance(self.maker, nn.BatchNorm1d | nn.BatchNorm2d)
        return norm and self.thresholds is not None


@dataclass(eq=False)
class _Storage:
    """The memory of one or more maps: of a view, or of an operation in place, as well."""

    values: int
    maps: list[Map] = field(default_factory=list)


class Maps:
    """Follows the maps while a network runs.

    A map is alive from the moment when it is made until Python frees its memory, as in the float
    simulation. What a layer makes within itself is not followed.

    Args:
        weights: parameters, whose memory is no map's, whatever view of them is taken.
    """

    def __init__(self, weights: Iterable[Tensor] = ()) -> None:
        self._weights = {StorageWeakRef(weight.untyped_storage()) for weight in weights}
        self._of: WeakIdKeyDictionary = WeakIdKeyDictionary()
        self._alive: dict[StorageWeakRef, _Storage] = {}
        self._moments: list[list[_Storage]] = []

    def make(self, y: Tensor, sources: Sequence[Tensor], maker: nn.Module | None = None) -> Map:
        """Enter `y`, which has just been made from `sources`."""
        if isinstance(maker, nn.Identity | nn.Dropout) and y in self._of:
            return self._of[y]  # it handed on its input
        read = [self._of[x] for x in sources if x in self._of]
        made = Map(maker, tuple(read))
        for source in read:
            source.readers.append(made)
        self._of[y] = made
        for storage in [storage for storage in self._alive if storage.expired()]:
            del self._alive[storage]
        place = StorageWeakRef(y.untyped_storage())
        size = y.untyped_storage().nbytes() // y.element_size()
        if place not in self._weights:
            self._alive.setdefault(place, _Storage(size)).maps.append(made)
        self._moments.append(list(self._alive.values()))
        return made

    def finish(self, outputs: Iterable[Tensor]) -> None:
        """Find what the outputs were made from, and forget all other readers."""
        pending = [self._of[y] for y in outputs if y in self._of]
        while pending:
            found = pending.pop()
            if not found.live:
                found.live = True
                pending.extend(found.sources)
        for storage in {id(s): s for moment in self._moments for s in moment}.values():
            for made in storage.maps:
                made.readers = [reader for reader in made.readers if reader.live]

    def peak(self, *, packed: bool) -> int:
        """Bytes of the most that is alive at once: 4 for each value.

        Args:
            packed: one bit for the values of a map that 1-bit convolutions alone read.
        """

        def size(storage: _Storage) -> int:
            if packed and all(made.thresholds is not None for made in storage.maps):
                return -(-storage.values // 8)
            return 4 * storage.values

        sizes = {id(s): size(s) for moment in self._moments for s in moment}
        return max((sum(sizes[id(s)] for s in moment) for moment in self._moments), default=0)

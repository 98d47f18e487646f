"""What of a network's chains must wait for what, and the order in which several threads wait least.

Nobody waits at the end of a chain: where a network has branches, the next one often needs something else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from bnas_bench.packed.engine.elements import Code

if TYPE_CHECKING:
    import numpy as np

RATES = {"element": 10, "window": 20, "bit": 1000, "product": 90}
"""What a thread does in a nanosecond, roughly, as only the order follows it."""


class Reads(Protocol):
    """A kernel that reads values and makes others, by name."""

    reads: set[str]
    makes: set[str]


class Works(Reads, Protocol):
    """A chain whose work is known."""

    height: int
    width: int
    instructions: np.ndarray


def needs(chains: Sequence[Reads]) -> list[list[int]]:
    """For each chain the numbers of the others that make what it reads."""
    makers = {name: number for number, chain in enumerate(chains) for name in chain.makes}
    found = ({makers[name] for name in chain.reads if name in makers} for chain in chains)
    return [sorted(those - {number}) for number, those in enumerate(found)]


def ancestors(needed: Sequence[Sequence[int]]) -> list[int]:
    """For each chain those that are done before it begins, whatever happens: bit n is chain n."""
    found: list[int] = []
    for those in needed:
        mask = 0
        for need in those:
            mask |= found[need] | 1 << need
        found.append(mask)
    return found


def cost(chain: Works) -> float:
    """Nanoseconds that one thread takes for a chain and one image, roughly."""
    total = 0.0
    for row in chain.instructions.tolist():
        match row[0]:
            case Code.BINARY:  # see `blocks.binary`
                total += row[7] ** 2 * 8 * row[2] * row[12] * row[14] / RATES["bit"]
            case Code.DENSE:
                total += row[3] * row[4] / RATES["product"]
            case Code.SLIDE | Code.SLIDE_MEAN | Code.SLIDE_MAX:
                total += row[7] ** 2 * row[2] / RATES["window"]
            case Code.GATHER:
                total += row[7] ** 2 * row[2] / RATES["element"]
            case Code.PACK:
                total += row[2] * row[3] / RATES["element"]
            case _:
                total += row[3] / RATES["element"]
    return total * chain.height * chain.width


def longest_way_first(costs: Sequence[float], needed: Sequence[Sequence[int]]) -> list[int]:
    """The chains in an order in which they can run.

    Next comes the one with the longest way to the end, of those that need not wait for the last one
    if there are any: who is done with his part of that begins it while the others are at theirs.
    """
    ways = list(costs)
    for number in reversed(range(len(costs))):
        for need in needed[number]:
            ways[need] = max(ways[need], costs[need] + ways[number])
    order: list[int] = []
    left = dict.fromkeys(range(len(costs)))
    while left:
        able = [number for number in left if left.keys().isdisjoint(needed[number])]
        last = order[-1] if order else None
        order.append(max(able, key=lambda n: (last not in needed[n], ways[n], -n)))
        del left[order[-1]]
    return order

"""How fast architectures of nas-bnn are drawn and their OPs counted, on one core.

The authors' code does about 1,100 a second, draw included. Nothing here passes or fails by a time.
"""

from statistics import median
from time import thread_time

import numpy as np

from bnas_bench.core.architecture import Architecture
from bnas_bench.core.budget import Scale
from bnas_bench.plugins.registry import find

NUMBER = 100_000


def rate(number: int, work) -> float:
    """Median of `number` per second of processor time over five runs, after one to warm up."""
    work()
    times = []
    for _ in range(5):
        began = thread_time()
        work()
        times.append(thread_time() - began)
    return number / median(times)


def test_architectures_per_second() -> None:
    space, rng = find("space", "nas-bnn").make({}), np.random.default_rng(0)
    formula = space.ops(space.spec(Scale(), (3, 224, 224), 1000, final=True))
    paths = space.sample_paths(NUMBER, rng)

    def one_by_one() -> list[tuple[Architecture, float]]:
        archs = [space.sample(rng) for _ in range(200)]
        return [(arch, formula.of(space.path(arch))) for arch in archs]

    rates = {
        "draw": rate(NUMBER, lambda: space.sample_paths(NUMBER, rng)),
        "formula": rate(NUMBER, lambda: formula.of_paths(paths)),
        "both": rate(NUMBER, lambda: formula.of_paths(space.sample_paths(NUMBER, rng))),
        "one by one": rate(200, one_by_one),
    }
    print(f"\narchitectures of nas-bnn a second, {NUMBER:,} at a time:")
    for name, value in rates.items():
        print(f"  {name:10} {value:12,.0f}")

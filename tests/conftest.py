"""What all tests share.

One thread: deterministic, and no spinning where the cores are shared. And `@pytest.mark.sample(n)`: of a
test's sets of parameters `make test` runs `n`, spread over all of them, and the slow set the others.
"""

from collections import defaultdict

import pytest
import torch

torch.set_num_threads(1)


@pytest.hookimpl(tryfirst=True)  # before -m deselects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    sampled: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if item.get_closest_marker("sample"):
            sampled[item.nodeid.partition("[")[0]].append(item)
    for group in sampled.values():
        (number,) = group[0].get_closest_marker("sample").args
        chosen = {index * len(group) // number for index in range(number)}
        for index, item in enumerate(group):
            if index not in chosen:
                item.add_marker(pytest.mark.slow)

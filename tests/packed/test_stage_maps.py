"""The maps of a backbone's stages out of the packed engine: those of the network, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bnas_bench.packed.engine.engine import Engine
from bnas_bench.packed.lowering.lower import lower, lower_stages
from tests.helpers import plain_engine
from tests.helpers.networks import LARGE, SPACES, build, images
from tests.packed.test_engine import needs_one_rounding


@needs_one_rounding
@pytest.mark.sample(4)
@pytest.mark.parametrize("shape", [(1, 48, 48), LARGE])
@pytest.mark.parametrize(("name", "options"), SPACES, ids=str)
@torch.no_grad()
def test_all_stages_are_the_networks_own(name: str, options: dict, shape: tuple) -> None:
    network = build(name, options, shape)
    x = images(shape)
    program, kept = lower_stages(network, shape)
    expected = network.stages(torch.from_numpy(x))
    assert len(expected) == len(kept) >= 3
    plain = plain_engine.values(program, x)
    engine = Engine(program, kept=kept)
    for _ in range(2):
        for found, name_of, theirs in zip(engine.maps(x), kept, expected, strict=True):
            assert torch.equal(found, theirs), name_of
            assert np.array_equal(plain[name_of], theirs.numpy())
    logits = network(torch.from_numpy(x)).numpy()
    assert np.array_equal(engine.run(x), logits)
    assert np.array_equal(Engine(lower(network, shape)).run(x), logits)

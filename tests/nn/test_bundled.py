"""Bundles in pieces that fit the cache, and the layout of their maps."""

import numpy as np
import pytest
import torch
from bnas_bench.spaces.darts_binary import DartsBinary
from torch import Tensor
from torch.autograd import grad

from bnas_bench.core.budget import NetworkSpec
from bnas_bench.nn.darts import bundles
from bnas_bench.nn.kernels import normalised

BATCH, SIDE, WIDTH = 3, 8, 4


def searched():
    """A relaxed supernet of a normal and two reduction cells, and images for it."""
    space, rng = DartsBinary(), np.random.default_rng(0)
    space.name = "darts-binary"
    net = space.supernet(NetworkSpec((3, SIDE, SIDE), 10, 3, WIDTH), rng)
    mix = [torch.from_numpy(rng.random(len(d.options))).float() for d in space.decisions]
    return net, mix, torch.from_numpy(rng.standard_normal((BATCH, 3, SIDE, SIDE))).float()


def pieces_of(edges: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache holds maps of the first cell's so many edges, in float32."""
    monkeypatch.setattr(bundles, "CACHE", 4 * edges * BATCH * SIDE * SIDE * WIDTH)


@pytest.mark.parametrize("edges", [0, 1, 3])
def test_pieces_compute_what_all_edges_at_once_do(edges, monkeypatch) -> None:
    net, mix, x = searched()
    net, x = net.double(), x.double()
    mix = [part.double().requires_grad_() for part in mix]

    def step() -> list[Tensor]:
        logits = net(x, mix)
        return [logits, *grad(logits.square().sum(), [*mix, *net.parameters()], allow_unused=True)]

    whole = step()
    pieces_of(edges / 2, monkeypatch)  # in float64 they take twice the bytes
    for found, expected in zip(step(), whole, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("edges", [1, 100])
def test_no_pass_copies_a_map_into_its_layout(edges, monkeypatch) -> None:
    """But for the gradients of what lies side by side, the maps of a cell's two inputs."""
    net, mix, x = searched()
    pieces_of(edges, monkeypatch)
    rows, copied = normalised._rows, []

    def watched(x_BCHW: Tensor):
        if not x_BCHW.permute(0, 2, 3, 1).is_contiguous():
            copied.append(x_BCHW.shape)
        return rows(x_BCHW)

    monkeypatch.setattr(normalised, "_rows", watched)
    net(x, mix).sum().backward()
    assert len(copied) == 2 * len(net.cells), copied

"""Backbones of detectors, one image of 320x320 and of 600x600 pixels: all stages' maps, packed and as floats.

All are timed in turns, in one run with one thread, so that the ratios are of one run; weights are untrained,
which no time depends on. Nothing here passes or fails by a time; the maps are compared, bit for bit.
"""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from bnas_bench.cli.latency import in_words, measured_on
from bnas_bench.cost.latency import Subject, latencies, probe_image, simulated
from bnas_bench.nn.binary import Precision
from bnas_bench.nn.network import Network, run_at
from bnas_bench.packed.engine.engine import Engine
from bnas_bench.packed.lowering.lower import lower_stages
from tests.benchmarks.bench_packed_networks import build, text

NAMES = ("DCP-NAS-S", "NAS-BNN-A", "birealnet18")


class Staged(nn.Module):
    """A network that gives its stages' maps alone."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, x_BCHW: Tensor) -> list[Tensor]:
        return self.network.stages(x_BCHW)


@pytest.mark.parametrize("side", [320, 600])
def test_stages_of_backbones(side: int) -> None:
    shape = (3, side, side)
    subjects: dict[str, Subject] = {}
    for name in NAMES:
        network = build(name).eval()
        program, kept = lower_stages(network, shape)
        engine, image = Engine(program, kept=kept), probe_image(shape)
        with torch.inference_mode():
            for found, own in zip(
                engine.maps(image), network.stages(torch.from_numpy(image)), strict=True
            ):
                assert torch.equal(found, own)
        subjects[f"{name} packed"] = Subject("packed", lambda e=engine, i=image: e.maps(i))
        subjects[f"{name} simulated"] = simulated(Staged(network), shape)
        twin = copy.deepcopy(network)
        run_at(twin, Precision.W32A32)
        subjects[f"{name} real"] = Subject("real", simulated(Staged(twin), shape).run)
    times = latencies(subjects, threads=1)
    print(
        f"\n\n{in_words(measured_on(1))}\nmedian ms (quartiles, repeats) of one {side}x{side} image"
    )
    for name in NAMES:
        packed = times[f"{name} packed"]
        print(f"  {name:12} packed     {text(packed)}")
        for kind in ("simulated", "real"):
            other = times[f"{name} {kind}"]
            print(f"  {'':12} {kind:10} {text(other)}  {other.median_ms / packed.median_ms:5.2f} x")

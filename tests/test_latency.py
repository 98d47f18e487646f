"""The latency of the float simulation: what it measures, not how long that takes."""

import time

import pytest
import torch
from torch import Tensor, nn

from bnas_bench.cost import simulated_latency
from bnas_bench.meter import Meter
from bnas_bench.nn.network import Network


class Sleeper(Network):
    """Takes a known time, and notes how it was called."""

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 2)
        self.frozen = nn.BatchNorm1d(2).eval()
        self.seconds = seconds
        self.calls: list[tuple[bool, bool, tuple[int, ...]]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.calls.append((self.training, torch.is_inference_mode_enabled(), tuple(x.shape)))
        time.sleep(self.seconds)
        return self.frozen(self.linear(x.flatten(1)))


def test_measures_single_images_in_evaluation_and_inference_mode() -> None:
    network = Sleeper()
    result = simulated_latency(network, (1, 2, 2), repeats=20)
    assert set(network.calls) == {(False, True, (1, 1, 2, 2))}
    assert result["repeats"] == 20
    assert len(network.calls) > 20  # warm-up is not measured
    assert result["threads"] == torch.get_num_threads()


def test_the_network_is_in_its_own_modes_again_even_after_an_error() -> None:
    network = Sleeper()
    simulated_latency(network, (1, 2, 2), repeats=1)
    assert network.training
    assert not network.frozen.training
    with pytest.raises(RuntimeError):
        simulated_latency(network, (1, 3, 3))
    assert network.training
    assert not network.frozen.training


def test_quartiles_of_a_known_time() -> None:
    result = simulated_latency(Sleeper(0.004), (1, 2, 2), repeats=12)
    assert 4 <= result["lower_ms"] <= result["median_ms"] <= result["upper_ms"]
    assert result["lower_ms"] < 40  # milliseconds, not microseconds


def test_stops_after_the_time_but_not_before_ten_repeats() -> None:
    assert simulated_latency(Sleeper(0.001), (1, 2, 2), seconds=0)["repeats"] == 10
    assert simulated_latency(Sleeper(0.01), (1, 2, 2), seconds=0.15)["repeats"] in range(10, 16)


def test_an_open_meter_is_not_charged() -> None:
    with Meter(10) as meter:
        simulated_latency(Sleeper(), (1, 2, 2))
    assert meter.spent == 0

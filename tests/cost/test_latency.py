"""Latencies: what is timed, in which state and in which order; not how long that takes."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bnas_bench.cost.latency import (
    WARM_UP,
    Latency,
    Subject,
    latencies,
    latency,
    packed,
    probe_image,
    real,
    settle,
    simulated,
    torch_threads,
)
from bnas_bench.nn.binary import BinaryConv2d, Precision
from bnas_bench.nn.network import Network
from bnas_bench.search.meter import Meter
from tests.helpers.networks import build, images

calls: list[dict[str, Any]] = []


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    calls.clear()


class Toy(Network):
    """Notes how it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = BinaryConv2d(1, 2, 1)
        self.frozen = nn.BatchNorm2d(2).eval()
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(8, 2))

    def features(self, x: Tensor) -> Tensor:
        state = (self.training, self.frozen.training, torch.is_inference_mode_enabled())
        calls.append(
            {
                "state": state,
                "precision": self.conv.precision,
                "threads": torch.get_num_threads(),
                "image": x.numpy().copy(),
            }
        )
        return self.frozen(self.conv(x))


def sleeper(seconds: float) -> Subject:
    return Subject("real", lambda: time.sleep(seconds))


def test_single_images_in_evaluation_and_inference_mode() -> None:
    network = Toy()
    found = latency(simulated(network, (1, 2, 2)), threads=1, repeats=20)
    assert {call["state"] for call in calls} == {(False, False, True)}
    assert all(np.array_equal(call["image"], probe_image((1, 2, 2))) for call in calls)
    assert (found.kind, found.repeats, found.threads) == ("simulated", 20, 1)
    assert len(calls) > 20  # warm-up is not measured
    assert network.training
    assert not network.frozen.training


def test_the_image_is_one_of_numbers_from_minus_1_to_1() -> None:
    image = probe_image((1, 2, 2))
    assert (image.shape, image.dtype) == ((1, 1, 2, 2), np.float32)
    np.testing.assert_allclose(image.ravel(), [-1, -1 / 3, 1 / 3, 1], rtol=1e-6)


def test_the_twin_is_real_valued_and_the_network_stays_binary() -> None:
    network = Toy()
    kinds = {"a": simulated(network, (1, 2, 2)), "b": real(network, (1, 2, 2))}
    found = latencies(kinds, threads=1)
    assert [one.kind for one in found.values()] == ["simulated", "real"]
    half = len(calls) // 2
    precisions = [call["precision"] for call in calls]
    assert precisions.count("W1A1") == precisions.count("W32A32") == half
    assert network.conv.precision == "W1A1"


def test_a_network_that_knows_no_precision_is_its_own_twin() -> None:
    network = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Flatten())
    assert latency(real(network, (1, 2, 2)), threads=1).kind == "real"


def test_the_engine_takes_numpys_images() -> None:
    class Engine:
        def run(self, images: np.ndarray) -> np.ndarray:
            calls.append({"image": images})
            return images[:, :, 0, 0]

    found = latency(packed(Engine(), (3, 4, 5)), threads=1, repeats=10)  # type: ignore[arg-type]
    assert (found.kind, found.repeats) == ("packed", 10)
    assert all(np.array_equal(call["image"], probe_image((3, 4, 5))) for call in calls)


def test_threads_are_set_and_put_back_even_after_an_error() -> None:
    assert torch.get_num_threads() == 1  # conftest.py
    found = latency(simulated(Toy(), (1, 2, 2)), threads=2, repeats=10)
    assert found.threads == 2
    assert {call["threads"] for call in calls} == {2}
    assert torch.get_num_threads() == 1
    with pytest.raises(RuntimeError):
        latency(simulated(Toy(), (1, 3, 3)), threads=2)
    assert torch.get_num_threads() == 1
    with torch_threads(2):
        assert torch.get_num_threads() == 2


def test_quartiles_of_known_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of 1, 2, ..., 12 ms: NumPy's quartiles of them, in milliseconds."""
    now, spent = 0.0, iter([0, 0, 0, *range(1, 13)])  # three warm-ups

    def run() -> None:
        nonlocal now
        now += next(spent) / 1000

    monkeypatch.setattr(time, "perf_counter", lambda: now)
    found = latency(Subject("packed", run), threads=1, repeats=12)
    assert found == Latency(
        "packed",
        median_ms=pytest.approx(6.5),
        lower_ms=pytest.approx(3.75),
        upper_ms=pytest.approx(9.25),
        repeats=12,
        threads=1,
    )


def test_stops_after_the_time_but_not_before_ten_repeats() -> None:
    assert latency(sleeper(0.001), threads=1, seconds=0).repeats == 10
    assert latency(sleeper(0.01), threads=1, seconds=0.15).repeats in range(10, 16)
    assert latency(sleeper(0), threads=1).repeats == 50


def test_subjects_take_turns() -> None:
    order: list[str] = []
    subjects = {name: Subject("real", lambda name=name: order.append(name)) for name in "ab"}
    found = latencies(subjects, threads=1, repeats=10)
    assert [one.repeats for one in found.values()] == [10, 10]
    # Three warm-ups of each; then in turns one that is not counted and five that are.
    assert "".join(order) == "aaabbb" + 2 * ("aaaaaa" + "bbbbbb")


def test_the_slow_one_stops_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def taking(seconds: float) -> Subject:
        def run() -> None:
            nonlocal now
            now += seconds

        return Subject("real", run)

    monkeypatch.setattr(time, "perf_counter", lambda: now)
    found = latencies({"slow": taking(0.01), "fast": taking(0.0)}, threads=1, seconds=0.05)
    assert found["slow"].repeats == 10
    assert found["fast"].repeats == 50


def test_a_search_pays_for_what_it_times() -> None:
    network = Toy()
    with Meter(20) as meter:
        found = latency(simulated(network, (1, 2, 2)), threads=1, repeats=12)
        assert meter.spent == (WARM_UP + found.repeats) / 3


@pytest.mark.parametrize(
    "name", ["darts-binary", "bats", "bars", "bnas-201", "nas-bnn", "handcrafted"]
)
def test_settled_weights_change_no_logit(name: str) -> None:
    for precision in ("W1A1", "W32A32"):
        network = build(name, {}, (3, 16, 16))
        network.precision = Precision(precision)
        x = torch.from_numpy(images((3, 16, 16)))
        with torch.inference_mode():
            expected = network(x)
            settle(network)
            for module in network.modules():
                if isinstance(module, BinaryConv2d):
                    module.weight.data.neg_()  # is not looked at any more
            assert torch.equal(network(x).nan_to_num(), expected.nan_to_num())
            assert precision != "W1A1" or expected.isfinite().all()

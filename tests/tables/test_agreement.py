"""How two precisions agree: numbers that are counted by hand, and effects that were planted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from math import comb, isnan
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import bnas_bench as bb
from bnas_bench.tables.agreement import correlation, kendall_tau, loss, overlaps, ranks, worths
from bnas_bench.tables.premise import Premise, premise
from bnas_bench.tables.row import Row
from tests.helpers.cli import fail, succeed
from tests.helpers.tables import DEFINITION, filled, order, row

HELD = 60
WORTH: Mapping[str, Mapping[str, int]] = {
    "W32A32": {"nor_conv_3x3": 20, "nor_conv_1x1": 12, "skip_connect": 6, "avg_pool_3x3": 0},
    "W1A1": {"nor_conv_3x3": 12, "nor_conv_1x1": 0, "skip_connect": 18, "avg_pool_3x3": 6},
}
"""Test images that an operation adds, beside noise; of 360."""


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """Of the first architectures, three of them without their real-valued trainings."""
    rng, found = np.random.default_rng(0), []
    for place, arch in enumerate(order()[:HELD]):
        for precision, worth in WORTH.items():
            level = 200 + sum(worth.get(op, 0) for op in arch.choices.values()) + rng.normal(0, 4)
            hits = np.round(level + rng.normal(0, 3, 3)).astype(int).tolist()
            if precision == "W1A1" or place not in (4, 9, 11):
                found.append(replace(row(arch, precision), test_hits=hits))
    return found


@pytest.fixture(scope="module")
def folder(rows: list[Row], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled(tmp_path_factory.mktemp("tables") / "t", rows).folder


@pytest.fixture(scope="module")
def found(folder: Path) -> Premise:
    return premise(bb.table(folder))


def test_tau_counts_pairs(rows: list[Row], found: Premise) -> None:
    hits: dict[str, dict[str, int]] = {"W1A1": {}, "W32A32": {}}
    for one in rows:
        hits[one.precision][one.arch] = sum(one.test_hits)
    both = [arch for arch in hits["W1A1"] if arch in hits["W32A32"]]
    signs = np.array(
        [[np.sign(of[a] - of[b]) for of in hits.values()] for a, b in combinations(both, 2)]
    )
    tau = signs.prod(1).sum() / np.sqrt((signs != 0).sum(0).prod())
    estimate = found.correlation.kendall_tau
    assert (found.architectures, found.complete) == (HELD - 3, False)
    assert estimate.value == pytest.approx(tau)
    assert estimate.lower < tau < estimate.upper
    first, second = ([of[arch] for arch in both] for of in hits.values())
    assert found.correlation.spearman.value == pytest.approx(stats.spearmanr(first, second)[0])
    assert found.correlation.pearson.value == pytest.approx(np.corrcoef(first, second)[0, 1])

    def best(of: Mapping[str, int]) -> set[str]:
        return {*sorted(both, key=lambda arch: -of[arch])[:10]}

    (overlap,) = found.best  # of 57 no 100 are half
    shared = len(best(hits["W1A1"]) & best(hits["W32A32"]))
    size = HELD - 3
    likelier = sum(comb(10, k) * comb(size - 10, 10 - k) for k in range(shared, 11))
    assert (overlap.count, overlap.both) == (10, shared / 10)
    assert overlap.chance == pytest.approx(10 / size)
    assert overlap.p_value == pytest.approx(likelier / comb(size, 10))
    assert overlap.both < overlap.seeds < 1


def test_what_was_planted_is_found(found: Premise) -> None:
    assert found.reference == "none"
    for worth in found.operations:
        for estimate, precision in ((worth.first, "W1A1"), (worth.second, "W32A32")):
            planted = WORTH[precision][worth.operation] / 3.6
            assert estimate.lower < estimate.value < estimate.upper
            assert abs(estimate.value - planted) < 1.0
    shifts = {worth.operation: worth.shift for worth in found.operations}
    assert shifts["skip_connect"].lower > 0 > shifts["nor_conv_1x1"].upper
    up, down = found.higher[0], found.lower[0]
    assert up.first_percentile - up.second_percentile > 20
    assert down.second_percentile - down.first_percentile > 20
    assert up.arch.count("skip_connect") > down.arch.count("skip_connect")


def test_no_seed_judges_what_it_chose() -> None:
    rng = np.random.default_rng(1)
    at, by = rng.normal(80, 3, (2, 40, 4))
    lost = []
    for seed in range(4):
        others = [k for k in range(4) if k != seed]
        best = max(range(40), key=lambda n: at[n, others].mean())
        taken = max(range(40), key=lambda n: by[n, others].mean())
        lost.append(at[best, seed] - at[taken, seed])
    told = loss(at, by).points
    interval = stats.ttest_1samp(lost, 0).confidence_interval()
    assert told == pytest.approx((np.mean(lost), *interval))
    # Where all architectures are equal nothing is lost, however lucky the best one's seeds were.
    means = [loss(*rng.normal(80, 3, (2, 300, 8))).points.value for _ in range(40)]
    assert abs(np.mean(means)) < 4 * np.std(means) / np.sqrt(40)
    same = loss(at, at)
    assert (same.points.value, same.kept) == (0, 1)
    level = np.linspace(0, 30, 40)[:, None]
    reverse = loss(level + np.zeros((40, 3)), -level + np.zeros((40, 3)))
    assert (reverse.points.value, reverse.kept) == (30, -1)
    assert isnan(loss(at[:, :1], by[:, :1]).points.value)


def test_noise_is_told_from_disagreement() -> None:
    """Accuracies that are equal but for their seeds: what is left of 1 is the seeds'."""
    rng = np.random.default_rng(2)
    level = rng.normal(0, 1, (500, 1))
    first, second = level + rng.normal(0, 1.5, (2, 500, 4))
    noisy = correlation(first, second)
    assert noisy.pearson.upper < 0.8
    assert noisy.corrected == pytest.approx(1, abs=0.07)
    halves = [
        kendall_tau(first[:, [*half]].mean(1), np.delete(first, half, 1).mean(1))
        for half in combinations(range(4), 2)
    ]
    assert noisy.seeds == pytest.approx(np.mean(halves), abs=0.01)
    clear = correlation(level + np.zeros((1, 2)), -level + np.zeros((1, 2)))
    assert clear.kendall_tau == pytest.approx((-1, -1, -1))
    assert clear.seeds == pytest.approx(1)
    whole = overlaps(first, first)
    assert [(one.count, one.both) for one in whole] == [(10, 1), (100, 1)]


def test_what_is_too_little_says_nothing() -> None:
    constant = np.full((5, 2), 80.0)
    assert isnan(correlation(constant, constant).kendall_tau.value)
    assert worths(np.ones((3, 2)), ["a", "b"], constant[:3], constant[:3]) == []
    assert ranks(np.array([3.0, 1.0, 3.0])).tolist() == [75, 0, 75]


def test_the_command(folder: Path, found: Premise, tmp_path: Path) -> None:
    said = succeed("agreement", folder, "-o", tmp_path / "out")
    tau = found.correlation.kendall_tau
    assert f"Kendall's tau {tau.value:.2f} [{tau.lower:.2f}, {tau.upper:.2f}]" in said
    files = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    wanted = {
        f"{name}.{end}" for name in ("accuracies", "operations") for end in ("svg", "png", "pdf")
    }
    assert {*files} == {"agreement.json", *wanted}
    told = json.loads(files["agreement.json"])
    assert told["correlation"]["kendall_tau"] == pytest.approx(tau)
    assert told["best"][0]["both"] == found.best[0].both
    assert b"a random sample of 57" in files["accuracies.svg"]
    succeed("agreement", folder, "-o", tmp_path / "again")
    assert files == {path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()}


def test_what_cannot_be_compared(tmp_path: Path, folder: Path) -> None:
    assert "W1A1 is compared with itself" in fail("agreement", folder, "--other", "W1A1")
    assert "unknown precision" in fail("agreement", folder, "--other", "W1A32")
    two = [row(arch, precision) for arch in order()[:2] for precision in WORTH]
    small = filled(tmp_path / "small", two, DEFINITION).folder
    assert "2 architecture(s) at both" in fail("agreement", small)

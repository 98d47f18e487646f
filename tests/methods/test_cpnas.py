"""CP-NAS against plain readings of its equations and of Algorithm 1."""

import numpy as np
import pytest
import torch
from bnas_bench.methods.cpnas import CPNAS, compactness, evaluation, filter_error, indicator
from bnas_bench.spaces.darts_binary import DartsBinary

from bnas_bench.core.budget import NetworkSpec
from bnas_bench.core.errors import BudgetExceeded
from bnas_bench.search.meter import Meter


def test_eq_1() -> None:
    assert indicator(0.6, 0.8, 2.0) == pytest.approx(1.0)
    assert indicator(0.6, 0.8, 0.0) == 0.6  # the BNAS-dagger row
    assert indicator(0.6, 0.8, 1.0) == pytest.approx(0.8)


def test_eq_2() -> None:
    z = [[0.1, 0.3], [0.5, 0.5], [0.0, 0.1]]
    means = np.array([0.2, 0.5, 0.05])
    np.testing.assert_allclose(evaluation(z), np.exp(means) / np.exp(means).sum())


def test_eq_3_first_term() -> None:
    """Of the sampled Child's filters alone: those of its stand-alone network."""
    space = DartsBinary()
    space.name = "darts-binary"
    rng, spec = np.random.default_rng(0), NetworkSpec((1, 8, 8), 3, 4, 2)
    supernet, arch = space.supernet(spec, rng), space.sample(rng)
    path = [d.options.index(arch.choices[d.name]) for d in space.decisions]
    child = space.network(arch, spec, rng)
    supernet.bequeath(child)
    weights = child.state_dict()
    expected = 0.0
    for name, w in weights.items():
        beta = weights.get(name.replace("weight", "beta"))
        if w.dim() == 4 and beta is not None:
            w, beta = w.numpy(), np.abs(beta.numpy())
            for c in range(len(w)):
                expected += ((w[c] - beta[c] * np.where(w[c] >= 0, 1, -1)) ** 2).mean()
    assert expected > 0
    assert filter_error(supernet.filters(path), "filter").item() == pytest.approx(
        expected, rel=1e-5
    )


def test_eq_3_second_term() -> None:
    rng = np.random.default_rng(1)
    child, parent = rng.normal(size=(2, 5, 2, 3, 3))
    labels = np.array([0, 1, 0, 2, 1])
    expected = 0.0
    for s in range(5):
        mean = np.mean([parent[t] for t in range(5) if labels[t] == labels[s]], axis=0)
        expected += 0.5 * ((child[s] - mean) ** 2).mean() / 5
    got = compactness(*map(torch.from_numpy, (child, parent, labels)))
    assert got.item() == pytest.approx(expected)


def test_sampling_is_without_replacement() -> None:
    rng = np.random.default_rng(0)
    alive = [[0, 2, 3], [1, 4, 7]]
    paths = CPNAS.draw(alive, 2, rng)
    assert len(paths) == 6
    for t in (0, 1):
        for edge in (0, 1):
            assert sorted(path[edge] for path in paths[3 * t : 3 * t + 3]) == alive[edge]


def test_the_worst_operation_is_dropped_and_survivors_rank_first() -> None:
    search = {
        "alive": [[0, 1, 2], [0, 2]],
        "z": [[[0.5], [0.1], [0.4]], [[0.9], [], [0.2]]],
        "strengths": [[0.0] * 3, [0.0, -2.5, 0.0]],
    }
    CPNAS.reduce(search)
    assert search["alive"] == [[0, 2], [0, 2]]  # only where most operations are left
    first = search["strengths"][0]
    assert first[1] < 0 < first[2] < first[0]
    assert all(values == [] for z in search["z"] for values in z)
    search["z"] = [[[0.1], [], [0.3]], [[0.9], [], [0.2]]]
    CPNAS.reduce(search)
    assert search["alive"] == [[2], [0]]
    assert search["strengths"][0][1] < search["strengths"][0][0] < 0 < search["strengths"][0][2]


class FakeTask:
    def __init__(self, train: int, valid: int, batch_size: int) -> None:
        self.train, self.valid, self.batch_size = range(train), range(valid), batch_size


def test_at_the_papers_budget_a_sampling_is_an_epoch() -> None:
    """(8 + 7 + ... + 2) * 3 = 105 samplings of 48 batches of 512, Child and Parent."""
    task = FakeTask(25_000, 2_500, 512)
    assert CPNAS().plan(8, task, Meter(None)) == ([48] * 105, 3)
    passes = 105 * (2 * 48 * 512 + 2 * 2_500 / 3)
    assert CPNAS().plan(8, task, Meter(int(passes) + 1)) == ([48] * 105, 3)
    steps, repeats = CPNAS().plan(8, task, Meter(int(passes / 3) + 1))
    assert (set(steps), steps == sorted(steps), repeats) == ({14, 15}, True, 3)
    left = passes / 3 + 1 - sum(2 * 512 * n + 2 * 2_500 / 3 for n in steps)
    assert 0 <= left < 2 * 512  # nothing is left that one more batch could use


def test_a_small_budget_shrinks_t_and_a_tiny_one_is_refused() -> None:
    task = FakeTask(500, 30, 64)
    assert CPNAS().plan(8, task, Meter(35 * 2 * (128 + 20))) == ([1] * 70, 2)
    with pytest.raises(BudgetExceeded, match="cpnas needs 5180 passes"):
        CPNAS().plan(8, task, Meter(5179))


def test_t_grows_where_a_pair_would_train_for_more_than_an_epoch() -> None:
    """An epoch has 7 batches of 64, and a pair takes 2 * 7 * 64 passes and 20 to validate."""
    task = FakeTask(500, 30, 64)
    assert CPNAS().plan(8, task, Meter(35 * 6 * (896 + 20))) == ([7] * 210, 6)
    steps, repeats = CPNAS().plan(8, task, Meter(35 * 11 * (896 + 20) // 2))
    assert (set(steps), repeats) == ({6, 7}, 6)


def test_a_space_of_one_architecture_is_searched_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from bnas_bench.plugins.checks.rehearsal import Rehearsal
    from bnas_bench.plugins.registry import find

    space = find("space", "handcrafted").make({"models": ("birealnet18",)})
    rehearsal = Rehearsal(find("method", "cpnas"), find("space", "handcrafted"))
    monkeypatch.setattr(Rehearsal, "space", space)
    assert rehearsal.outcome.result.best == space.smallest()

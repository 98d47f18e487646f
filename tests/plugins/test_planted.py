"""What is planted is best, the spaces keep their contract, and a search that does not search fails."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from bnas_bench.core.architecture import Architecture
from bnas_bench.core.seeds import generator
from bnas_bench.plugins.checks import CheckResult, cases, networks, planted
from bnas_bench.plugins.checks.contract import ContractBroken
from bnas_bench.plugins.checks.networks import NETWORK_CHECKS
from bnas_bench.plugins.checks.planted import (
    Trials,
    Within,
    asks,
    check_planted,
    drawn,
    found_by_random,
    planted_trials,
    told,
)
from bnas_bench.plugins.checks.planted_ideas import (
    BY_SCORES,
    COVERS,
    GENERAL,
    LIMITED,
    OF_TASKS,
    REASONS,
    left_out,
)
from bnas_bench.plugins.checks.planted_scores import ByConstruction
from bnas_bench.plugins.checks.planted_tasks import CLASSES, IMAGES, TASKS, Channel
from bnas_bench.plugins.checks.spaces import SPACE_CHECKS
from bnas_bench.plugins.registry import find
from bnas_bench.search.learning import ByAdam, accuracy, train_briefly
from bnas_bench.search.meter import Meter
from bnas_bench.search.relaxed import Relaxed
from bnas_bench.search.scores import scored_by_training

RATE, EPOCHS = 0.01, 20


@pytest.mark.parametrize("name", TASKS)
def test_every_right_decision_raises_the_accuracy(name: str) -> None:
    """Whatever the others are; where costs are limited more kernels are right, and only one is cheap."""
    planted = TASKS[name]
    rng = generator(0, "right decisions")
    for _ in range(20):
        arch = planted.space.sample(rng)
        for decision, right in planted.space.best.choices.items():
            better = Architecture(arch.space, {**arch.choices, decision: right})
            for wrong in planted.space.options:
                if wrong == right or (name in LIMITED and wrong == "5x5"):
                    continue
                worse = Architecture(arch.space, {**arch.choices, decision: wrong})
                assert planted.accuracy_of(better) > planted.accuracy_of(worse)


def test_accuracies_are_those_by_hand() -> None:
    """Three classes; each of seven channels shows the class with probability 0.3, and else nothing."""
    planted = TASKS["destroys"]
    assert planted.accuracy_of(planted.space.best) == pytest.approx(1 - 0.7**7 * 2 / 3)
    assert planted.accuracy_of(planted.space.smallest()) == pytest.approx(1 - 0.7 * 2 / 3)
    child = TASKS["child"]
    magnitudes = child.space.everywhere("magnitudes")
    assert child.accuracy_of(magnitudes) == pytest.approx(1 - 0.7 * 2 / 3)
    assert child.accuracy_of(magnitudes, real=True) == pytest.approx(1 - 0.7 * 0.4**6 * 2 / 3)


@pytest.mark.parametrize("name", TASKS)
def test_no_option_is_right_by_its_place(name: str) -> None:
    """Neither the same index everywhere nor the same dilation beats a draw by much."""
    space = TASKS[name].space
    options = len(space.options)
    places = np.bincount(space.path(space.best), minlength=options)
    assert places.max() <= -(-len(space.decisions) // options)
    assert {space.share(space.everywhere(option)) for option in space.options} <= (
        {1 / 3} if name == "reach" else {0.0, 1.0}
    )


@pytest.mark.parametrize("name", LIMITED)
def test_one_kernel_everywhere_meets_the_limit(name: str) -> None:
    """Of the architectures that see every decision's channel, counted over all of the space."""
    planted = TASKS[name]
    seeing = [
        planted.space.of(choice)
        for choice in product(("3x3", "5x5"), repeat=len(planted.space.decisions))
    ]
    cheap = [arch for arch in seeing if planted.ops(arch) <= planted.limit]
    assert cheap == [planted.space.best]


def pairs_of(signs_NHW: np.ndarray, step: int) -> tuple[float, float]:
    """The mean product of pixels so far apart in a row, and in a column."""
    across = signs_NHW[:, :, :-step] * signs_NHW[:, :, step:]
    down = signs_NHW[:, :-step] * signs_NHW[:, step:]
    return across.mean(), down.mean()


@pytest.mark.parametrize("distance", [3, 4, 5])
def test_other_dilations_see_signs_drawn_one_by_one(distance: int) -> None:
    """A kernel of 3 sees pixels `dilation` and twice that apart; none of their pairs is tied."""
    for label, (along, down) in enumerate(CLASSES):
        labels = np.full(4_000, label)
        channel = Channel(shown=1.0, distance=distance)
        signs = channel.draw(labels, 12, generator(label, "pairs")) / 127.5 - 1
        assert pairs_of(signs, distance) == pytest.approx((along, down))
        for dilation in {3, 4, 5} - {distance}:
            seen = (*pairs_of(signs, dilation), *pairs_of(signs, 2 * dilation))
            assert seen == pytest.approx((0, 0, 0, 0), abs=0.03)


def test_sign_loses_magnitudes() -> None:
    channel = Channel(shown=1.0, magnitude=True)
    pixels = channel.draw(np.arange(30) % 3, 8, generator(0, "magnitudes"))
    assert pixels.min() > 127.5
    assert len(np.unique(pixels)) == 2


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("what", ["best", "half", "nothing"])
@pytest.mark.sample(2)
def test_networks_reach_the_accuracy_that_construction_says(name: str, what: str) -> None:
    """Trained from scratch in as many steps, the mean of three seeds."""
    planted = TASKS[name]
    space = planted.space
    wrong = "magnitudes" if name == "child" else list(space.options)[-1]
    parts = len(space.planted)
    right = {"best": parts, "half": parts // 2, "nothing": 0}[what]
    arch = space.of([*space.planted[:right], *[wrong] * (parts - right)])
    found = []
    for seed in range(3):
        task, rng = planted.task(seed), generator(seed, "from scratch")
        network = space.network(arch, task.spec, rng)
        train_briefly(network, task, rng, ByAdam(lr=RATE), EPOCHS * IMAGES // planted.images)
        found.append(accuracy(network, task.valid, len(task.valid)))
    assert np.mean(found) == pytest.approx(planted.accuracy_of(arch), abs=0.07)


@pytest.mark.parametrize("name", TASKS)
def test_planted_spaces_keep_the_contract(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks of networks on the task's own images, whose channels the options name."""
    planted = TASKS[name]
    spec = planted.spec
    monkeypatch.setattr(networks, "frame", lambda *_: spec)
    monkeypatch.setattr(networks, "FRAMES", [spec.shape])
    monkeypatch.setattr(networks, "CLASSES", spec.classes)
    for check in (*SPACE_CHECKS, *NETWORK_CHECKS):
        check(planted.space)


def test_seeds_have_images_of_their_own() -> None:
    first, again, other = (TASKS["child"].task(seed) for seed in (0, 0, 1))
    assert first.train.digest() == again.train.digest() != other.train.digest()
    assert first.train.digest() != first.valid.digest()


COMPUTED = [name for name, task in TASKS.items() if task.half]
"""Tasks whose scores are computed: ten searches take less than a second."""


def scorer(name: str, seed: int) -> ByConstruction:
    planted = TASKS[name]
    assert planted.half is not None
    return ByConstruction(planted, planted.half, seed, Meter(None))


def test_a_training_takes_as_large_a_part_where_ten_times_the_images_train() -> None:
    """Both budgets hold nine of them; as many images validate."""
    cost, afford = TASKS["cost"], TASKS["afford"]
    tasks = [planted.task(0) for planted in (cost, afford)]
    assert [len(task.train) for task in tasks] == [IMAGES, 10 * IMAGES]
    assert [len(task.valid) for task in tasks] == [IMAGES] * 2
    passes = [scored_by_training(task, TASKS["cost"].space, 0).passes_of(4) for task in tasks]
    assert passes == pytest.approx([4 * 256 + 256 / 3, 4 * 2560 + 256 / 3])
    assert [
        planted.passes // each for planted, each in zip((cost, afford), passes, strict=True)
    ] == [9, 9]


def test_computed_scores_are_those_by_hand() -> None:
    """Three epochs learn half of what is above chance; 256 images say it with their own luck."""
    best = TASKS["halve"].space.best
    found = [scorer("halve", seed)(best, 3) for seed in range(100)]
    assert np.mean(found) == pytest.approx((1 / 3 + 1 - 0.7**13 * 2 / 3) / 2, abs=0.01)
    assert np.std(found) == pytest.approx(np.sqrt(2 / 3 * 1 / 3 / IMAGES), rel=0.25)
    assert scorer("halve", 0)(best, 27) == pytest.approx(1 - 0.7**13 * 2 / 3, abs=0.02)


def test_a_longer_training_is_as_lucky() -> None:
    """A score never falls with the epochs and is the same when asked again; other trials have others."""
    space = TASKS["few"].space
    for arch in (space.best, space.smallest()):
        scores = [scorer("few", 0)(arch, epochs) for epochs in range(1, 9)]
        assert scores == sorted(scores) == [scorer("few", 0)(arch, e) for e in range(1, 9)]
    assert len({scorer("few", seed)(space.best, 1) for seed in range(5)}) > 1


def test_computed_scores_cost_what_the_training_would_have() -> None:
    planted = TASKS["few"]
    trained = scored_by_training(planted.task(0), planted.space, 0)
    with Meter(2_000) as meter:
        computed = replace(scorer("few", 0), meter=meter)
        computed(planted.space.best, 4)
    assert meter.spent == pytest.approx(trained.passes_of(4))
    assert computed.passes(4) == trained.passes_of(4)


def noisy_slopes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What alpha descends is noise of the gradient's size."""
    step, rng = Relaxed.step_alpha, generator(0, "noise")

    def step_alpha(self: Relaxed, slope: torch.Tensor) -> None:
        noise = torch.from_numpy(rng.standard_normal(len(slope))).to(slope.dtype)
        step(self, noise * slope.norm() / noise.norm())

    monkeypatch.setattr(Relaxed, "step_alpha", step_alpha)


def noisy_accuracies(module: str) -> Callable[[pytest.MonkeyPatch], None]:
    """The accuracies by which a module ranks architectures are noise."""

    def put(monkeypatch: pytest.MonkeyPatch) -> None:
        rng = generator(0, "noise")
        monkeypatch.setattr(f"{module}.accuracy", lambda *_: float(rng.random()))

    return put


def noisy_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is answered to who asks for scores is noise; the passes are charged."""
    rng = generator(0, "noise")
    answer = ByConstruction.__call__

    def noise(self: ByConstruction, arch: Architecture, epochs: int) -> float:
        answer(self, arch, epochs)
        return float(rng.random())

    monkeypatch.setattr(ByConstruction, "__call__", noise)


ASKING = {"few": "predictor", "climb": "evolution", "halve": "hyperband"}


@pytest.mark.parametrize("task", COMPUTED)
@pytest.mark.parametrize("noise", [False, True])
def test_a_search_that_asks_for_scores_passes_and_on_noise_does_not(
    task: str, noise: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both against random search that has the true scores."""
    trials = Trials(find("method", ASKING[task]), task)
    found_by_random(task)
    if noise:
        noisy_scores(monkeypatch)
        with pytest.raises(ContractBroken, match="and random search at the same budget"):
            check_planted(trials)
    else:
        check_planted(trials)


@pytest.mark.parametrize("noise", [False, True])
def test_random_search_is_held_against_draws(noise: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    trials = Trials(find("method", "random"), "climb")
    if noise:
        noisy_scores(monkeypatch)
        with pytest.raises(ContractBroken, match="and draws 25%"):
            check_planted(trials)
    else:
        check_planted(trials)


def put_random_search(monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    """What random search found, as ten searches of each task would take minutes (docs/planted.md)."""
    monkeypatch.setattr(planted, "found_by_random", lambda _: [share] * 5 + [share - 1 / 6] * 5)


@pytest.mark.slow
def test_a_search_by_slopes_finds_what_is_planted(monkeypatch: pytest.MonkeyPatch) -> None:
    """In three searches, against more than random search finds."""
    put_random_search(monkeypatch, 5 / 6)
    check_planted(Trials(find("method", "darts"), "child", range(3)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "task", "noisy"),
    [
        ("darts", "destroys", noisy_slopes),
        ("pcdarts", "reach", noisy_slopes),
        ("evolution", "longer", noisy_accuracies("bnas_bench.methods.evolution")),
        ("cpnas", "longer", noisy_accuracies("bnas_bench.methods.cpnas")),
        ("nasbnn", "afford", noisy_accuracies("bnas_bench.search.front")),
    ],
)
def test_no_search_passes_on_noise(
    method: str,
    task: str,
    noisy: Callable[[pytest.MonkeyPatch], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In three searches, against less than random search finds; more passes say no more by noise."""
    short = replace(TASKS[task], passes=10_000, images=IMAGES)
    monkeypatch.setitem(TASKS, task, short)  # type: ignore[misc]
    noisy(monkeypatch)
    put_random_search(monkeypatch, 1 / 2)
    with pytest.raises(ContractBroken):
        check_planted(Trials(find("method", method), task, range(3)))


PAGE = Path(__file__).parents[2] / "docs" / "planted.md"


def test_the_page_knows_every_method_and_task() -> None:
    """A method of the reader's own may be missing there."""
    lines = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("|")]
    cells = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines]
    page = {name: dict(zip(cells[0][1:], row, strict=True)) for name, *row in cells[2:]}
    for method in page.keys() - {"draws", "passes"}:
        asked = [task for task in TASKS if left_out(method, task) is None]
        assert [task for task in TASKS if "p = " in page[method][task]] == asked, "make planted"
    golden = Path(__file__).parents[1] / "golden"
    assert {file.stem for file in golden.glob("*.json")} <= page.keys()


def test_a_constant_answer_is_a_draw() -> None:
    """Every option everywhere, on the task that each option is right in a part of."""
    trials = Trials(find("method", "random"), "reach")
    space = trials.planted.space
    for option in space.options:
        found = replace(trials)
        found.__dict__["shares"] = [space.share(space.everywhere(option))] * 10
        with pytest.raises(ContractBroken):
            check_planted(found)


def test_the_limit_is_told_to_methods_that_know_costs() -> None:
    cost, child = TASKS["cost"], TASKS["child"]
    best, largest = (cost.ops(a) for a in (cost.space.best, cost.space.largest()))
    assert told("bars", cost) == {"target": best / largest}
    assert told("bars", child) == {"target": 1.0}
    assert told("nasbnn", child) == told("darts", cost) == {}
    assert best < 1e6 * told("nasbnn", cost)["high"] < best + 1
    assert np.mean(drawn("cost")) > np.mean(drawn("child"))  # the dear ones are not among them


def test_random_search_is_told_the_limit() -> None:
    """By the draws of its space: on `cost` all of them are allowed."""
    planted, rng = TASKS["cost"], generator(0, "allowed")
    drawn_by_all = [planted.space.sample(rng) for _ in range(50)]
    allowed = [Within(planted).sample(rng) for _ in range(50)]
    assert max(map(planted.ops, allowed)) <= planted.limit < max(map(planted.ops, drawn_by_all))


def test_every_task_and_reason_is_named_once() -> None:
    """What is covered has no reason against it, and what is not has one."""
    tasks = set(TASKS)
    assert {task for covered in COVERS.values() for task in covered} == tasks
    for method, reasons in REASONS.items():
        assert not reasons.keys() & set(COVERS[method])
        assert reasons.keys() <= tasks
    assert OF_TASKS.keys() | set(GENERAL) == tasks
    for method, covered in COVERS.items():
        assert set(GENERAL) <= {*covered, *REASONS.get(method, {})}, method


def test_every_method_is_known() -> None:
    golden = Path(__file__).parents[1] / "golden"
    assert {file.stem for file in golden.glob("*.json")} == COVERS.keys()


def test_an_unknown_method_is_held_to_the_general_tasks(tmp_path: Path) -> None:
    """One that asks for scores to those that answer many."""
    for known, held in (("darts", GENERAL), ("predictor", BY_SCORES)):
        file = tmp_path / f"mine_{known}.py"
        file.write_text(Path(find("method", known).file).read_text("utf-8"), "utf-8")
        mine = find("method", str(file))
        assert asks(mine) == (known == "predictor")
        covered = [trials.name for trials in planted_trials(mine) if trials.left_out is None]
        assert covered == list(held)


def test_the_battery_has_a_planted_case_for_each_task() -> None:
    found = [case for case in cases(find("method", "bars")) if "planted" in case.name]
    assert [case.name for case in found] == [f"check_planted[{task}]" for task in TASKS]
    asked = [case.name for case in found if case.not_asked is None]
    assert asked == [f"check_planted[{task}]" for task in ("destroys", "reach", "cost", "child")]
    few = next(case for case in found if case.name == "check_planted[few]")
    assert few.run() == CheckResult(few.name, True, OF_TASKS["few"], asked=False)
    assert [c for c in cases(find("method", "darts"), []) if "planted" in c.name] == []

"""The detector, its costs, and its training: on a few scenes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler

from bnas_bench.core.budget import Scale
from bnas_bench.core.budgets import BUDGETS
from bnas_bench.core.errors import BadValue, MissingData, UnknownName
from bnas_bench.cost import ledger
from bnas_bench.nn.binary import BinaryConv2d, Precision
from bnas_bench.nn.network import Network, run_at
from bnas_bench.plugins import making
from bnas_bench.runs import transferring
from bnas_bench.runs.backbones import of_architecture
from bnas_bench.runs.transferring import Transfer, transfer
from bnas_bench.search.checkpoint import Checkpoint
from bnas_bench.transfer.detection import by_coco
from bnas_bench.transfer.detection.average_precision import by_voc
from bnas_bench.transfer.detection.batches import of_epoch, side_by_side, teaches, teaching
from bnas_bench.transfer.detection.folders import coco, voc
from bnas_bench.transfer.detection.frames import Frame
from bnas_bench.transfer.detection.model import Counted, Detector, Sampler
from bnas_bench.transfer.detection.objects import DetectionData, Objects
from bnas_bench.transfer.detection.scenes import Drawn, scenes
from bnas_bench.transfer.detection.task import SMALL, Detection, Recipe, by_chance, detector
from bnas_bench.transfer.tasks import task

CPU = torch.device("cpu")
SHORT = replace(SMALL, epochs=3, batch_size=8)
SPACES = ("darts-binary", "bats", "bars", "nas-bnn", "bnas-201", "handcrafted")


def first(pictures: Any, count: int) -> Drawn:
    return Drawn(pictures.pixels[:count], pictures.objects[:count])


@pytest.fixture(scope="module")
def few() -> DetectionData:
    whole = scenes()
    return replace(whole, train=first(whole.train, 24), test=first(whole.test, 20))


def backbone(space: str = "bnas-201", side: int = 8, channels: int = 1) -> Network:
    made, rng = making.space(space), np.random.default_rng(0)
    spec = made.spec(made.fit(Scale(cells=4, channels=4)), (channels, side, side), 10, final=True)
    return made.network(made.sample(rng), spec, rng)


def on_a_few(few: DetectionData, recipe: Recipe = SHORT) -> Detector:
    return Detection(few, recipe, CPU).model(backbone(), np.random.default_rng(1))


@pytest.mark.parametrize("space", SPACES)
def test_any_space_s_network_is_a_backbone(space: str, few: DetectionData) -> None:
    made = Detection(few, SHORT, CPU)
    model = made.model(backbone(space), np.random.default_rng(1))
    batch = next(made.batches(np.random.default_rng(0)))
    made.loss(model.train(), batch).backward()
    silent = [
        name
        for name, weight in model.named_parameters()
        if weight.grad is None and not name.startswith("backbone.head")
    ]
    assert not silent
    found = made.found(model)
    assert len(found) == len(few.test)
    assert all((one.labels >= 0).all() and (one.labels < 10).all() for one in found)


def test_large_images_give_strides_from_4_to_32() -> None:
    shape = (3, 128, 192)
    for space, strides in (("handcrafted", 4), ("bnas-201", 3)):
        frame = Frame(channels=3, side=128, longest=192, width=16)
        made = detector(backbone(space, 224, 3), frame, 20, SHORT, np.random.default_rng(0))
        model = made.eval()
        maps = model.maps(torch.randn(1, *shape))
        sides = [tuple(one.shape[2:]) for one in maps.values()]
        assert sides[0] == (128 // 4, 192 // 4)
        assert len(sides) == strides + 1
        sizes = model.rpn.anchor_generator.sizes
        for (size,), (height, _) in zip(sizes, sides, strict=True):
            assert size == 8 * 128 // height


class Stages(nn.Module):
    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, x_BCHW: Tensor) -> list[Tensor]:
        return self.network.stages(x_BCHW)


@pytest.mark.parametrize("heads", ["maps", "real", "all"])
def test_costs_by_hand(heads: str, few: DetectionData) -> None:
    """Maps of 24x24 and 12x12 pixels, 8 and 16 channels wide, and one level of 6x6 behind the neck."""
    made = Detection(few, replace(SHORT, heads=heads), CPU)
    network = backbone()
    model = made.model(network, np.random.default_rng(1))
    shapes = [
        tuple(maps.shape[1:]) for maps in network.stages(torch.zeros(1, *few.frame.shape))[1:]
    ]
    assert shapes == [(8, 24, 24), (16, 12, 12)]
    w, hidden, pixels = few.frame.width, 4 * few.frame.width, 24 * 24 + 12 * 12
    lateral = 9 * w * (8 * 24 * 24 + 16 * 12 * 12)
    maps = 9 * w * w * pixels + 9 * w * w * (pixels + 6 * 6)
    predicted = (pixels + 6 * 6) * w * 15 + made.recipe.proposals * hidden * 11 * 5
    boxes = made.recipe.proposals * (49 * w * hidden + hidden * hidden)
    binary = lateral + (heads != "real") * maps + (heads == "all") * boxes
    real = predicted + (heads == "real") * maps + (heads != "all") * boxes
    for precision in ("W1A1", "W32A32"):
        run_at(model, Precision(precision))
        alone = ledger(Stages(network), few.frame.shape).macs
        whole = made.ledger(model).macs
        if precision == "W1A1":
            assert whole["W1A1"] - alone["W1A1"] == binary
            assert whole["W32A32"] - alone["W32A32"] == real
        else:
            assert {*whole} == {"W32A32"}
            assert whole["W32A32"] - alone["W32A32"] == binary + real


def test_what_is_counted_is_what_runs(few: DetectionData) -> None:
    """The maps and the box head's input of `Counted` are those of a forward pass."""
    model = on_a_few(few).eval()
    shapes: dict[str, list[tuple[int, ...]]] = {}
    for name in ("rpn.head.cls_logits", "roi.box_head"):
        module = model.get_submodule(name)
        module.register_forward_hook(
            lambda _, given, __, name=name: shapes.setdefault(name, []).append(given[0].shape[1:])
        )
    x = torch.randn(1, *few.frame.shape)
    model(x, [few.frame.shape[1:]])
    ran, shapes = shapes, {}
    Counted(model)(x)
    assert shapes == ran


def test_all_1_bit_layers_take_the_precision(few: DetectionData) -> None:
    model = on_a_few(few, replace(SHORT, heads="all"))
    run_at(model, Precision.W1A1)
    behind = (*model.neck.modules(), *model.rpn.modules(), *model.roi.modules())
    layers = [m for m in behind if isinstance(m, BinaryConv2d)]
    assert len(layers) == 2 + 2 + 1 + 2
    assert {m.precision for m in layers} == {Precision.W1A1}
    run_at(model, Precision.W32A32)
    assert {m.precision for m in layers} == {Precision.W32A32}
    with pytest.raises(BadValue, match="heads is 'none'"):
        replace(SHORT, heads="none")


def test_as_many_teach_as_torchvision_has() -> None:
    rng = np.random.default_rng(0)
    matched = [torch.from_numpy(rng.integers(-1, high, 200)) for high in (1, 2, 40)]
    drawn = Sampler(64, 0.25, np.random.default_rng(1))(matched)
    theirs = BalancedPositiveNegativeSampler(64, 0.25)(matched)
    for mine, other in zip(drawn, theirs, strict=True):
        assert [int(m.sum()) for m in mine] == [int(o.sum()) for o in other]
    for on, beside, one in zip(*drawn, matched, strict=True):
        assert (one[on.bool()] >= 1).all()
        assert (one[beside.bool()] == 0).all()
    again = Sampler(64, 0.25, np.random.default_rng(1))(matched)
    assert all(torch.equal(a, b) for a, b in zip(drawn[1], again[1], strict=True))


def test_boxes_follow_their_picture(few: DetectionData) -> None:
    """A bright box stays where its numbers say: enlarged, padded and mirrored."""
    dark = torch.zeros(1, 30, 60, dtype=torch.uint8)
    dark[:, 5:15, 10:30] = 255
    objects = Objects.of([(10, 5, 30, 15)], [3])
    hard = Objects.of([(10, 5, 30, 15), (0, 0, 9, 9)], [3, 4], difficult=[False, True])
    data = replace(few, train=Drawn(dark[None].repeat(4, 1, 1, 1), [hard] * 4), flips=True)
    data = replace(data, frame=replace(few.frame, side=60, longest=240, multiple=32))
    lefts = set()
    for seed in range(8):
        for batch in of_epoch(data, np.arange(4), 2, np.random.default_rng(seed), CPU):
            assert batch.x_BCHW.shape == (2, 1, 64, 128)
            assert batch.sizes == [(60, 120)] * 2
            for x_CHW, target in zip(batch.x_BCHW, batch.targets, strict=True):
                assert target["labels"].tolist() == [4]
                ((x1, y1, x2, y2),) = target["boxes"].int().tolist()
                inside = x_CHW[0, y1:y2, x1:x2]
                assert float(inside[2:-2, 2:-2].min()) > 0.9
                assert float(x_CHW[0, :60, :120].sum() - inside.sum()) < -0.9 * (7200 - 800)
                lefts.add(x1)
    assert lefts == {20, 60}
    assert teaching(Drawn(dark[None], [Objects.of([], [])])).tolist() == []
    wide = side_by_side([torch.zeros(1, 30, 300, dtype=torch.uint8)], data, CPU)
    assert wide.sizes == [(24, 240)]
    assert len(objects) == 1


def test_what_is_found_is_said_in_the_picture_s_own_pixels(few: DetectionData) -> None:
    """Twice as high and wide for the detector, which counts classes from 1."""
    dark = torch.zeros(2, 1, 30, 60, dtype=torch.uint8)
    there = Objects.of([(10, 5, 30, 15)], [3])
    data = replace(
        few, frame=replace(few.frame, side=60, longest=240), test=Drawn(dark, [there] * 2)
    )

    class Knowing(nn.Module):
        def forward(self, x_BCHW: Tensor, sizes: list[tuple[int, int]]) -> Any:
            assert sizes == [(60, 120)] * len(x_BCHW)
            said = {"boxes": torch.tensor([[20.0, 10, 60, 30]]), "labels": torch.tensor([4])}
            return [said | {"scores": torch.tensor([0.9])}] * len(x_BCHW), {}

    found = Detection(data, SHORT, CPU).found(Knowing())  # type: ignore[arg-type]
    assert [one.boxes.tolist() for one in found] == [[[10, 5, 30, 15]]] * 2
    assert [one.labels.tolist() for one in found] == [[3]] * 2
    assert by_voc(found, data.test.objects, 10)["area"] == 100


def test_the_rate_rises_then_drops_twice(few: DetectionData) -> None:
    made = Detection(few, replace(SHORT, epochs=12), CPU)
    rates = [made.rate(progress) for progress in (0, 0.05, 0.74, 0.76, 0.9, 0.92)]
    assert rates == pytest.approx([0.002, 0.02, 0.02, 0.002, 0.002, 0.0002])


def test_a_task_s_text_says_options_of_its_recipe() -> None:
    found = task("scenes[heads=all,lr=0.01]", Path("nowhere"), CPU, BUDGETS["quick"])
    assert (found.recipe.heads, found.recipe.lr) == ("all", 0.01)
    assert (found.recipe.epochs, found.recipe.batch_size) == (12, 16)
    smaller = replace(BUDGETS["quick"], train_batch=4)
    assert task("scenes", Path("nowhere"), CPU, smaller).recipe.batch_size == 4
    for text, error in (
        ("scenes[heads=none]", BadValue),
        ("scenes[head=all]", UnknownName),
        ("scene", UnknownName),
    ):
        with pytest.raises(error):
            task(text, Path("nowhere"), CPU, BUDGETS["quick"])


def asked(few: DetectionData, folder: Path, recipe: Recipe = SHORT) -> Transfer:
    space = making.space("bnas-201")
    made = of_architecture(space, space.sample(np.random.default_rng(0)), Scale(5, 4))
    return Transfer(backbone=made, task=Detection(few, recipe, CPU), folder=folder)


def lasting(record: dict[str, Any]) -> dict[str, Any]:
    """Without what another run of the same has otherwise."""
    gone = ("seconds", "train_seconds", "when", "log", "load")
    losses = [entry["loss"] for entry in record["log"]]
    return {name: value for name, value in record.items() if name not in gone} | {"losses": losses}


def test_a_killed_detector_goes_on_as_if_it_were_not(
    few: DetectionData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = asked(few, tmp_path)
    whole = transfer(wanted)
    assert {*wanted.task.titles} <= {*whole["test"]}
    assert whole["recipe"]["heads"] == "maps"
    wanted.file.rename(wanted.file.with_name("kept"))
    monkeypatch.setattr(transferring, "Checkpoint", partial(Checkpoint, share=1e9))

    def killed(done: float) -> None:
        if done > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        transfer(wanted, tell=killed)
    told: list[float] = []
    assert lasting(transfer(wanted, tell=told.append)) == lasting(whole)
    assert told == [1.0]


@pytest.mark.parametrize("name", ["voc", "coco"])
def test_photographs_are_carried_too(
    name: str, voc_folder: Path, coco_folder: Path, tmp_path: Path
) -> None:
    whole = voc(voc_folder) if name == "voc" else coco(coco_folder)
    small = replace(whole, frame=replace(whole.frame, side=48, longest=64, width=8))
    wanted = asked(small, tmp_path, replace(SHORT, epochs=1, batch_size=2))
    found = transfer(wanted)
    assert found["shape"] == [3, 48, 64]
    assert {*wanted.task.titles} <= {*found["test"]}
    assert ("map_area" in found["test"]) == (name == "voc")
    assert found["test"]["pictures"] == 2


def test_an_epoch_loses_no_more_than_the_one_before(few: DetectionData, tmp_path: Path) -> None:
    log = transfer(asked(few, tmp_path, replace(SHORT, epochs=5)))["log"]
    assert log[-1]["loss"] < 0.8 * log[0]["loss"]


def test_labels_by_chance_are_right_now_and_then(few: DetectionData) -> None:
    """Of two pictures with one object of one class each: both right or both wrong."""
    alike = [Objects.of([(0, 0, 9, 9)], [label]) for label in (0, 1)]
    mean, bound = by_chance(alike, 2, np.random.default_rng(0))
    assert bound == 100
    assert 0 < mean < 100
    mean, bound = by_chance(few.test.objects, 10, np.random.default_rng(0))
    assert 1 < mean < bound < 40


def test_without_pycocotools_its_measures_are_missing(
    few: DetectionData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(by_coco, "find_spec", lambda _: None)
    found = transfer(asked(few, tmp_path, replace(SHORT, epochs=1)))["test"]
    assert found["ap"] is None
    assert found["map_area"] is not None
    with pytest.raises(MissingData, match="pycocotools"):
        task("coco", tmp_path, CPU, BUDGETS["quick"])


def test_a_box_without_an_area_is_not_trained_on(few: DetectionData) -> None:
    flat = Objects.of([(5, 5, 5, 12), (5, 5, 12, 5), (5, 5, 12, 12)], [0, 1, 2])
    assert teaches(flat).tolist() == [False, False, True]
    pixels = few.train.pixels  # type: ignore[attr-defined]
    made = Detection(replace(few, train=Drawn(pixels, [flat] * 24)), SHORT, CPU)
    model = made.model(backbone(), np.random.default_rng(1)).train()
    assert made.loss(model, next(made.batches(np.random.default_rng(0)))).isfinite()


def test_a_picture_of_no_object_is_not_trained_on(few: DetectionData) -> None:
    nothing = Drawn(few.train.pixels, [Objects.of([], [])] * 24)  # type: ignore[attr-defined]
    for part, name in (("train", "training"), ("test", "test")):
        with pytest.raises(BadValue, match=f"no {name} picture of scenes"):
            Detection(replace(few, **{part: nothing}), SHORT, CPU)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_detector_learns_far_more_than_chance(tmp_path: Path) -> None:
    """Within five epochs; chance knows where all objects are. The real-valued twin learns more."""
    space = making.space("bnas-201")
    made = of_architecture(
        space, space.sample(np.random.default_rng(0)), Scale(cells=5, channels=12)
    )
    small = Detection(scenes(), replace(SMALL, epochs=5), CPU)
    wanted = Transfer(backbone=made, task=small, folder=tmp_path)
    binary, real = (
        transfer(replace(wanted, precisions=(precision,)))["test"]
        for precision in ("W1A1", "W32A32")
    )
    assert binary["chance_bound"] < 5
    assert binary["map_area"] > 3 * binary["chance_bound"]
    assert real["map_area"] > binary["map_area"]

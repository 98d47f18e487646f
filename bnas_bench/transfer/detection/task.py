"""Object detection as a downstream task: how every detector is trained and tested, whatever its backbone.

DCP-NAS (Li et al., IJCV 2023), section 4.1.4: 12 epochs at 0.02, times 0.1 in the 9th and in the 11th
epoch, which is here when three quarters and eleven twelfths are done. It leaves open the rest, which is
what the field starts from: SGD with momentum 0.9 and weight decay 1e-4, 16 pictures a batch, and a rate
that rises over the first 500 steps (of a short training, over its first twentieth). Batch norm keeps
learning, as layers that became 1-bit need it to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bnas_bench.core.errors import BadValue
from bnas_bench.core.options import Amount, Batch, Count
from bnas_bench.core.seeds import generator
from bnas_bench.nn.network import Network
from bnas_bench.transfer import downstream
from bnas_bench.transfer.detection.average_precision import by_voc
from bnas_bench.transfer.detection.batches import Batch as Pictures
from bnas_bench.transfer.detection.batches import of_epoch, side_by_side, teaching
from bnas_bench.transfer.detection.by_coco import MEASURES, by_coco, is_there
from bnas_bench.transfer.detection.frames import Frame
from bnas_bench.transfer.detection.model import HEADS, Counted, Detector
from bnas_bench.transfer.detection.objects import DetectionData, Found, Objects
from bnas_bench.transfer.telling import DRAWS

DROPS = (9 / 12, 11 / 12)
"""Parts of the training after which the rate is a tenth."""
RISING, RISING_PART = 500, 1 / 20
"""Steps over which the rate rises, and the largest part of the training that those may be."""


@dataclass(frozen=True, kw_only=True)
class Recipe(downstream.Recipe):
    """How every backbone is trained.

    Attributes:
        anchors, regions: of a picture that teach the two heads.
        proposals: of a picture that the box head looks at.
        heads: what of them is 1-bit, one of `model.HEADS`.
    """

    epochs: Count = 12
    batch_size: Batch = 16
    lr: Amount = 0.02
    clip: Amount = 10.0
    anchors: Count = 256
    regions: Count = 512
    proposals: Count = 1000
    heads: str = "maps"

    def __post_init__(self) -> None:
        if self.heads not in HEADS:
            raise BadValue(f"heads is '{self.heads}': take one of {', '.join(HEADS)}")


SMALL = Recipe(anchors=64, regions=32, proposals=100)
"""Of `scenes`, whose pictures are small."""


def detector(
    backbone: Network, frame: Frame, classes: int, recipe: Recipe, rng: np.random.Generator
) -> Detector:
    """The detector around a backbone that a recipe trains.

    Raises:
        BadValue: if the backbone takes no images of the frame's channels.
    """
    sampled = recipe.anchors, recipe.regions
    return Detector(
        backbone,
        frame,
        classes,
        heads=recipe.heads,
        sampled=sampled,
        proposals=recipe.proposals,
        rng=rng,
    )


class Detection(downstream.Downstream[Detector]):
    """To find the objects on pictures, and to say of what class each is."""

    recipe: Recipe

    def __init__(self, data: DetectionData, recipe: Recipe, device: torch.device) -> None:
        places = teaching(data.train)
        if not (len(places) and any(map(len, data.test.objects))):
            part = "test" if len(places) else "training"
            raise BadValue(
                f"no {part} picture of {data.name} shows an object: take another dataset"
            )
        super().__init__(data.name, recipe, device, data.frame.shape)
        self.data, self._places = data, places

    @property
    def fingerprint(self) -> str:
        return self.data.fingerprint

    def model(self, backbone: Network, rng: np.random.Generator) -> Detector:
        return detector(backbone, self.data.frame, len(self.data.classes), self.recipe, rng)

    def used(self, model: Detector) -> Counted:
        return Counted(model)

    @property
    def steps(self) -> int:
        return max(1, len(self._places) // self.recipe.batch_size)

    def batches(self, rng: np.random.Generator) -> Iterator[Pictures]:
        size = min(self.recipe.batch_size, len(self._places))
        return of_epoch(self.data, self._places, size, rng, self.device)

    def loss(self, model: Detector, batch: Pictures) -> Tensor:
        losses = model(batch.x_BCHW, batch.sizes, batch.targets)[1]
        return torch.stack(list(losses.values())).sum()

    def rate(self, progress: float) -> float:
        rising = min(RISING / (self.steps * self.recipe.epochs), RISING_PART)
        drops = sum(progress >= part for part in DROPS)
        return self.recipe.lr * min(1.0, (progress + rising / 10) / rising) * 0.1**drops

    def test(self, model: Detector) -> Mapping[str, float]:
        truth = self.data.test.objects
        found = self.found(model)
        values: dict[str, float] = {"pictures": len(truth), "objects": sum(map(len, truth))}
        if "map_area" in self.titles:
            by_rule = by_voc(found, truth, len(self.data.classes))
            values |= {"map_11_point": by_rule["11-point"], "map_area": by_rule["area"]}
        if "ap" in self.titles:
            values |= dict.fromkeys(MEASURES, float("nan"))
            if is_there():
                values |= by_coco(found, truth, len(self.data.classes), self.data.areas)
        mean, bound = by_chance(truth, len(self.data.classes), generator(0, "transfer", "chance"))
        return values | {"chance": mean, "chance_bound": bound}

    @torch.no_grad()
    def found(self, model: Detector) -> list[Found]:
        """What a detector finds on each picture to be tested on, in the picture's own pixels."""
        model.eval()
        pictures, size = self.data.test, self.recipe.batch_size
        found: list[Found] = []
        for start in range(0, len(pictures), size):
            places = range(start, min(start + size, len(pictures)))
            some = [pictures.image(place) for place in places]
            batch = side_by_side(some, self.data, self.device)
            said = model(batch.x_BCHW, batch.sizes)[0]
            for one, scale in zip(said, batch.scales, strict=True):
                boxes, labels, scores = (
                    one[k].cpu().numpy() for k in ("boxes", "labels", "scores")
                )
                found.append(Found(boxes / np.array([*scale, *scale]), labels - 1, scores))
        return found


def by_chance(truth: list[Objects], classes: int, rng: np.random.Generator) -> tuple[float, float]:
    """mAP (area) of the objects' own boxes under the objects' labels shuffled: mean and largest of `DRAWS`.

    More than chance: whoever says nothing about classes has yet to find the boxes.
    """
    labels = np.concatenate([one.labels for one in truth])
    ends = np.cumsum([len(one) for one in truth])[:-1]
    values = []
    for _ in range(DRAWS):
        shuffled = np.split(rng.permutation(labels), ends)
        said = [
            Found(one.boxes, some, rng.random(len(some)))
            for one, some in zip(truth, shuffled, strict=True)
        ]
        values.append(by_voc(said, truth, classes)["area"])
    return float(np.mean(values)), float(np.max(values))

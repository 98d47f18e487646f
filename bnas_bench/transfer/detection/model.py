"""Faster R-CNN with a feature pyramid on any backbone, of torchvision's parts.

Ren et al., "Faster R-CNN", NeurIPS 2015, https://arxiv.org/abs/1506.01497; Lin et al., "Feature Pyramid
Networks", CVPR 2017, https://arxiv.org/abs/1612.03144. As in DCP-NAS (Li et al., IJCV 2023),
https://arxiv.org/abs/2306.15390, section 4.1.4, the lateral connections of the neck are 1-bit 3x3
convolutions. What else is 1-bit it does not say, and its table 13 says two things (`bnas-bench audit
dcp-nas/table-13`): on ResNet-18 its OPs leave about as much real as the box head, the stem and 1x1
convolutions take; its memory leaves less than the box head has. `heads=maps` is what the OPs say: 1-bit
is what runs on whole maps, so the neck's output convolutions and the region proposals' one, too, and
the box head is real; `real` leaves all of them real, `all` makes the box head's two layers 1-bit, too.
What predicts classes and boxes is always real.

Legend of tensor names: B batch, C channels, H, W, P proposals.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock

from bnas_bench.nn.binary import BinaryConv2d, PReLU
from bnas_bench.nn.network import Network, initialised_by
from bnas_bench.transfer.detection.frames import Frame
from bnas_bench.transfer.downstream import maps_of

HEADS = ("maps", "real", "all")
"""What of the heads is 1-bit beside the lateral connections: see above."""

POOLED = 7
"""Side of what the box head sees of a proposal."""
RATIOS = (0.5, 1.0, 2.0)
"""Of an anchor's height to its width."""
PROBE = 256
"""Pixels a side of the largest image that says the strides and channels of a backbone's maps."""
LEVELS = 4
"""The most maps that the neck takes: of a network for large images those of strides 4 to 32."""


class Sampler:
    """Draws of the anchors, or of the proposals, of each image those that teach; as torchvision's does.

    Args:
        size: how many of an image.
        positive: the largest part of them that lies on an object.
    """

    def __init__(self, size: int, positive: float, rng: np.random.Generator) -> None:
        self.size, self.positive, self.rng = size, positive, rng

    def __call__(self, matched: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Masks of the drawn on objects and beside them.

        Args:
            matched: per image what each candidate lies on: 0 nothing, -1 is not asked.
        """
        pairs = [self._drawn(one.cpu().numpy()) for one in matched]
        masks = [
            tuple(torch.from_numpy(mask).to(one.device) for mask in pair)
            for pair, one in zip(pairs, matched, strict=True)
        ]
        positive, negative = zip(*masks, strict=True)
        return list(positive), list(negative)

    def _drawn(self, matched_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        on, beside = np.flatnonzero(matched_N >= 1), np.flatnonzero(matched_N == 0)
        count = min(len(on), int(self.size * self.positive))
        masks = np.zeros((2, len(matched_N)), np.uint8)
        masks[0, self.rng.permutation(on)[:count]] = 1
        masks[1, self.rng.permutation(beside)[: self.size - count]] = 1
        return masks[0], masks[1]


def binary(inputs: int, outputs: int, kernel: int = 3, padding: int = 1) -> BinaryConv2d:
    return BinaryConv2d(inputs, outputs, kernel, padding=padding)


def normed(inputs: int, outputs: int) -> nn.Sequential:
    """BN, a 1-bit 3x3 convolution, BN."""
    return nn.Sequential(nn.BatchNorm2d(inputs), binary(inputs, outputs), nn.BatchNorm2d(outputs))


class Coarser(ExtraFPNBlock):
    """One more level, of every second pixel of the last; torchvision's in layers that the ledger knows."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(1, 2)

    def forward(
        self,
        results: list[Tensor],
        x: list[Tensor],  # noqa: ARG002
        names: list[str],
    ) -> tuple[list[Tensor], list[str]]:
        return [*results, self.pool(results[-1])], [*names, "pool"]


def neck(channels: Sequence[int], width: int, heads: str) -> FeaturePyramidNetwork:
    """The pyramid over maps of so many channels, with one more level, of twice the last stride."""
    made = FeaturePyramidNetwork(list(channels), width, Coarser(), partial(nn.BatchNorm2d))
    made.inner_blocks = nn.ModuleList(normed(inputs, width) for inputs in channels)
    if heads != "real":
        made.layer_blocks = nn.ModuleList(normed(width, width) for _ in channels)
    return made


class BinaryBoxHead(nn.Module):
    """torchvision's `TwoMLPHead` with 1-bit layers."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            binary(channels, hidden, POOLED, 0),
            nn.BatchNorm2d(hidden),
            binary(hidden, hidden, 1, 0),
            nn.BatchNorm2d(hidden),
            PReLU(hidden),
        )

    def forward(self, x_PCHW: Tensor) -> Tensor:
        return self.layers(x_PCHW).flatten(1)


class Detector(nn.Module):
    """A backbone and all that makes a detector of it.

    Args:
        backbone: its own head is not used.
        classes: without the background.
        heads: one of `HEADS`.
        sampled: anchors and proposals of an image that teach.
        proposals: of an image that the box head looks at when testing.
        rng: draws the weights, and later what teaches.
    """

    def __init__(
        self,
        backbone: Network,
        frame: Frame,
        classes: int,
        *,
        heads: str,
        sampled: tuple[int, int],
        proposals: int,
        rng: np.random.Generator,
    ) -> None:
        super().__init__()
        self.backbone, self.proposals = backbone, proposals
        width, probe = frame.width, min(frame.side, PROBE)
        maps = maps_of(backbone, (frame.channels, probe, probe))
        strides = [round(probe / one.shape[2]) for one in maps]
        halved = [k for k, stride in enumerate(strides) if stride > 1] or [len(maps) - 1]
        self.taken = halved[-LEVELS:]
        used = [strides[k] for k in self.taken]
        names = [str(k) for k in range(len(used))]
        sides = tuple((frame.anchor * stride,) for stride in [*used, 2 * used[-1]])
        anchors = AnchorGenerator(sides, (RATIOS,) * len(sides))
        with initialised_by(rng):
            self.neck = neck([maps[k].shape[1] for k in self.taken], width, heads)
            head = RPNHead(width, len(RATIOS))
            if heads != "real":
                head.conv = nn.Sequential(binary(width, width), PReLU(width))
            box = BinaryBoxHead if heads == "all" else _real_box_head
            box_head, predictor = box(width, 4 * width), FastRCNNPredictor(4 * width, classes + 1)
        before = {"training": 2 * proposals, "testing": proposals}
        after = dict.fromkeys(before, proposals)
        self.rpn = RegionProposalNetwork(
            anchors, head, 0.7, 0.3, sampled[0], 0.5, before, after, 0.7
        )
        self.roi = RoIHeads(
            MultiScaleRoIAlign(names, POOLED, 2),
            *(box_head, predictor, 0.5, 0.5, sampled[1], 0.25, None, 0.05, 0.5, 100),
        )
        self.rpn.fg_bg_sampler = Sampler(sampled[0], 0.5, rng)
        self.roi.fg_bg_sampler = Sampler(sampled[1], 0.25, rng)

    def maps(self, x_BCHW: Tensor) -> OrderedDict[str, Tensor]:
        """What the neck makes of the backbone's maps, from fine to coarse."""
        found = self.backbone.stages(x_BCHW)
        return self.neck(OrderedDict((str(k), found[i]) for k, i in enumerate(self.taken)))

    def forward(
        self,
        x_BCHW: Tensor,
        sizes: list[tuple[int, int]],
        targets: list[dict[str, Tensor]] | None = None,
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        """Detections, when testing, and losses, when training.

        Args:
            x_BCHW: images in the upper left corner of it.
            sizes: height and width of each image.
            targets: when training, `boxes` (K, 4) and `labels` (K,) of each, classes from 1.
        """
        maps, images = self.maps(x_BCHW), ImageList(x_BCHW, sizes)
        proposals, asked = self.rpn(images, maps, targets)
        found, losses = self.roi(maps, proposals, sizes, targets)
        return found, losses | asked


def _real_box_head(channels: int, hidden: int) -> TwoMLPHead:
    return TwoMLPHead(channels * POOLED**2, hidden)


class Counted(nn.Module):
    """What a detector computes of one image, in layers that the ledger knows.

    The box head runs on as many proposals as when testing. Not counted, as in the papers' OPs: anchors, the
    choice of proposals and of detections, the bilinear samples of a proposal.
    """

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.backbone, self.neck, self.taken = detector.backbone, detector.neck, detector.taken
        self.asks, self.proposals = detector.rpn.head, detector.proposals
        self.box, self.says = detector.roi.box_head, detector.roi.box_predictor

    def forward(self, x_BCHW: Tensor) -> list[Tensor]:
        found = self.backbone.stages(x_BCHW)
        maps = self.neck(OrderedDict((str(k), found[i]) for k, i in enumerate(self.taken)))
        scores, boxes = self.asks(list(maps.values()))
        sample = maps["0"][:, :, :1, :1].repeat(self.proposals, 1, POOLED, POOLED)
        return [*scores, *boxes, *self.says(self.box(sample))]

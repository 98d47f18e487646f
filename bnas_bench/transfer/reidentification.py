"""A backbone learns to tell identities apart, and to find those that it has never seen.

DCP-NAS (Li et al., IJCV 2023), https://arxiv.org/abs/2306.15390, section 4.1.4: SGD at 0.05 with momentum
0.9 and weight decay 1e-4, the rate along a cosine, 120 epochs of batches of 64. It leaves open the losses and
what the network ends in; here it is what the field starts from:

- the last maps are pooled to an embedding, which batch norm centres before a linear layer names the identity
  (Luo et al., "Bag of Tricks and A Strong Baseline for Deep Person Re-identification", CVPR workshops 2019);
- cross-entropy of the identity plus the batch-hard triplet loss of the embedding, margin 0.3 (Hermans, Beyer
  and Leibe, "In Defense of the Triplet Loss for Person Re-Identification", 2017,
  https://arxiv.org/abs/1703.07737), in batches of 4 images an identity;
- images are found by the cosine of what batch norm gives.

Legend of tensor names: B batch, C channels, H, W, D dimensions of an embedding, N identities.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnas_bench.core.errors import BadValue, Diverged
from bnas_bench.core.options import Amount, Batch, BelowOne, Count
from bnas_bench.data.images import Augment
from bnas_bench.nn.network import Network, initialised_by
from bnas_bench.search.checkpoint import Checkpoint
from bnas_bench.search.learning import cosine, set_lr, sgd
from bnas_bench.transfer.people import People, Views
from bnas_bench.transfer.retrieval import Retrieval, retrieval

EVALUATED = 256
"""Images of a batch that is only looked at."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How every backbone is trained.

    Attributes:
        images: of an identity in a batch.
        margin: of the triplet loss.
    """

    epochs: Count = 120
    batch_size: Batch = 64
    images: Count = 4
    lr: Amount = 0.05
    momentum: BelowOne = 0.9
    weight_decay: Amount = 1e-4
    margin: Amount = 0.3


class Embedding(nn.Module):
    """A backbone, and what makes an embedding of its last maps.

    Args:
        backbone: its own head is not used.
        channels: of its last maps.
        identities: that are trained on.
        rng: draws the classifier's weights.
    """

    def __init__(
        self, backbone: Network, channels: int, identities: int, rng: np.random.Generator
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.neck = nn.BatchNorm1d(channels)
        self.neck.bias.requires_grad_(False)
        with initialised_by(rng):
            self.classifier = nn.Linear(channels, identities, bias=False)

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """The embedding before and after batch norm, shape (B, D) each."""
        pooled_BD = self.backbone.features(x_BCHW).mean((2, 3))
        return pooled_BD, self.neck(pooled_BD)


def last_channels(backbone: Network, shape: tuple[int, int, int]) -> int:
    """Channels of the last maps for images of a shape (C, H, W).

    Raises:
        BadValue: if the backbone takes no such images.
    """
    first = next(backbone.parameters())
    try:
        with torch.no_grad():
            maps = backbone.eval().features(torch.zeros(1, *shape).to(first))
    except RuntimeError as error:
        raise BadValue(
            f"the backbone takes no images of {'x'.join(map(str, shape))} ({' '.join(str(error).split())}): "
            "one that was trained on images of as many channels does"
        ) from error
    return maps.shape[1]


def batch_hard(embedding_BD: Tensor, identity_B: Tensor, margin: float) -> Tensor:
    """Eq. (5) of Hermans et al., with a margin: for each image its farthest like and its nearest unlike.

    A scalar, the mean over the images that have both.
    """
    distance_BB = torch.cdist(embedding_BD, embedding_BD)
    same_BB = identity_B[:, None] == identity_B
    farthest_B = distance_BB.masked_fill(~same_BB, -math.inf).max(1).values
    nearest_B = distance_BB.masked_fill(same_BB, math.inf).min(1).values
    there_B = torch.isfinite(nearest_B)
    return F.relu(farthest_B - nearest_B + margin)[there_B].mean()


def batches(
    people: People, recipe: Recipe, rng: np.random.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """The training images about once: x (B, C, H, W) and identities (B,).

    Each batch has `images` of one identity after the other; identities with fewer show some again. What is
    left of a last batch is dropped, unless it is the only one.
    """
    identities_N = people.train.seen.identities
    groups = [
        group
        for identity in range(people.identities)
        for group in _groups(rng.permutation(np.flatnonzero(identities_N == identity)), recipe, rng)
    ]
    order = np.concatenate([groups[k] for k in rng.permutation(len(groups))])
    size = recipe.batch_size // recipe.images * recipe.images
    order = order[: max(size, len(order) - len(order) % size)]
    side = min(people.shape[1:])
    augment = Augment(crop=max(1, side // 16), flip=people.flips)
    identity_N = torch.from_numpy(identities_N[order])
    draws_5N = augment.draw(len(order), *people.shape[1:], rng)
    for start, (x_BCHW, _) in enumerate(people.train.images.subset(order).batches(size)):
        part = slice(start * size, start * size + len(x_BCHW))
        draws = draws_5N[:, part].to(x_BCHW.device)
        yield augment.apply(x_BCHW, draws), identity_N[part].to(x_BCHW.device)


def _groups(places: np.ndarray, recipe: Recipe, rng: np.random.Generator) -> Iterator[np.ndarray]:
    if missing := -len(places) % recipe.images:
        places = np.concatenate([places, rng.choice(places, missing)])
    yield from places.reshape(-1, recipe.images)


@dataclass(frozen=True)
class Trained:
    """What a training leaves beside the weights: the last epoch's mean loss, seconds, and the log."""

    loss: float
    seconds: float
    log: list[dict[str, Any]]


def train(
    model: Embedding,
    people: People,
    recipe: Recipe,
    rng: np.random.Generator,
    checkpoint: Checkpoint,
    tell: Callable[[float], None] = lambda _: None,
) -> Trained:
    """Train a model on the identities to train on; one that was killed goes on from `checkpoint`.

    Raises:
        Diverged: if the loss of an epoch is no finite number.
    """
    optimiser = sgd(
        [p for p in model.parameters() if p.requires_grad],
        recipe.lr,
        recipe.weight_decay,
        recipe.momentum,
    )
    state: Mapping[str, Any] = {"model": model, "optimiser": optimiser, "rng": rng}
    saved = checkpoint.load(state) or {"seconds": 0.0, "log": []}
    log, began = list(saved["log"]), time.perf_counter() - saved["seconds"]
    for epoch in range(len(log), recipe.epochs):
        model.train()
        losses = []
        whole = max(1, -(-len(people.train) // recipe.batch_size))
        for step, (x_BCHW, identity_B) in enumerate(batches(people, recipe, rng)):
            set_lr(optimiser, cosine(recipe.lr, (epoch + min(1.0, step / whole)) / recipe.epochs))
            optimiser.zero_grad()
            embedding_BD, centred_BD = model(x_BCHW)
            error = F.cross_entropy(model.classifier(centred_BD), identity_B)
            error = error + batch_hard(embedding_BD, identity_B, recipe.margin)
            error.backward()
            optimiser.step()
            losses.append(error.detach())
        mean = float(torch.stack(losses).double().mean())
        if not math.isfinite(mean):
            raise Diverged(
                f"the training loss is {mean} in epoch {epoch + 1} of {recipe.epochs}; a smaller "
                "learning rate may help"
            )
        seconds = time.perf_counter() - began
        log.append({"epoch": epoch, "seconds": round(seconds, 3), "loss": mean})
        is_last = epoch + 1 == recipe.epochs
        checkpoint.save(state, {"seconds": seconds, "log": log}, force=is_last)
        tell((epoch + 1) / recipe.epochs)
    model.eval()
    return Trained(log[-1]["loss"], time.perf_counter() - began, log)


@torch.no_grad()
def embedded(model: Embedding, views: Views) -> Tensor:
    """Unit embeddings of all images, in order, shape (N, D)."""
    model.eval()
    parts = [model(x_BCHW)[1] for x_BCHW, _ in views.images.batches(EVALUATED)]
    return F.normalize(torch.cat(parts).float(), dim=1)


def tested(model: Embedding, people: People) -> Retrieval:
    """How well the model finds the gallery's images of each query."""
    query, gallery = (embedded(model, views) for views in (people.query, people.gallery))
    distances_QG = 1 - query @ gallery.T
    return retrieval(distances_QG.cpu().numpy(), people.query.seen, people.gallery.seen)

"""A backbone learns to tell identities apart, and to find those that it has never seen.

DCP-NAS (Li et al., IJCV 2023), https://arxiv.org/abs/2306.15390, section 4.1.4: SGD at 0.05 with momentum
0.9 and weight decay 1e-4, the rate along a cosine, 120 epochs of batches of 64. It leaves open the losses and
what the network ends in; here it is what the field starts from:

- the last maps are pooled to an embedding, which batch norm centres before a linear layer names the identity
  (Luo et al., "Bag of Tricks and A Strong Baseline for Deep Person Re-identification", CVPR workshops 2019);
- cross-entropy of the identity plus the batch-hard triplet loss, margin 0.3, in batches of 4 images of each
  (Hermans, Beyer and Leibe, "In Defense of the Triplet Loss for Person Re-Identification", 2017,
  https://arxiv.org/abs/1703.07737);
- images are found by the cosine of what batch norm gives, and triplets are of the same: distances between
  embeddings of norm 1 (Schroff, Kalenichenko and Philbin, "FaceNet", CVPR 2015, section 3.1).

Luo et al. take the triplets of the pooled maps themselves, and train by Adam at a small rate that rises at
first. By the paper's SGD at 0.05 1-bit networks then collapse, as Hermans et al. describe in their appendix:
the hardest triplets draw all embeddings to one point, where the loss is the margin and stays. At norm 1 no
step can shorten all distances by shrinking the maps, and batch norm keeps a batch from being one point.

Legend of tensor names: B batch, C channels, H, W, D dimensions of an embedding, N identities.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnas_bench.core.errors import BadValue
from bnas_bench.core.options import Amount, Batch, Count
from bnas_bench.core.seeds import generator
from bnas_bench.data.images import Augment
from bnas_bench.nn.network import Network, initialised_by
from bnas_bench.transfer import downstream
from bnas_bench.transfer.downstream import maps_of
from bnas_bench.transfer.people import People, Views
from bnas_bench.transfer.retrieval import Retrieval, by_chance, retrieval

EVALUATED = 256
"""Images of a batch that is only looked at."""

DRAWS = 100
"""Random rankings that say what chance reaches."""


@dataclass(frozen=True, kw_only=True)
class Recipe(downstream.Recipe):
    """How every backbone is trained.

    Attributes:
        images: of an identity in a batch.
        margin: of the triplet loss.
    """

    epochs: Count = 120
    batch_size: Batch = 64
    lr: Amount = 0.05
    images: Count = 4
    margin: Amount = 0.3


class Found(nn.Module):
    """What is computed to find someone: a backbone, its last maps pooled, batch norm; shape (B, D).

    Args:
        backbone: its own head is not used.
        channels: of its last maps.
    """

    def __init__(self, backbone: Network, channels: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.neck = nn.BatchNorm1d(channels)
        self.neck.bias.requires_grad_(False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.neck(self.backbone.features(x_BCHW).mean((2, 3)))


class Embedding(nn.Module):
    """What finds someone, and a classifier of the identities that are trained on.

    Args:
        rng: draws the classifier's weights.
    """

    def __init__(self, found: Found, identities: int, rng: np.random.Generator) -> None:
        super().__init__()
        self.found = found
        with initialised_by(rng):
            self.classifier = nn.Linear(found.neck.num_features, identities, bias=False)


class Reidentification(downstream.Downstream[Embedding]):
    """To find again, among the views of a gallery, who is seen on a query."""

    recipe: Recipe

    def __init__(self, people: People, recipe: Recipe) -> None:
        super().__init__(people.name, recipe, people.train.images.device, people.shape)
        self.people = people

    @property
    def fingerprint(self) -> str:
        return self.people.fingerprint

    def model(self, backbone: Network, rng: np.random.Generator) -> Embedding:
        size, images = self.recipe.batch_size, self.recipe.images
        if size < 2 * images or size % images:
            raise BadValue(
                f"batches of {size} images are not of two or more identities, {images} images each: give a "
                f"multiple of {images} as --budget quick[train_batch={2 * images}], or {self.name}[images=1]"
            )
        channels = maps_of(backbone, self.shape)[-1].shape[1]
        return Embedding(Found(backbone, channels), self.people.identities, rng)

    def used(self, model: Embedding) -> Found:
        return model.found

    @property
    def steps(self) -> int:
        return max(1, len(self.people.train) // self.recipe.batch_size)

    def batches(self, rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        return batches(self.people, self.recipe, rng)

    def loss(self, model: Embedding, batch: tuple[Tensor, Tensor]) -> Tensor:
        x_BCHW, identity_B = batch
        embedding_BD = model.found(x_BCHW)
        error = F.cross_entropy(model.classifier(embedding_BD), identity_B)
        return error + batch_hard(F.normalize(embedding_BD, dim=1), identity_B, self.recipe.margin)

    def test(self, model: Embedding) -> Mapping[str, float]:
        found = tested(model, self.people)
        seen = self.people.query.seen, self.people.gallery.seen
        mean, bound = by_chance(*seen, generator(0, "transfer", "chance"), DRAWS)
        return {
            "mean_ap": found.mean_ap,
            **{f"rank_{k}": share for k, share in found.ranks.items()},
            "queries": found.queries,
            "unmatched": found.unmatched,
            "chance": mean,
            "chance_bound": bound,
        }


def batch_hard(embedding_BD: Tensor, identity_B: Tensor, margin: float) -> Tensor:
    """Eq. (5) of Hermans et al., with a margin: for each image its farthest like and its nearest unlike.

    A scalar, the mean over the images that have both; 0 of a batch that shows one identity alone.
    """
    distance_BB = torch.cdist(embedding_BD, embedding_BD)
    same_BB = identity_B[:, None] == identity_B
    farthest_B = distance_BB.masked_fill(~same_BB, -math.inf).max(1).values
    nearest_B = distance_BB.masked_fill(same_BB, math.inf).min(1).values
    there_B = torch.isfinite(nearest_B)
    hinge_B = F.relu(farthest_B - nearest_B + margin)
    return hinge_B[there_B].mean() if there_B.any() else hinge_B.sum()


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


@torch.no_grad()
def embedded(model: Embedding, views: Views) -> Tensor:
    """Unit embeddings of all images, in order, shape (N, D)."""
    model.eval()
    parts = [model.found(x_BCHW) for x_BCHW, _ in views.images.batches(EVALUATED)]
    return F.normalize(torch.cat(parts).float(), dim=1)


def tested(model: Embedding, people: People) -> Retrieval:
    """How well the model finds the gallery's images of each query."""
    query, gallery = (embedded(model, views) for views in (people.query, people.gallery))
    distances_QG = 1 - query @ gallery.T
    return retrieval(distances_QG.cpu().numpy(), people.query.seen, people.gallery.seen)

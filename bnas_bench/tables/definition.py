"""What a table is a table of: all that its numbers depend on beside the code and the architecture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bnas_bench.core.architecture import Architecture
from bnas_bench.core.budget import NetworkSpec, Scale
from bnas_bench.core.errors import BadValue
from bnas_bench.core.files import canonical, sha256
from bnas_bench.core.options import Amount, Batch, BelowOne, Count, Few, Grid, Width, forms_of
from bnas_bench.core.seeds import generator

if TYPE_CHECKING:
    from bnas_bench.data.datasets import Dataset, Images
    from bnas_bench.search.space import SearchSpace

VERSION = 1
"""Of the way networks are trained: it goes up where the same definition would give other numbers."""


@dataclass(frozen=True, kw_only=True)
class Definition:
    """How every network of a table is trained and tested; the defaults are for the digits (`docs/tables.md`).

    Adam, the rate going to zero along a cosine that changes with every step; the seeds of an architecture
    side by side (`bnas_bench.nn.beside`), each with weights and an order of the images of its own. At all
    precisions a seed begins with the same weights and sees the images in the same order.

    Attributes:
        fingerprint: of the dataset's images and labels, `Dataset.fingerprint`.
        test_images: how many test.
        seeds: trained side by side as one network; how many changes the last digits.
        channels, cells: the networks' scale, as the space counts it.
        image: images are resized to this many pixels a side; None leaves them as they are.
        train_images, valid_images: drawn from the dataset's training images, each class in proportion.
            Few images to train on keep the accuracies apart.
        mixed: whether they are drawn from all images of the dataset instead, and all others test: the more
            test, the less the sampling of them blurs what is compared.
        augmented: whether images are cropped at random, and mirrored where that may be.
    """

    space: str
    dataset: str
    fingerprint: str
    test_images: Count
    seeds: Grid = 8
    channels: Width = 8
    cells: Few = 5
    image: Width | None = None
    train_images: Count = 150
    valid_images: Count = 200
    mixed: bool = True
    epochs: Count = 10
    batch_size: Batch = 16
    lr: Amount = 1e-2
    momentum: BelowOne = 0.9
    weight_decay: Amount = 0.0
    augmented: bool = False
    version: int = VERSION

    @cached_property
    def digest(self) -> str:
        """Sixteen hexadecimal digits; every row of the table carries them."""
        return sha256(canonical(asdict(self)).encode())[:16]

    def differences(self, other: Definition) -> str:
        """The fields in which this definition is not another one, as a sentence says it."""
        pairs = [(f.name, getattr(self, f.name), getattr(other, f.name)) for f in fields(self)]
        return ", ".join(
            f"{name} {ours}, not {theirs}" for name, ours, theirs in pairs if ours != theirs
        )

    def spec(self, space: SearchSpace, dataset: Dataset) -> NetworkSpec:
        """The frame that the networks are built into.

        Raises:
            BadValue: if the space has no such networks.
        """
        scale = Scale(self.cells, self.channels)
        return space.spec(scale, dataset.shape, dataset.classes, final=True)

    def split(self, dataset: Dataset) -> tuple[Images, Images, Images]:
        """The images that train, those that validate, and those that test.

        Raises:
            BadValue: if there are not so many, or none would test.
        """
        from bnas_bench.data.datasets import stratified, together

        images = together(dataset) if self.mixed else dataset.train
        if self.train_images + self.valid_images > len(images) - self.mixed:
            what = f"{'images' if self.mixed else 'training images'} of {self.dataset}"
            raise BadValue(
                f"{self.train_images} images to train and {self.valid_images} to validate are more than "
                f"the {len(images)} {what}{' allow, where others test' * self.mixed}: give fewer"
            )
        order = generator(0, "table", "split", self.dataset).permutation(len(images))
        sizes = self.train_images, self.valid_images
        train, valid = stratified(images.labels, sizes, order)
        others = np.setdiff1d(order, np.concatenate([train, valid]))
        test = images.subset(others) if self.mixed else dataset.test
        return images.subset(train), images.subset(valid), test

    @classmethod
    def from_json(cls, values: Any) -> Definition:
        """Read what `asdict` gave, from a file that anyone may have written.

        Raises:
            ValueError: if a field is missing, unknown, or has a value that it does not take.
        """
        if not isinstance(values, dict) or values.keys() != {f.name for f in fields(cls)}:
            raise ValueError("it has not the fields of a definition")
        for name, form in forms_of(cls).items():
            try:
                form.check(values[name], f"'{name}'")
            except BadValue as error:
                raise ValueError(str(error)) from None
        return cls(**values)

    @classmethod
    def settable(cls) -> dict[str, Any]:
        """The fields that have a default, which `--set` may replace."""
        given = ("space", "dataset", "fingerprint", "test_images", "seeds", "version")
        return {f.name: f.default for f in fields(cls) if f.name not in given}


def default_name(space: str, dataset: str) -> str:
    """`SPACE-DATASET`; a tree of images has its folder's name: `imagefolder:data/leaves` is `leaves`."""
    kind, _, path = dataset.partition(":")
    return f"{space}-{Path(path).name or kind}"


def architectures(space: SearchSpace) -> Sequence[Architecture]:
    """One architecture of every class, in the order of all tables of the space.

    The order is random and the same for ever: its first ones are a random sample, however far a table is.

    Raises:
        BadValue: if the space does not list its architectures.
    """
    check_listed(space)
    order: np.ndarray = generator(0, "table", "order", space.name).permutation(
        len(space.representatives)
    )
    return [space.representatives[k] for k in order]


def check_listed(space: SearchSpace) -> None:
    """Raise BadValue unless the space lists its architectures."""
    if not space.representatives:
        raise BadValue(
            f"no table can hold the {space.size():.1e} architectures of {space.name}: name a space that "
            "lists its own, as bnas-201 does"
        )


def text(space: SearchSpace, arch: Architecture) -> str:
    """How a table writes an architecture, and `space.parse` reads it: the space's own text, or JSON."""
    genotype = getattr(space, "genotype", None)
    return genotype(arch) if genotype else canonical(arch.to_json())


def defined(
    space: str, dataset: str, seeds: int, settings: Iterable[str], data: Path
) -> Definition:
    """The definition that a command asks for, by which networks can be built and trained here.

    Args:
        settings: `key=value` each, of the fields that have defaults.

    Raises:
        BenchError: if a name or a value is wrong, the dataset is missing or has too few images, or the
            space has no such networks or is too large for a table.
    """
    from bnas_bench.data.datasets import load
    from bnas_bench.plugins import making
    from bnas_bench.plugins.spec import parse_options, resolve

    given = parse_options(settings, "--set")
    values = resolve(given, Definition.settable(), "field of a table", forms_of(Definition))
    check_listed(instance := making.space(space))
    images = load(dataset, image=values["image"], device="cpu", folder=data)
    definition = Definition(
        space=space,
        dataset=dataset,
        fingerprint=images.fingerprint,
        test_images=1,
        seeds=seeds,
        **values,
    )
    definition.spec(instance, images)
    _, _, test = definition.split(images)
    return replace(definition, test_images=len(test))

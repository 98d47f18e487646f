"""What trained networks make of the test images: `predictions.safetensors` beside a record.

With it two methods are compared image by image, without the images. Tensor names carry their shape: R
trainings of what a search found, N test images in the dataset's order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

NAMES = ("predicted", "labels")
"""The arrays in the file, both of unsigned integers that are no wider than the classes need."""

Classes = NDArray[np.unsignedinteger]


@dataclass(frozen=True, eq=False)
class Predictions:
    """Classes, counted from 0.

    Attributes:
        predicted: by training and image, (R, N).
        labels: the true ones, (N,).
    """

    predicted: Classes
    labels: Classes

    @property
    def right(self) -> NDArray[np.bool_]:
        """Which images which training classifies rightly, (R, N)."""
        return self.predicted == self.labels


def encode(predicted_RN: NDArray[np.integer], labels_N: NDArray[np.integer], classes: int) -> bytes:
    """The file of predictions, a few hundred bytes larger than they are."""
    kind = np.min_scalar_type(classes - 1)
    arrays = dict(zip(NAMES, (predicted_RN.astype(kind), labels_N.astype(kind)), strict=True))
    return safetensors.numpy.save(arrays)


def decode(data: bytes, classes: int) -> Predictions:
    """The predictions in a file.

    Raises:
        ValueError: if it holds no predictions of so many classes.
    """
    try:
        arrays = safetensors.numpy.load(data)
        predicted, labels = (arrays[name] for name in NAMES)
    except (SafetensorError, KeyError, TypeError) as error:
        raise ValueError(f"it holds no predictions ({error})") from error
    kind = np.min_scalar_type(classes - 1)
    if not (predicted.dtype == labels.dtype == kind and predicted.ndim == 2 and labels.ndim == 1):
        raise ValueError(f"it holds no predictions of {classes} classes")
    if predicted.shape[1:] != labels.shape or not predicted.size:
        raise ValueError(f"predictions of shape {predicted.shape} for {len(labels)} images")
    if max(predicted.max(), labels.max()) >= classes:
        raise ValueError(f"it names a class beyond the {classes} that there are")
    return Predictions(predicted, labels)

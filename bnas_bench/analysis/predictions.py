"""Which test images the networks of a row classify rightly, from the predictions beside their records.

Tensor names carry their shape: S searches, R trainings of what each found, N test images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bnas_bench.analysis.frame import Row, Run
from bnas_bench.analysis.stats import NotEnough
from bnas_bench.core.files import read_regular
from bnas_bench.runs.predictions import Predictions, decode
from bnas_bench.runs.store import LIMITS, PREDICTIONS, Store


@dataclass(frozen=True, eq=False)
class Right:
    """Which network is right on which image.

    Attributes:
        right: by search, training and image, (S, R, N).
        labels: the true classes, (N,).
    """

    right: NDArray[np.bool_]
    labels: NDArray[np.unsignedinteger]

    @property
    def networks(self) -> NDArray[np.bool_]:
        """By network and image, (S * R, N)."""
        return self.right.reshape(-1, self.right.shape[-1])

    @property
    def shares(self) -> NDArray[np.float64]:
        """By image, the share of the networks that are right, (N,)."""
        return self.right.mean(axis=(0, 1))


def right(store: Store, row: Row) -> Right | NotEnough:
    """What the networks of a row's runs are right on, if the records of all of them have predictions."""
    lacking = sum(not run.predicted for run in row.runs)
    if lacking or not row.runs:
        return NotEnough(f"{row.method} has no predictions of {lacking} of {len(row.runs)} runs")
    found = []
    for run in row.runs:
        try:
            found.append(_of(store, run))
        except (OSError, ValueError) as error:
            return NotEnough(f"the predictions of {run.id} cannot be used ({error})")
    labels, trainings = found[0].labels, len(found[0].predicted)
    if any(not np.array_equal(one.labels, labels) for one in found):
        return NotEnough(f"the runs of {row.method} saw other test images")
    if any(len(one.predicted) != trainings for one in found):
        return NotEnough(f"the runs of {row.method} have not equally many trainings")
    return Right(np.stack([one.right for one in found]), labels)


def _of(store: Store, run: Run) -> Predictions:
    """The predictions of a run, which must be those that its record speaks of.

    Raises:
        OSError, ValueError: if they are not.
    """
    data = read_regular(store.folder(run.id) / PREDICTIONS, LIMITS[PREDICTIONS])
    found = decode(data, run.classes)
    if len(found.labels) != run.test_images:
        raise ValueError(f"{len(found.labels)} images where the record has {run.test_images}")
    accuracy = 100 * float(found.right.mean())
    if abs(accuracy - (run.values["test_accuracy"] or 0.0)) > 1e-4:
        raise ValueError(f"an accuracy of {accuracy:.4f} % where the record has another")
    return found

"""The end of a trial: its test images are read once, and its network is timed and packed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev

import numpy as np
import torch
from torch import Tensor

from bnas_bench.core.crowd import Others
from bnas_bench.cost.latency import latency, simulated
from bnas_bench.data.datasets import Dataset
from bnas_bench.nn.network import Network
from bnas_bench.runs import predictions
from bnas_bench.runs.crashes import TRIES, crashes, packing
from bnas_bench.runs.heir import accuracies
from bnas_bench.runs.network import of_trial
from bnas_bench.runs.packing import packed_record, refused, timed
from bnas_bench.runs.steps import Steps
from bnas_bench.runs.store import PREDICTIONS, Record
from bnas_bench.search.learning import top_accuracies


class Testing(Steps):
    """Tests, times and packs the networks of a trial."""

    def test(
        self,
        networks: Sequence[Network],
        dataset: Dataset,
        heirs: Mapping[int, Network],
        searched: Dataset,
    ) -> None:
        """Read the test images once for every network, when all of them are trained."""
        self.progress.enter("test")
        batch_size = self.record["recipe"]["batch_size"]
        found, predicted_RN = [], []
        for network in networks:
            classes: list[Tensor] = []
            parts = top_accuracies(network, dataset.test, batch_size, (1, 5), classes=classes)
            found.append([_percent(part) for part in parts])
            predicted_RN.append(torch.cat(classes).cpu().numpy())
        self.files[PREDICTIONS] = predictions.encode(
            np.stack(predicted_RN), dataset.test.labels, dataset.classes
        )
        test, top5 = (round(fmean(part), 6) for part in zip(*found, strict=True))
        self.record |= {
            "test_accuracy": test,
            "test_error": round(100 - test, 6),
            "test_top5_accuracy": top5,
        }
        if len(tests := [one for one, _ in found]) > 1:
            self.record |= {"test_accuracies": tests, "test_accuracy_sd": round(stdev(tests), 6)}
        self.record |= accuracies(heirs, searched.test, batch_size)

    def measure(self, network: Network, dataset: Dataset) -> None:
        self.progress.enter("measure")
        self.record["latency_load"] = round(os.getloadavg()[0], 2)
        with Others() as others:
            found = latency(simulated(network, dataset.shape), threads=torch.get_num_threads())
            self.record |= {"latency_kind": found.kind, **timed("latency", found)}
            self.record |= self.pack(network, dataset)
        self.record["latency_others"] = others.cores

    def pack(self, network: Network, dataset: Dataset) -> Record:
        """The network as bits: size and latency. A crash of compiled code costs no trained trial."""
        if (times := crashes(self.folder)) >= TRIES:
            return refused(f"the engine ended the process {times} times")
        with packing(self.folder):
            return packed_record(network, dataset.shape, self.about | of_trial(self.record))


def _percent(part: float) -> float:
    return round(100 * float(part), 6)

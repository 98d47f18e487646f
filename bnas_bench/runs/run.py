"""One trial of a grid: search -> derive -> train from scratch -> test once -> measure -> record.

Where the search hands on a trained network, that is tested as well; see `heir.py`.
"""

from __future__ import annotations

import json
import os
import secrets
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from bnas_bench.core import numerics, provenance, ranks
from bnas_bench.core.architecture import Architecture
from bnas_bench.core.budget import Recipe
from bnas_bench.core.crowd import Others
from bnas_bench.core.errors import BadValue, MissingData, one_line
from bnas_bench.core.files import Unwritable, canonical, sha256
from bnas_bench.core.searching import searching
from bnas_bench.core.seeds import generator
from bnas_bench.cost import costs, ledger
from bnas_bench.cost.latency import latency, simulated
from bnas_bench.data.datasets import Dataset, Task, load, task
from bnas_bench.nn.binary import Precision
from bnas_bench.nn.network import Network
from bnas_bench.plugins.source import harness_digest
from bnas_bench.plugins.spec import label
from bnas_bench.runs import predictions
from bnas_bench.runs.attempt import Attempt
from bnas_bench.runs.crashes import TRIES, crashes, packing
from bnas_bench.runs.heir import Heir, accuracies, front_file
from bnas_bench.runs.judged import judge_of, judged, task_of, with_regrets
from bnas_bench.runs.network import about, of_trial
from bnas_bench.runs.packing import TIMED, packed_record, refused, timed
from bnas_bench.runs.progress import Progress
from bnas_bench.runs.record import SCHEMA
from bnas_bench.runs.store import CHECKPOINT, DIGESTS, PREDICTIONS, Record, Store
from bnas_bench.runs.train import TrainResult, train
from bnas_bench.search.checkpoint import Checkpoint
from bnas_bench.search.learning import top_accuracies
from bnas_bench.search.lent import Lent
from bnas_bench.search.meter import Meter, check_paid
from bnas_bench.search.result import check_result, result_fields
from bnas_bench.search.scores import scored_by_training
from bnas_bench.search.space import SearchSpace
from bnas_bench.search.strategy import SearchStrategy
from bnas_bench.search.untouched import Watched, generators_put_back, untouched
from bnas_bench.tables.judge import ByTable, Judge

if TYPE_CHECKING:
    from bnas_bench.runs.how import How
    from bnas_bench.runs.seat import Seat
    from bnas_bench.runs.trial import Trial

RANKED = 100
"""Architectures of a table by which a record says how each supernet ranks."""

TIMING_FIELDS = frozenset(
    {
        *("when", "seconds", "load", "log_sha256", "attempts"),
        *("latency_load", "latency_others", "latency_machine", "retimed"),
        *(f"{phase}_seconds" for phase in ("search", "harness", "train")),
        *(f"{kind}_{part}" for kind in ("latency", "packed_latency") for part in TIMED),
        *("search_step_mib", "peak_memory_mib", "peak_device_memory_mib"),
    }
)
"""What may differ between the records of two runs of one trial; on CPU all else is equal."""


def run_trial(
    trial: Trial,
    store: Store,
    *,
    device: str = "cpu",
    threads: int = 1,
    data: Path | str = "data",
    progress: Progress | None = None,
    attempt: Attempt | None = None,
    seat: Seat | None = None,
) -> Record:
    """Run a trial, or go on with one that was killed, and publish its folder.

    What goes wrong within the trial makes a record of status `failed` with the reason; so does code
    of a method or a space that changes what others share (`untouched`).

    Args:
        device: `cpu`, `cuda` or `cuda:N`.
        threads: of the CPU.
        data: the folder where datasets lie.
        attempt: begun by whoever holds the trial's claim; None begins one.
        seat: of rank 0, where others compute with this process.

    Raises:
        BadValue: if there is no such device.
        MissingData: if the dataset is not there; nothing is recorded.
        Unwritable: if the store takes no files; nothing is recorded.
        LostRank: if another rank is lost; nothing is recorded.
    """
    where = find_device(device)
    torch.set_num_threads(threads)
    attempt = attempt or Attempt(store, trial.id, secrets.token_hex(8)).begin(where.type)
    run = _Run(trial, attempt.folder, where, progress or Progress())
    try:
        with seat.taken(where) if seat else nullcontext():
            run.run(data)
    except (MissingData, Unwritable):
        attempt.close()
        raise
    except Exception as error:
        run.record |= {"status": "failed", "reason": one_line(error)}
        run.files["error.txt"] = traceback.format_exc().encode()
    return attempt.publish(run.files, run.finished())


def run_part(trial: Trial, how: How, seat: Seat) -> None:
    """Compute a trial as another rank than the first: all that is found out is dropped, nothing is written.

    Raises:
        BadValue: if there is no such device.
        LostRank: if another rank is lost.
    """
    where = find_device(seat.device(how.device))
    torch.set_num_threads(how.threads)
    run = _Run(trial, Path(os.devnull), where, Progress())
    with seat.taken(where):
        run.run(how.data)


def record_death(
    trial: Trial, attempt: Attempt, device: str, reason: str, signal: str | None
) -> Record:
    """Publish the record of a trial whose process died without a word.

    Args:
        signal: the name of the signal that killed it, if one did.
    """
    try:
        where = find_device(device)
    except BadValue:  # of an attempt on another machine, which is gone
        where = torch.device("cpu")
    record = _Run(trial, attempt.folder, where, Progress()).record
    record |= {"status": "failed", "reason": reason, "signal": signal}
    del record["devices"]  # it did not get to say it
    record["device"] = device.partition(":")[0]
    return attempt.publish({}, record)


def find_device(name: str) -> torch.device:
    """The device of that name.

    Raises:
        BadValue: if this machine has none.
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise BadValue(f"there is no device '{name}' here ({one_line(error)}); try cpu") from error
    return device


class _Run:
    """The steps of one trial. What a step finds out goes to the record and the files at once."""

    def __init__(
        self, trial: Trial, folder: Path, device: torch.device, progress: Progress
    ) -> None:
        numerics.settle(device)
        self.trial, self.folder, self.device, self.progress = trial, folder, device, progress
        self.budget = trial.budget
        self.identity = ""
        self.began = time.perf_counter()
        """Moved back by the time that earlier, killed processes have spent."""
        self.log: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}
        self.about: dict[str, str] = {}
        self.heir: Heir | None = None
        self.record: Record = {
            "schema": SCHEMA,
            "id": trial.id,
            "status": "ok",
            "reason": None,
            **trial.description(),
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            **provenance.commit(),
            **provenance.versions(),
            **provenance.hardware(device),
            "devices": 1,
        }

    def run(self, data: Path | str) -> None:
        with untouched(f"the file of space '{self.trial.space.name}' or its constructor"):
            space, lent = self.space(), self.space()
        with untouched(f"the file of method '{self.trial.method.name}', or what makes one of it"):
            method: SearchStrategy = self.trial.method.make(self.trial.method_options)
        with untouched("`refuses`", Lent(lent)):
            reason = method.refuses(lent)
        self.budget = self.budget.under(method.protocol)
        if reason:
            self.record |= {"status": "refused", "reason": " ".join(str(reason).split())}
            return
        self.progress.enter("load")
        searched, dataset = self.load(data)
        judge = judge_of(self.trial.table, data) if self.trial.table else None
        arch = self.search(space, lent, method, searched, judge)
        if judge:
            self.record |= judged(judge, space, arch)
            self.log = with_regrets(judge, space, self.log)
            return
        with untouched("a network of the space"):
            networks = self.train(space, arch, dataset)
            heirs = self.deploy(space, searched)
        self.test(networks, dataset, heirs, searched)
        is_first = ranks.is_first()
        ranks.leave()
        if is_first:
            self.measure(networks[0], dataset)

    def space(self) -> SearchSpace:
        """A fresh one: what a search has had trains nothing."""
        return self.trial.space.make(self.trial.space_options)

    def load(self, folder: Path | str) -> tuple[Dataset, Dataset]:
        """The dataset at the search's and at the final scale."""

        def at(image: int | None, say: Callable[[str], None]) -> Dataset:
            return load(self.trial.dataset, image=image, device=self.device, folder=folder, say=say)

        searched = dataset = at(self.budget.search.image, self.progress.say)
        if self.budget.final.image != self.budget.search.image:
            dataset = at(self.budget.final.image, lambda _: None)  # the same files
        self.record |= {
            "dataset_fingerprint": dataset.fingerprint,
            "evaluated": "training",
            "train_images": len(dataset.train),
            "test_images": len(dataset.test),
            "classes": dataset.classes,
            "shape": list(dataset.shape),
        }
        sources = [self.trial.method.source, self.trial.space.source, dataset.fingerprint]
        versions = provenance.versions().values()
        sources.append(harness_digest())
        machine: list[Any] = [self.device.type, torch.get_num_threads()]
        if group := ranks.here():
            self.record["devices"] = group.size
            if not group.synchronised:
                self.record["batch_norm"] = "own"
            machine += [group.size, group.synchronised]
        self.identity = canonical([self.trial.id, *sources, *versions, *machine])
        return searched, dataset

    def search(
        self,
        space: SearchSpace,
        lent: SearchSpace,
        method: SearchStrategy,
        dataset: Dataset,
        judge: Judge | None,
    ) -> Architecture:
        """Search, or read what a search that is over has found.

        Args:
            lent: the instance that the search gets; what it finds is to fit `space`.
        """
        spec = space.spec(
            space.fit(self.budget.search), dataset.shape, dataset.classes, final=False
        )
        if judge:
            seen = task_of(judge, dataset, spec, self.budget)
        else:  # one split for all seeds, wherever the images lie
            seen = task(dataset, spec, self.budget, generator(0, "split", dataset.fingerprint))
        self.record |= {"search_images": len(seen.train), "valid_images": len(seen.valid)}
        began, over = time.perf_counter(), self.checkpoint("found")
        weights: dict[str, Tensor] = {}
        if (found := over.load({"heir": weights})) is None:
            found = self.find(space, lent, method, seen, weights, judge)
            over.save({"heir": weights}, found, force=True)
        self.checkpoint("search").remove()
        self.log, front, (lr, epochs) = (found.pop(name) for name in ("log", "front", "finetune"))
        self.record |= found
        self.began -= found["search_seconds"] - (time.perf_counter() - began)
        arch = Architecture.from_json(found["architecture"])
        self.files["arch.json"] = f"{json.dumps(arch.to_json(), indent=2)}\n".encode()
        if front:
            self.files["front.json"] = front_file(front)
        if weights:
            self.heir = Heir(arch, spec, weights, lr, tuple(epochs))
        return arch

    def find(
        self,
        space: SearchSpace,
        lent: SearchSpace,
        method: SearchStrategy,
        seen: Task,
        weights: dict[str, Tensor],
        judge: Judge | None,
    ) -> dict[str, Any]:
        """Run the search; the fields that it adds to the record, its log and its front.

        Args:
            weights: takes those of the network that the search hands on, if it does.
        """
        whole = Lent(lent)
        meter = Meter(self.budget.passes, Watched(self.checkpoint("search"), whole))
        self.progress.enter("search", meter)
        purpose = (self.trial.dataset, self.trial.repetition)  # the same for all methods
        told = judge.told if judge else 0
        if judge:
            seen = replace(seen, scorer=ByTable(judge, meter, self.trial.root_seed, purpose))
        else:
            seen = scored_by_training(seen, lent, self.trial.root_seed, *purpose)
        try:
            with meter, searching(), generators_put_back(), untouched("the search", whole):
                rng = self.rng("search", self.trial.space.name, self.trial.method.name)
                result = check_result(method.search(lent, seen, meter, rng), space)
                check_paid(meter, judge.told - told if judge else 0)
        finally:
            self.log = [{"phase": "search", **entry} for entry in meter.log]
            self.record |= (spent := _spent(meter))
        if result.heir is not None:
            weights |= _weights(result.heir)
        drawn = {}
        if judge:
            drawn = judge.truth.drawn(RANKED, self.rng("ranking", self.trial.dataset))
        learned = meter.learned.fields(space, result.best, seen, drawn) if meter.learned else {}
        fields = result_fields(result)
        if meter.unspent:
            fields["notes"] = {"unspent": meter.unspent, **fields["notes"]}
        return spent | fields | {"learned": learned, "log": self.log}

    def train(self, space: SearchSpace, arch: Architecture, dataset: Dataset) -> list[Network]:
        """Build the derived network, count its cost, and train it from scratch, once for each training seed.

        The first is as if it were the only one, and is the one whose weights are kept.
        """
        recipe = self.recipe(space, dataset)
        recipe = replace(recipe, epochs=self.budget.epochs or recipe.epochs)
        spec = space.spec(space.fit(self.budget.final), dataset.shape, dataset.classes, final=True)
        spec = replace(spec, auxiliary=recipe.auxiliary > 0)

        # Neither the method nor the space is part of these purposes: all train alike.
        def build(ending: str, precision: str) -> Network:
            network = space.network(arch, spec, self.rng(f"initialise{ending}", self.trial.dataset))
            network.precision = Precision(precision)
            return network.to(self.device)

        endings = ["", *(f"-{number}" for number in range(2, self.budget.train_seeds + 1))]
        networks = [build(ending, recipe.precision) for ending in endings]
        self.record |= costs(ledger(networks[0], dataset.shape))
        results = [
            self.follow(recipe, network, partial(build, ending), dataset, ending)
            for ending, network in zip(endings, networks, strict=True)
        ]
        self.record |= {
            "recipe": asdict(recipe),
            "train_loss": fmean(result.loss for result in results),
            "train_seconds": round(sum(result.seconds for result in results), 3),
        }
        self.about = about(label(space.name, self.trial.space_options), arch, spec)
        built = {"architecture": arch.to_json(), "spec": asdict(spec)}
        self.files["weights.safetensors"] = safetensors.torch.save(
            _weights(networks[0]), {"bnas_bench": canonical(built)}
        )
        return networks

    def deploy(self, space: SearchSpace, dataset: Dataset) -> dict[int, Network]:
        """The networks with inherited weights, by the epochs of fine-tuning; none without an heir."""
        if (heir := self.heir) is None:
            return {}
        return heir.deploy(
            lambda: heir.network(space, self.rng("heir", self.trial.dataset), self.device),
            self.recipe(space, dataset),
            lambda network, recipe, name: self.fit(network, dataset, recipe, name),
        )

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

    def recipe(self, space: SearchSpace, dataset: Dataset) -> Recipe:
        """The space's, with what the budget replaces of it; the epochs stay the space's own."""
        recipe = space.recipe(dataset.shape)
        size = self.budget.train_batch or recipe.batch_size
        return replace(recipe, batch_size=size, **self.budget.recipe)  # type: ignore[arg-type]

    def follow(
        self,
        recipe: Recipe,
        network: Network,
        build: Callable[[str], Network],
        dataset: Dataset,
        ending: str,
    ) -> TrainResult:
        """Train a network by a recipe, behind a teacher and in two steps where it says so.

        Args:
            build: the network as it starts, at a precision.
            ending: of the names that tell it from the other trainings.
        """
        teacher, seconds = None, 0.0
        if recipe.teacher != "none" and Precision(recipe.precision).weight_bits == 1:
            teacher = build("W32A32")
            seconds += self.fit(teacher, dataset, recipe, f"teacher{ending}").seconds
        if recipe.first != "none":
            network.precision = Precision(recipe.first)
            seconds += self.fit(network, dataset, recipe, f"first{ending}", teacher).seconds
            network.precision = Precision(recipe.precision)
            recipe = replace(recipe, weight_decay=0.0)
        result = self.fit(network, dataset, recipe, f"train{ending}", teacher)
        return replace(result, seconds=seconds + result.seconds)

    def fit(
        self,
        network: Network,
        dataset: Dataset,
        recipe: Recipe,
        name: str,
        teacher: Network | None = None,
    ) -> TrainResult:
        """Train a network, or go on with its training that was killed."""
        self.progress.enter(name)
        began = time.perf_counter()
        order, checkpoint = self.rng(name, self.trial.dataset), self.checkpoint(name)
        result = train(
            network,
            dataset,
            recipe,
            order,
            checkpoint,
            teacher=teacher,
            tell=self.progress.advance,
        )
        self.began -= result.seconds - (time.perf_counter() - began)
        self.log += [{"phase": name, **entry} for entry in result.log]
        return result

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

    def finished(self) -> Record:
        """The record, with what is known only at the end; adds the log to the files."""
        if self.log:
            lines = (f"{json.dumps(entry)}\n" for entry in self.log)
            self.files["log.jsonl"] = "".join(lines).encode()
        digests = {
            field: sha256(self.files[name]) for name, field in DIGESTS.items() if name in self.files
        }
        seconds = {"seconds": round(time.perf_counter() - self.began, 3)}
        return self.record | digests | provenance.peaks(self.device) | seconds

    def rng(self, *purpose: str) -> np.random.Generator:
        return generator(self.trial.root_seed, *purpose, self.trial.repetition)

    def checkpoint(self, name: str) -> Checkpoint:
        path = self.folder / f"{name}{CHECKPOINT}"
        return Checkpoint(path, identity=self.identity, say=self.progress.say)


def _spent(meter: Meter) -> Record:
    return {
        "passes": round(meter.spent, 2),
        "search_seconds": round(meter.seconds, 3),
        "harness_seconds": round(meter.harness_seconds, 3),
        "search_step_mib": meter.step_bytes and round(meter.step_bytes / 2**20, 3),
    }


def _weights(network: Network) -> dict[str, Tensor]:
    """A network's whole state, on the CPU."""
    return {name: tensor.cpu().clone() for name, tensor in network.state_dict().items()}


def _percent(part: float) -> float:
    return round(100 * float(part), 6)

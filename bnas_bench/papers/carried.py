"""The transfers behind an artefact's rows: its trials' networks, carried to what its columns report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bnas_bench.core.errors import BenchError
from bnas_bench.papers.artefact import TRANSFER
from bnas_bench.papers.plan import Plan
from bnas_bench.runs.store import Record, Store
from bnas_bench.runs.trial import Trial

if TYPE_CHECKING:
    from bnas_bench.core.budget import Budget
    from bnas_bench.runs.transferring import Transfer
    from bnas_bench.transfer.downstream import Downstream

Tasks = Mapping[tuple[str, str], "Downstream[Any] | BenchError"]
"""By the name of a task and of a budget; why there is none, where its data are not there."""


def tasks(
    plans: Sequence[Plan], make: Callable[[str, Budget], Downstream[Any] | BenchError]
) -> Tasks:
    """Every task that these artefacts' networks are carried to, made before anything is run."""
    return {
        (here, trial.budget.name): made
        for plan in plans
        for here in dict.fromkeys(plan.tasks.values())
        for trial in {trial.budget.name: trial for trial in plan.trials}.values()
        for made in [make(here, trial.budget)]
    }


def with_transfers(
    plans: Sequence[Plan],
    trials: Sequence[Trial],
    records: Sequence[Record],
    store: Store,
    made: Tasks,
    carry: Callable[[Transfer], Mapping[str, Any] | None],
) -> Iterator[Record]:
    """The records of trials, with what the networks of those that went well were carried to.

    Args:
        carry: the record of a transfer, if there is one.
    """
    wanted: dict[str, dict[str, str]] = {}
    for plan in plans:
        for trial in plan.trials:
            wanted.setdefault(trial.id, {}).update(plan.tasks)
    for trial, record in zip(trials, records, strict=True):
        if not wanted[trial.id] or record.get("status") != "ok":
            yield record
            continue
        found = {
            here: _values(trial, here, store, made, carry)
            for here in dict.fromkeys(wanted[trial.id].values())
        }
        yield record | {TRANSFER: {task: found[here] for task, here in wanted[trial.id].items()}}


def _values(
    trial: Trial,
    here: str,
    store: Store,
    made: Tasks,
    carry: Callable[[Transfer], Mapping[str, Any] | None],
) -> Mapping[str, Any]:
    """The task that a network was carried to, with its values there, or the reason why it has none."""
    from bnas_bench.runs.backbones import of_trial
    from bnas_bench.runs.transferring import Transfer

    task = made[here, trial.budget.name]
    try:
        if isinstance(task, BenchError):
            raise task
        backbone = of_trial(store.folder(trial.id), trial.space)
        asked = Transfer(backbone=backbone, task=task, folder=store.root, seed=trial.repetition)
        record = carry(asked)
    except BenchError as error:
        return {"task": here, "reason": str(error)}
    if record is None:
        return {"task": here, "reason": "was not transferred"}
    return {"task": here, **record["test"], "ops": record["ops"], "memory": record["memory"]}

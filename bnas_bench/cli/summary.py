"""A trial on one screen: what came out, what it costs, how it got there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from bnas_bench.analysis.measures import CROWDED, is_crowded
from bnas_bench.analysis.searches import incumbents, losses
from bnas_bench.cli.durations import took
from bnas_bench.plugins.recorded import defaults
from bnas_bench.runs.store import Record, Store

BLOCKS = "▁▂▃▄▅▆▇█"

WIDEST = 40
"""Signs of a curve."""

UNITS = {"latency_ms": "simulated in floats", "packed_latency_ms": "as bits, on 1 thread"}


def trial_lines(folder: Path, record: Record) -> Iterator[str]:
    """What the record of a trial says, and its curves."""
    from bnas_bench.analysis.summary import labelled, machine

    method, space = (labelled(record, kind, defaults) for kind in ("method", "space"))
    seed = f"seed {record['seed']}" + (f" of root {r}" if (r := record["root_seed"]) else "")
    yield f"{method} on {space}, {record['dataset']}, budget {record['budget']}, {seed}"
    if record["status"] != "ok":
        yield _row(record["status"], record["reason"] or "")
        return
    yield _row("result", ", ".join(_result(record)))
    yield _row("costs", ", ".join(_costs(record)))
    doubt = f" ({CROWDED})" if is_crowded(record) else ""
    for field, what in UNITS.items():
        if record.get(field) is not None:
            yield _row("latency", f"{record[field]:,.2f} ms {what}{doubt}")
    if reason := record.get("packed_reason"):
        yield _row("latency", f"none as bits: {reason}")
    yield _row("search", f"{record['passes']:,.0f} passes in {took(record['search_seconds'])}")
    if record["train_seconds"]:
        yield _row("training", took(record["train_seconds"]))
    store = Store(folder.parent.parent)
    _, valid = incumbents(store, folder.name)
    if valid:
        n = f"of {len(valid)} incumbents" if len(valid) > 1 else "of the incumbent"
        yield _row("valid", f"{spark(valid)}  {valid[0]:.1f} to {valid[-1]:.1f} %, {n}")
    if loss := losses(store, folder.name):
        yield _row("loss", f"{spark(loss)}  {loss[0]:.3g} to {loss[-1]:.3g}, by epoch of training")
    commit = str(record["commit"] or "no commit")[:10]
    dirty = " with changes" if record.get("dirty") else ""
    yield _row("where", f"{machine(record)}, commit {commit}{dirty}, {record.get('when', '')}")


def _row(title: str, text: str) -> str:
    return f"{title:9} {text}"


def _result(record: Record) -> Iterator[str]:
    known = {
        "test_accuracy": "of the test images",
        "valid_accuracy": "of the validation images, as the search saw it",
        "inherited_test_accuracy": "of the test images with inherited weights",
    }
    for field, what in known.items():
        if (value := record.get(field)) is not None:
            yield f"{value:.2f} % {what}"
    if (regret := record.get("regret")) is not None:
        yield f"{regret:.2f} points below the best of the table"


def _costs(record: Record) -> Iterator[str]:
    yield f"{record['ops']['nas-bnn'] / 1e6:,.3f} M OPs (nas-bnn)"
    yield f"{record['parameters']:,} parameters"
    yield f"{record['memory_bits'] / 8192:,.1f} KiB"
    if size := record.get("packed_bytes"):
        yield f"{size:,} bytes packed"


def spark(values: Sequence[float]) -> str:
    """A curve in a line of blocks, its ends at the least and the largest value.

    Of more than `WIDEST` values as many are taken, the first and the last among them.
    """
    if len(values) > WIDEST:
        last = len(values) - 1
        values = [values[round(k * last / (WIDEST - 1))] for k in range(WIDEST)]
    low, high = min(values), max(values)
    steps = len(BLOCKS) - 1
    return "".join(
        BLOCKS[round((value - low) / (high - low) * steps) if high > low else 0] for value in values
    )

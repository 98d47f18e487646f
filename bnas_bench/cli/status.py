"""Commands on what lies in a folder of results: how far its trials are, and taking some away."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import click

from bnas_bench.cli.completion import NAME
from bnas_bench.cli.durations import about, result, stage
from bnas_bench.cli.lists import WIDE, width
from bnas_bench.cli.running import RESULTS
from bnas_bench.core.errors import BadValue, UnknownName
from bnas_bench.runs import folders, seen, slurm
from bnas_bench.runs.seen import ORDER, Seen

COLOURS = {"running": "cyan", "killed": "yellow", "failed": "red", "damaged": "red", "ok": "green"}


@click.command()
@click.argument("name", default="local", shell_complete=NAME)
@RESULTS
@click.option("--json", "as_json", is_flag=True, help="A list of trials, for programs.")
def status(name: str, results: Path, as_json: bool) -> None:
    """Say how far the trials of NAME's results are, and how they ended.

    running: a process is at work on it; waiting: asked for and not begun; killed: begun and without a
    process, and the same command of `run` goes on with it; failed: it ended by an error of its own;
    refused: the method cannot run there; damaged: a file of it cannot be trusted.
    """
    store = folders.named(name, results)
    found = _with_queue(seen.look(store), slurm.queued(store))
    if as_json:
        click.echo(json.dumps([_plain(one) for one in found], indent=2))
        return
    most = width(WIDE)
    for one in found:
        word = click.style(f"{one.word:7}", COLOURS.get(one.word))
        click.echo(f"{word}  {one.id}  {_fitting(told(one), most - len(one.id) - 11)}".rstrip())
    counts = Counter(one.word for one in found)
    click.echo(", ".join(f"{counts[word]} {word}" for word in ORDER if counts[word]))


def _with_queue(found: Sequence[Seen], queued: Mapping[str, str]) -> list[Seen]:
    """Trials, where those that SLURM has are not killed but wait for it."""
    return [
        replace(one, word="waiting", phase="", reason=f"{queued[one.id]}{_begun(one)}")
        if one.id in queued and one.word in ("waiting", "killed")
        else one
        for one in found
    ]


def _begun(one: Seen) -> str:
    return f", {stage(one.phase, one.done)}" if one.phase else ""


def _fitting(facts: Sequence[str], most: int) -> str:
    """As many facts as there is room for, and the first wherever it ends."""
    while len(facts) > 1 and len(", ".join(facts)) > most:
        facts = facts[:-1]
    return ", ".join(facts)


def told(one: Seen) -> list[str]:
    """What a trial came to or is at, and since when."""
    facts = []
    if one.word == "ok" and one.record:
        facts += result(one.record).split(", ")
    elif one.reason:
        facts.append(one.reason)
    elif one.phase:
        facts.append(stage(one.phase, one.done))
    if one.age is not None:
        since = about(one.age).removeprefix("about ")
        facts.append(f"for {since}" if one.word in ("running", "waiting") else f"{since} ago")
    return facts


def _plain(one: Seen) -> dict[str, object]:
    record = one.record or {}
    return {
        "id": one.id,
        "state": one.word,
        "phase": one.phase or None,
        "share": one.done if one.phase else None,
        "progress": one.text or None,
        "age_seconds": None if one.age is None else round(one.age, 1),
        "reason": one.reason or None,
        "test_accuracy": record.get("test_accuracy"),
        "seconds": record.get("seconds"),
    }


@click.command()
@click.argument("name", default="local", shell_complete=NAME)
@RESULTS
@click.option(
    "--all", "every", is_flag=True, help="Also those that were timed alone, or on another machine."
)
def retime(name: str, results: Path, every: bool) -> None:
    """Measure latencies of NAME's results again, one network at a time, on a quiet machine.

    Those that were timed beside other work, if nothing else is said. It stops where the machine is not
    quiet; what was measured before stays in the record.
    """
    from bnas_bench.analysis.measures import is_crowded
    from bnas_bench.runs.retime import check_quiet
    from bnas_bench.runs.retime import retime as measure

    store, chosen = folders.named(name, results), []
    for one in seen.look(store):
        record = one.record or {}
        if record.get("latency_ms") is not None and (every or is_crowded(record)):
            chosen.append(one.id)
    if not chosen:
        click.echo(f"nothing to time: no latency of {name} is unreliable")
        return
    check_quiet()
    for place, trial_id in enumerate(chosen, 1):
        before, now = measure(store, trial_id)
        changes = [
            f"{what} {before[field]:,.2f} -> {now[field]:,.2f} ms"
            for field, what in (("packed_latency_ms", "packed"), ("latency_ms", "simulated"))
            if before.get(field) is not None and now.get(field) is not None
        ]
        click.echo(f"{place} of {len(chosen)} {trial_id}: {', '.join(changes)}")


@click.command()
@click.argument("name", shell_complete=NAME)
@click.argument("trials", nargs=-1)
@RESULTS
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([word for word in ORDER if word != "running"]),
    help="Only trials in this state; may be repeated.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove(
    name: str, trials: Sequence[str], results: Path, states: Sequence[str], yes: bool
) -> None:
    """Remove NAME's results from the disk, or some TRIALS of them, by their ids.

    Trials that run are left alone: stop them first. What `--rerun` has kept aside goes with the whole.
    """
    store = folders.named(name, results)
    found = {one.id: one for one in seen.look(store)}
    for trial in trials:
        if trial not in found:
            raise UnknownName(f"trial of {name}", trial, found)
    chosen = [
        one
        for one in found.values()
        if (not trials or one.id in trials) and (not states or one.word in states)
    ]
    if running := [one.id for one in chosen if one.word == "running"]:
        raise BadValue(
            f"{running[0]} is running: stop the command that runs it, and then remove it"
        )
    if not chosen:
        raise BadValue(
            f"no trial of '{name}' is in such a state: bnas-bench status {name} lists them"
        )
    if not yes:
        click.confirm(f"remove {len(chosen)} of {len(found)} trials of {store.root}?", abort=True)
    if len(chosen) == len(found):
        seen.remove_all(store)
    else:
        seen.remove(store, [one.id for one in chosen])
    click.echo(f"removed {len(chosen)} trials of {name}")

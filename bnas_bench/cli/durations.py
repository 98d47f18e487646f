"""Times and results as a person says them."""

from __future__ import annotations

from bnas_bench.runs.record import Record


def took(seconds: float) -> str:
    """A time that was measured: `9.4 s`, `1 min 58 s`, `3 h 05 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02} min"


def about(seconds: float) -> str:
    """A time that was estimated, no finer than it is known: `about 40 s`, `about 4 min`."""
    if seconds < 90:
        return f"about {max(10, round(seconds, -1)):.0f} s"
    if seconds < 3600:
        return f"about {round(seconds / 60)} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"about {hours} h {minutes:02} min" if hours < 24 else f"about {round(hours / 24)} days"


def result(record: Record) -> str:
    """What a finished trial came to: `95.8 %, 0.45 M OPs, 1 min 58 s`."""
    ops = record["ops"]["nas-bnn"] / 1e6
    facts = [f"{record['test_accuracy']:.1f} %", f"{ops:,.{2 if ops >= 0.01 else 4}f} M OPs"]
    return ", ".join([*facts, *([took(record["seconds"])] if "seconds" in record else [])])


def stage(phase: str, done: float) -> str:
    """What a trial is at: `search 40%`, and without a share where nobody counts, `measure`."""
    return f"{phase} {done:.0%}" if phase in ("search", "train") else phase

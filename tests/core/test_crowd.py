"""How many cores other work keeps busy while something is timed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bnas_bench.core import crowd
from bnas_bench.core.crowd import Others, Reading

STAT = """cpu  99 99 99 99 99 99 99 99 99 99
cpu0 100 20 30 5000 600 7 8 9 50 60
cpu1 200 0 0 9000 0 0 0 0 0 0
cpu12 400 0 0 9000 0 0 0 0 0 0
intr 5 cpu1
"""


def test_only_work_of_the_own_cores_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stat").write_text(STAT)
    monkeypatch.setattr(crowd, "STAT", tmp_path / "stat")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 12})
    monkeypatch.setattr(os, "sysconf", lambda _: 100)
    found = Reading.now()
    assert found is not None
    # cpu0: user 100, nice 20, system 30, interrupts 7 and 8, stolen 9; guests are part of user.
    assert found.busy == pytest.approx((174 + 400) / 100)
    monkeypatch.setattr(crowd, "STAT", tmp_path / "none")
    assert Reading.now() is None
    with Others() as others:
        pass
    assert others.cores is None


def test_others_are_what_is_not_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter([Reading(10.0, 100.0, 5.0), Reading(14.0, 106.0, 8.0)])
    monkeypatch.setattr(Reading, "now", lambda: next(readings))
    with Others() as others:
        pass
    assert others.cores == 0.75  # three of the six seconds of work, in four of the clock


@pytest.mark.skipif(not crowd.STAT.exists(), reason="the system does not tell")
def test_a_process_beside_is_seen() -> None:
    work = "import time\nwhile True: pass"
    beside = subprocess.Popen([sys.executable, "-c", work])
    try:
        began = time.process_time()
        with Others() as others:
            ended = time.perf_counter() + 1.0
            while time.perf_counter() < ended:  # own work is not the others'
                pass
        assert time.process_time() > began
    finally:
        beside.kill()
        beside.wait()
    assert others.cores is not None
    assert others.cores > 0.25

"""What a search leaves running: no trial waits for it."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from bnas_bench.runs.grid import run_trials
from bnas_bench.runs.store import Store
from tests.helpers.trials import ALONE, BUDGET, toy_trial

SMALL = replace(BUDGET, passes=600, epochs=1)


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    "left",
    [
        "import os, time; os.fork() or (time.sleep(300), os._exit(0))",
        "import threading, time; threading.Thread(target=lambda: __import__('time').sleep(300)).start()",
        "import atexit, time; atexit.register(time.sleep, 300)",
    ],
    ids=["process", "thread", "atexit"],
)
def test_what_a_search_leaves_running_holds_nothing_up(tmp_path: Path, left: str) -> None:
    began = time.perf_counter()
    for _ in run_trials([toy_trial(SMALL, meddle=left, meddle_at=-1)], tmp_path, ALONE):
        pass
    assert time.perf_counter() - began < 240
    assert Store(tmp_path).ids()

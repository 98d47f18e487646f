"""A cluster of Ray: how it is joined or started, and what has room in it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import current_thread, main_thread
from typing import Any

from bnas_bench.core.errors import BadValue, brief
from bnas_bench.runs.how import How

ANSWER = 60.0
"""Seconds within which an address is to answer; Ray itself waits for minutes, and ends the process."""

TRIES = 3
"""Workers that may die one after the other before they have said who they are."""

PROBE = "import sys, ray; ray.init(sys.argv[1], log_to_driver=False, logging_level='ERROR')"


def connected(address: str | None) -> Any:
    """Ray, as a member of a cluster."""
    try:
        import ray
    except ImportError as error:
        raise BadValue(
            f"--backend ray finds no Ray here ({error}): pip install 'bnas-bench[ray]'"
        ) from None
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address is not None:
        if not re.fullmatch(r"auto|[\w.-]+:\d{1,5}", address):
            raise BadValue(
                f"'{brief(address)}' is no address of a Ray cluster: write HOST:PORT, or auto"
            )
        _check_answer(address)
    more = {} if address else {"include_dashboard": False}
    with handlers_kept():
        try:
            ray.init(address or "local", log_to_driver=False, logging_level="ERROR", **more)
        except Exception as error:
            raise BadValue(f"Ray does not start here ({' '.join(str(error).split())})") from error
    return ray


def _check_answer(address: str) -> None:
    """Raises BadValue if no cluster answers; another process tries, as Ray ends the one in which it fails."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROBE, address],
            capture_output=True,
            text=True,
            check=False,
            timeout=ANSWER,
        )
    except subprocess.TimeoutExpired:
        why = f"no answer within {ANSWER:.0f} seconds"
    else:
        if done.returncode == 0:
            return
        why = (done.stderr.split("\n")[-2:] or [""])[0].strip() or f"exit code {done.returncode}"
    raise BadValue(
        f"no Ray cluster can be joined at '{address}' ({why}): ray status says where one is, and this "
        "machine is to be a node of it"
    )


def check_start(error: Exception, died: int) -> None:
    """Raises BadValue if no worker will ever start."""
    text = " ".join(str(error).split())
    if found := re.search(r"No module named '[\w.]+'", text):
        raise BadValue(f"a worker of Ray lacks bnas-bench ({found[0]}): install the same there")
    if died > TRIES:
        raise BadValue(f"workers of Ray die as they start ({text[:300]}): see the cluster's logs")


def slots(nodes: Sequence[dict[str, float]], how: How) -> tuple[int, bool]:
    """Trials that fit side by side, and whether each has GPUs."""
    gpu = how.device == "cuda" or (
        how.device == "auto" and any(n.get("GPU", 0) >= 1 for n in nodes)
    )
    fits = [int(node.get("CPU", 0) // (how.threads * how.devices)) for node in nodes]
    if gpu:
        fits = [
            min(fit, int(node.get("GPU", 0) // how.devices))
            for fit, node in zip(fits, nodes, strict=True)
        ]
    return sum(fits), gpu


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Ray takes SIGTERM for itself."""
    if current_thread() is not main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

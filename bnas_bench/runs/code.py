"""By which code trials are run, so that no machine of a cluster runs another."""

from __future__ import annotations

import platform
import socket
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

from bnas_bench.core.files import canonical, sha256
from bnas_bench.plugins.registry import Plugin
from bnas_bench.plugins.source import harness_digest
from bnas_bench.runs.trial import Trial


def code_of(trials: Iterable[Trial]) -> str:
    """A digest of what trials are run by: harness, methods and spaces, and the versions of what they use."""
    return code_of_plugins(plugin for trial in trials for plugin in (trial.method, trial.space))


def code_of_plugins(plugins: Iterable[Plugin]) -> str:
    """The same, of these methods and spaces."""
    sources = sorted({(plugin.name, plugin.source) for plugin in plugins})
    versions = {"python": platform.python_version()}
    for package in ("torch", "torchvision", "numpy"):
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return sha256(canonical([harness_digest(), sources, versions]).encode())[:12]


def other_code(found: str, expected: str) -> str:
    """The sentence of a machine that has other code; empty if it has the same."""
    if found == expected:
        return ""
    return (
        f"{socket.gethostname()} has other code, plug-ins or versions ({found}) than where the trials "
        f"were submitted ({expected}): install the same there, or submit them again"
    )

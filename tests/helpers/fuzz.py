"""Hostile and harmless inputs for the commands, drawn from a seed, and how their ends are judged."""

from __future__ import annotations

import json
import resource
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner, Result

from bnas_bench.cli import main
from bnas_bench.core.budgets import BUDGETS
from bnas_bench.core.files import sha256
from bnas_bench.plugins.registry import discover, find
from bnas_bench.plugins.spec import budget_fields, label
from bnas_bench.runs.store import Record, Store
from bnas_bench.search.space import SearchSpace
from tests.helpers.records import done, trials, unchecked

Rng = np.random.Generator

SECONDS = 10
"""Of a CPU, that an input may take; and MOST seconds of a clock, where it waits for something."""
MOST = 120

MEMORY = 6 * 2**30
"""Bytes by which an input may not grow: a request for more fails at once, as it would on a small machine."""

GOOD, REFUSED, ANY = frozenset({0}), frozenset({2}), frozenset({0, 1, 2})


@dataclass(frozen=True)
class Input:
    """A command line, and the exit codes with which it may end."""

    arguments: tuple[str, ...]
    ends: frozenset[int]


class Hangs(BaseException):
    """What no command catches."""


@contextmanager
def limits() -> Iterator[None]:
    """Within it a command is stopped that takes too long or too much."""

    def stop(*_: object) -> None:
        raise Hangs

    timers = {
        signal.SIGPROF: (signal.ITIMER_PROF, SECONDS),
        signal.SIGALRM: (signal.ITIMER_REAL, MOST),
    }
    before = {number: signal.signal(number, stop) for number in timers}
    memory = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, memory[1]))
    for timer, seconds in timers.values():
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for timer, _ in timers.values():
            signal.setitimer(timer, 0)
        resource.setrlimit(resource.RLIMIT_AS, memory)
        for number, handler in before.items():
            signal.signal(number, handler)


def fault(given: Input) -> str | None:
    """What is wrong with how an input ends: a traceback, a hang, a wrong exit code, an ugly refusal."""
    try:
        with limits():
            result = CliRunner().invoke(main, list(given.arguments))
    except Hangs:
        return "hangs"
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return f"raises {type(result.exception).__name__}: {str(result.exception)[:200]}"
    if result.exit_code not in given.ends:
        return f"ends with {result.exit_code}: {result.output[-300:]}"
    return _ugly(result) if result.exit_code == 2 else None


def _ugly(result: Result) -> str | None:
    lines = result.stderr.splitlines()
    if lines and lines[0].startswith("Usage: "):
        return None if lines[-1].startswith("Error: ") else f"ends its usage with {lines[-1]!r}"
    if len(lines) != 1 or not lines[0].startswith("bnas-bench: "):
        return f"says {result.stderr[:300]!r}"
    return "sends control characters" if not lines[0].isprintable() else None


NUMBERS = (
    *(
        "nan",
        "inf",
        "-inf",
        "1e999",
        "9" * 5000,
        "1e-999x",
        "0x10",
        "--1",
        "1_0_",
        "½x",
        "[1]",
        "+",
    ),
    *("true1", "None+", "1+1+", "'5'", "{}", "$(id)", "1;2", "\x1b[31m5"),
)
"""None of these is a number."""

HOSTILE = (
    *(
        "[bold]x[/bold]",
        "[/]",
        "\x1b[2J\x1b]0;t\x07",
        "<script>alert(1)</script>",
        "</title>&#0;",
        "\\input{/etc/passwd}",
    ),
    *(
        "${jndi:x}",
        "%s%n",
        "a\nb\rc",
        "\u202eevil",
        "é" * 300,
        "\ud800",
        "x" * 10_000,
        "../../up",
        "| `id` |",
        "$\\alpha^{",
    ),
    *("\u2028", "", " ", "-", "--", "=", ",", ";", "'", '"', "\\", "/", "~", "*", "a b", "nan"),
)
DEEP = ("[" * 100_000, "{" * 1000, "(" * 5000, "[" * 500 + "]" * 500, '{"a":' * 3000)
TOKENS = (
    *(
        "random",
        "dcpnas",
        "darts-binary",
        "all",
        "quick",
        "smoke",
        "[",
        "]",
        "=",
        ",",
        "+",
        ":",
        ".",
        "lam",
    ),
    *(
        "passes",
        "recipe.cutout",
        "0",
        "-1",
        "1e4",
        "true",
        "none",
        " ",
        "\n",
        "λ",
        ".py",
        "file.py:X",
        "'",
        "(",
    ),
)


def pick(rng: Rng, some: Sequence[Any]) -> Any:
    return some[rng.integers(len(some))]


def noise(rng: Rng) -> str:
    """A few tokens of the language of options, in no order; or something hostile."""
    match rng.integers(5):
        case 0:
            return pick(rng, HOSTILE)
        case 1:
            return pick(rng, DEEP)
        case _:
            return "".join(pick(rng, TOKENS) for _ in range(rng.integers(1, 9)))


def edited(rng: Rng, text: str) -> str:
    """A text with one stretch removed, doubled, or replaced by something else."""
    first = int(rng.integers(len(text)))
    last = min(len(text), first + int(rng.integers(1, 12)))
    middle = ("", text[first:last] * 2, noise(rng)[:200], chr(int(rng.integers(1, 0x3000))))
    return text[:first] + pick(rng, middle) + text[last:]


def specs(rng: Rng) -> Input:
    """Methods, spaces and budgets of `run --dry-run`."""
    kind = pick(rng, ("method", "space", "budget"))
    if kind == "budget":
        name = pick(rng, [*BUDGETS])
        defaults = {k: v for k, v in budget_fields(BUDGETS[name]).items() if v is not None}
    else:
        plugin = pick(rng, [*discover(kind).values()])
        name, defaults = plugin.name, plugin.defaults
    numbers = [
        k for k, v in defaults.items() if isinstance(v, int | float) and not isinstance(v, bool)
    ]
    key = pick(rng, numbers) if numbers else "none"
    match rng.integers(6):
        case 0:
            text, ends = label(name, {} if kind == "budget" else defaults), GOOD
        case 1:
            text, ends = f"{name}[{key}={pick(rng, NUMBERS)}]", REFUSED
        case 2:
            wrong = (
                f"no-{name}",
                f"{name}[no-{key}=1]",
                f"{name}[{key}=]",
                f"{name}[{key}",
                f"{name}]",
            )
            text, ends = pick(rng, wrong), REFUSED
        case 3:
            text, ends = f"{name}[{key}={defaults.get(key, 1)},{key}=1]", REFUSED
        case 4:
            text, ends = edited(rng, label(name, defaults)), ANY
        case _:
            text, ends = noise(rng), ANY
    others = () if kind == "method" else ("--method", "random")
    return Input(("run", f"--{kind}={text}", *others, "--seeds=1", "--dry-run"), ends)


@cache
def space_of(name: str) -> SearchSpace:
    plugin = find("space", name)
    return plugin.make(plugin.defaults)


def genotypes(rng: Rng) -> Input:
    """Architectures in DARTS' text form."""
    space: Any = space_of("darts-binary")
    text = space.genotype(space.sample(rng))
    match rng.integers(4):
        case 0:
            return Input(("show", text), GOOD)
        case 1:
            place = text.index("'", text.index("[") + 1) + 1
            op, number = text[place : text.index("'", place)], int(rng.integers(6, 10**9))
            wrong = (
                text.replace(op, pick(rng, ("none_", "../x", "λ", "[red]", "sep_conv_9x9")), 1),
                text.replace("0)", f"{number})"),
                text.replace("[(", "[", 1),
                text.replace("normal=", "abnormal="),
                text[: int(rng.integers(9, len(text)))],
                f"Genotype({pick(rng, DEEP)}",
                f"Genotype({'(' * 200}1{')' * 200})",
            )
            return Input(("show", pick(rng, wrong)), REFUSED)
        case 2:
            return Input(("show", "--space=darts-binary", edited(rng, text)), ANY)
        case _:
            return Input(("measure", *SMALL, f"Genotype({noise(rng)})"), REFUSED)


SMALL = ("--input=3x32x32", "--channels=4", "--cells=2", "--classes=10")


def architectures(rng: Rng) -> Input:
    """Architectures as JSON, of every space."""
    name = pick(rng, [*discover("space")])
    value = space_of(name).sample(rng).to_json()
    decision = pick(rng, [*value["choices"]])
    good, choices = json.dumps(value), value["choices"]
    command = pick(rng, ("show", "show", "show", "measure"))
    match rng.integers(4):
        case 0:
            return Input(("show", good), GOOD)
        case 1:
            junk: list[Any] = [None, 1, float("nan"), [], {}, [[[]]], "no-such", pick(rng, HOSTILE)]
            part = pick(rng, junk)
            wrong = (
                value | {"choices": choices | {decision: part}},
                value | {"choices": choices | {"no such": "x"}},
                value | {"choices": part},
                value | {"more": part},
                value | {"space": pick(rng, ("evil.py:Evil", "no-space", "../x", "a\0b"))},
            )
            return Input((command, json.dumps(pick(rng, wrong))), REFUSED)
        case 2:
            wrong_text = (good[: int(rng.integers(1, len(good)))], "{" + pick(rng, DEEP), good * 2)
            return Input((command, pick(rng, wrong_text)), REFUSED)
        case _:
            return Input(("show", edited(rng, good)), ANY)


def options(rng: Rng) -> Input:
    """Options of all commands: numbers of no network, names that lead elsewhere, paths of another kind."""
    huge = pick(rng, ("99999999999", "9" * 30, "9" * 5000, "18446744073709551616", "2147483648"))
    bad = pick(rng, ("0", "-1", "x", "nan", "1e3x", "", "½"))
    number = pick(rng, (huge, bad))
    size = pick(rng, ("--classes", "--cells", "--channels"))
    shape = pick(
        rng, (f"3x{huge}x8", f"3x8x{bad}", f"{huge}x8x8", "3x8", "3x8x8x8", "3×8×8", "", "x")
    )
    path = pick(
        rng, ("/dev/null/x", "/proc/none/x", "no/such/file", "n" * 300, "a\nb", "/", "\udcff")
    )
    up = pick(rng, ("../up", "a/b", "..", "", ".", "/tmp/x", "n" * 300, "-x", "a\nb"))
    model = ("--space=handcrafted", "reactnet-a")
    run = ("run", "--method=random", "--dry-run")
    forms: Sequence[tuple[tuple[str, ...], frozenset[int]]] = (
        (("measure", *model, f"{size}={number}"), REFUSED),
        (("measure", *model, f"--input={shape}"), REFUSED),
        (("latency", *model, f"--input={shape}"), REFUSED),
        (("pack", *model, "-o", "net.bnn", f"{size}={number}"), REFUSED),
        (("measure", "torchvision:resnet18", f"--classes={huge}"), REFUSED),
        (("measure", f"torchvision:{noise(rng)}"), REFUSED),
        (("show", path), REFUSED),
        (("measure", path), REFUSED),
        (("latency", path), REFUSED),
        (("pack", path, "-o", "net.bnn"), REFUSED),
        (("table", "--results", path), REFUSED),
        (("report", up, "--results", path), REFUSED),
        (("show", "--space=handcrafted", "reactnet-a", "-o", path), REFUSED),
        ((*run, f"--name={up}"), REFUSED),
        ((*run, f"--seeds={bad}"), REFUSED),
        ((*run, "--seeds=2", f"--threads={bad}"), REFUSED),
        ((*run, f"--dataset={noise(rng)[:50]}-no"), REFUSED),
        ((*run, f"--set={noise(rng)}"), ANY),
        (("reproduce", "dcp-nas/table-4", "--dry-run", f"--budget={bad}"), REFUSED),
        (("reproduce", noise(rng), "--dry-run"), REFUSED),
        (("papers", f"{noise(rng)}/x"), REFUSED),
        (("audit", f"{noise(rng)}/x"), REFUSED),
        (("check", f"no-{noise(rng)}"), REFUSED),
        (("methods", f"no-{noise(rng)}"), REFUSED),
        (("spaces", f"no-{noise(rng)}"), REFUSED),
        (("latency-table", f"--space=no-{noise(rng)}"), REFUSED),
        ((*run, "--seeds=2", "--seed=7"), GOOD),
        (("papers", "dcp-nas/table-4"), GOOD),
        (("reproduce", "dcp-nas/table-4", "--dry-run", "--budget=smoke"), GOOD),
    )
    arguments, ends = pick(rng, forms)
    return Input(arguments, ends)


RIGHT: Record = {
    "architecture_id": "0123456789",
    "arch_sha256": sha256(
        ARCH := json.dumps(space_of("darts-binary").largest().to_json()).encode()
    ),
}


def lay_out(root: Path) -> tuple[Store, str]:
    """Results of two trials, and the id of the one that is to be spoilt."""
    store = Store(root)
    for trial in trials("random", seeds=2):
        store.write(trial.id, {"arch.json": ARCH}, done(trial, 90.0 + trial.repetition, **RIGHT))
    return store, store.ids()[0]


def flipped(rng: Rng, data: bytes) -> bytes:
    """A file with one bit that is another."""
    place, bit = int(rng.integers(len(data))), 1 << int(rng.integers(8))
    return data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :]


def foreign(rng: Rng) -> bytes:
    """What is no record at all."""
    nothing = ("", "null", "[]", "{}", "NaN", "1" * 5000, '{"schema": 1}', "\0", "\ufeff{}", *DEEP)
    return pick(rng, (*(text.encode() for text in nothing), rng.bytes(500)))


def lying(rng: Rng, record: Record, planted: Path) -> bytes:
    """A record with a digest that is right, some of whose fields are missing or anything."""
    record = json.loads(json.dumps(record))
    anything: list[Any] = [
        None,
        True,
        -1,
        0.5,
        1e308,
        float("nan"),
        float("inf"),
        10**400,
        [],
        {},
        [[[]]],
    ]
    anything += [{"name": str(planted), "options": {}}, str(planted), f"{planted}:Evil", *HOSTILE]
    anything.append(json.loads("[" * 300 + "]" * 300))
    for _ in range(rng.integers(1, 4)):
        place = record
        while (
            isinstance(inner := place[key := pick(rng, [*place])], dict)
            and inner
            and rng.random() < 0.7
        ):
            place = inner
        if rng.random() < 0.2:
            del place[key]
        else:
            place[key] = pick(rng, anything)
        if not record:
            break
    return unchecked(record)

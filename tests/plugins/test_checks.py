"""The battery passes what keeps the contract, and every check fails what breaks its point."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bnas_bench.plugins.checks import NAMES, CheckResult, cases, run_checks
from bnas_bench.plugins.checks.contract import ContractBroken, globals_unused
from bnas_bench.plugins.registry import Kind, Plugin, find

TOYS = Path(__file__).parents[1] / "toys"

EPOCH = "            arch = space.sample(rng)\n"
"""Where a line can be put into the toy method's epoch."""

IMPORTS = "from typing import Any\n"
RETURN = "        return SearchResult("
DOUBLE = "torch.set_default_dtype(torch.float64)\n"

METHODS = [
    # check, what it says, passage of the toy method, what stands there instead
    ("check_import", "default dtype from float32", IMPORTS, f"{IMPORTS}import torch\n{DOUBLE}"),
    ("check_constructor", "'lr' is not keyword-only", "self, *, lr", "self, lr"),
    ("check_constructor", "keeps 0.2", "self.lr = lr", "self.lr = 2 * lr"),
    ("check_constructor", "keeps ['a', 'b']", "= names", "= list(names)"),
    ("check_constructor", "keeps nothing", "self.lr = lr", "pass"),
    ("check_constructor", "makes 'x'", "self.lr = lr", "self.lr, self.x = lr, 0"),
    (
        "check_constructor",
        "'x' reads like an option",
        "    def __init__",
        "    x: int = 3\n\n    def __init__",
    ),
    ("check_defaults", "'lr' is inf", "= 0.1", "= float('inf')"),
    ("check_defaults", "'names' is ([],)", '("a", "b")', "([],)"),
    ("check_docstring", "no section 'Deviations'", "Not from a paper.\n", ""),
    ("check_docstring", "no section 'Open in", "Not from a paper.", "Deviations\n    None."),
    (
        "check_imports",
        "the file imports bnas_bench.tables.truth.load, which knows what",
        IMPORTS,
        f"{IMPORTS}from bnas_bench.tables.truth import load\n",
    ),
    (
        "check_imports",
        "the file imports sklearn.datasets.load_digits, which knows what",
        EPOCH,
        f"            from sklearn.datasets import load_digits\n{EPOCH}",
    ),
    ("check_search", "search returned None", "return SearchResult(", "return print("),
    (
        "check_search",
        "'first' is missing",
        'SearchResult(Architecture.from_json(best["arch"])',
        "SearchResult(Architecture(space.name, {})",
    ),
    ("check_search", "note 'rows' is [1]", 'best["valid"])', 'best["valid"], {"rows": [1]})'),
    ("check_search", "budget is", EPOCH, EPOCH + "            meter.spend(4000)\n"),
    ("check_budget", "spent 41 of", "valid=valid)\n", "valid=valid)\n            break\n"),
    (
        "check_charged",
        "convolved 2 time(s) outside",
        RETURN,
        f"        supernet.choices[0][0](supernet.stem(x_BCHW))\n{RETURN}",
    ),
    (
        "check_charged",
        "convolved 1 time(s) outside",
        RETURN,
        f"        F.conv2d(x_BCHW, supernet.stem.weight)\n{RETURN}",
    ),
    (
        "check_charged",
        "2 images went through networks while the meter was not listening",
        RETURN,
        "        heard, supernet.listeners[:] = supernet.listeners[:], []\n"
        "        supernet(x_BCHW[:2], [0, 0])\n"
        f"        supernet.listeners[:] = heard\n{RETURN}",
    ),
    ("check_reproducible", "torch was used", EPOCH, EPOCH + "            torch.rand(())\n"),
    ("check_reproducible", "numpy was used", EPOCH, EPOCH + "            np.random.rand()\n"),
    (
        "check_reproducible",
        "random was used",
        EPOCH,
        EPOCH + "            __import__('random').random()\n",
    ),
    (
        "check_reproducible",
        "differ in",
        EPOCH,
        EPOCH
        + "            with torch.random.fork_rng():\n"
        + "                meter.report(noise=torch.rand(()).item())\n",
    ),
    ("check_resumes", "resumed differs in", ', "rng": rng', ""),
    ("check_resumes", "resumed differs in", '"optimiser": optimiser, ', ""),
    ("check_resumes", "starts over", "meter.epochs(state=state, protocol=3)", "range(8)"),
    ("check_search", "valid is 'x'; give an accuracy", 'best["valid"])', '"x")'),
    ("check_search", "a learning rate and", 'best["valid"])', 'best["valid"], finetune=3)'),
    (
        "check_space_unchanged",
        "space.stride from 2 to 3",
        RETURN,
        f"        space.stride = 3\n{RETURN}",
    ),
    (
        "check_space_unchanged",
        "space.decisions[0].options from (1, 3, 5) to (1,)",
        RETURN,
        f"        object.__setattr__(space.decisions[0], 'options', (1,))\n{RETURN}",
    ),
    (
        "check_space_unchanged",
        "ToySpace.recipe from ToySpace.recipe to SearchSpace.recipe",
        RETURN,
        f"        type(space).recipe = SearchSpace.recipe\n{RETURN}",
    ),
    ("check_process_unchanged", "dtype from float32", RETURN, f"        {DOUBLE}{RETURN}"),
    (
        "check_process_unchanged",
        "the search changed torch's number of threads from 1 to 2; put it back",
        EPOCH,
        EPOCH + "            torch.set_num_threads(2)\n",
    ),
    (
        "check_resumes",
        "an epoch of the search changed torch's number of threads from 1 to 2",
        EPOCH,
        EPOCH + "            torch.set_num_threads(2)\n",
    ),
    (
        "check_task_unchanged",
        "altered the images",
        EPOCH,
        EPOCH + "            task.train.pixels.add_(1)\n",
    ),
]

SPACES = [
    ("check_import", "default dtype from float32", "KERNELS = ", f"{DOUBLE}KERNELS = "),
    (
        "check_weights",
        "the space changed torch's gradient mode from True to False; put it back",
        "with initialised_by(rng):",
        "torch.set_grad_enabled(False)\n        with initialised_by(rng):",
    ),
    ("check_decisions", "same name", '("second", KERNELS)', '("first", KERNELS)'),
    ("check_decisions", "(1, 1)", '("second", KERNELS)', '("second", (1, 1))'),
    ("check_sample", "all the same", "rng.choice(KERNELS, 2)", "(5, 3)"),
    ("check_sample", "other architectures", "rng.choice(KERN", "np.random.choice(KERN"),
    ("check_sample", "does not follow", "!= (5, 1)", "!= (0, 0)"),
    (
        "check_mutate",
        "is itself",
        "while (mutant := self.sample(rng)) == arch:",
        "mutant = arch\n        if 0:",
    ),
    (
        "check_mutate",
        "ignores",
        "(mutant := self.sample(rng))",
        "(mutant := self.sample(np.random.default_rng()))",
    ),
    ("check_crossover", "neither parent", "parents[int(rng.integers(2))]", "self.sample(rng)"),
    ("check_crossover", "ignores", "parents[int(rng.", "parents[int(np.random.default_rng()."),
    (
        "check_json",
        "is read as",
        "        self.check(arch)\n        return arch",
        "        self.check(arch)\n        return self.derive([np.ones(3)] * 2)",
    ),
    ("check_misfits", "accepts an architecture of another", "self.check_choices(arch)", "pass"),
    (
        "check_misfits",
        "parse(...) accepts '{",
        "        self.check(arch)\n        return",
        "        return",
    ),
    ("check_size", "accepts 8", "return 8", "return 9"),
    ("check_size", "positive int", "return 8", "return 8.0"),
    ("check_derive", "does not follow", "            second = 3\n", "            pass\n"),
    ("check_derive", "out of the options", "np.argmax", "np.argmin"),
    ("check_supernet", "not have been used", "w * block(x)", "block(x)"),
    ("check_supernet", "is zero", "w * block(x)", "0 * w * block(x)"),
    (
        "check_supernet",
        "one norm for each of the 2",
        "            for blocks in self.choices\n        ",
        "            for blocks in (*self.choices, *self.choices)\n        ",
    ),
    (
        "check_supernet",
        "no maps",
        "        return x\n",
        "        return x.flatten(2)\n",
    ),
    ("check_paths", "one-hot mix", "w * block(x)", "1.01 * w * block(x)"),
    (
        "check_inheritance",
        "logits of the path",
        "            heir.load_state_dict(block.state_dict())\n",
        "",
    ),
    ("check_weights", "torch was used", "with initialised_by(rng):", "if rng:"),
    (
        "check_weights",
        "a supernet's weights ignore",
        "with initialised_by(rng):\n            return ToyS",
        "with initialised_by(np.random.default_rng(0)):\n            return ToyS",
    ),
    ("check_precision", "MACs are W32A32", "BinaryConv2d(", "nn.Conv2d("),
    (
        "check_ledger",
        "'head.weight' is used outside",
        "self.head(self.pool(self.features(x)).flatten(1))",
        "self.features(x).mean((2, 3)) @ self.head.weight.T",
    ),
    (
        "check_ledger",
        "last layer gives",
        "self.head(self.pool(self.features(x)).flatten(1))",
        "self.pool(self.features(x)).flatten(1)",
    ),
    ("check_ops", "the formula gives", "for k in KERNELS])", "for k in (1, 3, 3)])"),
    ("check_extremes", "has", '{"first": 5, "second": 5}', '{"first": 3, "second": 3}'),
    (
        "check_partial",
        "one of them is none",
        "        self.stride = stride\n        self.decisions",
        "        self.nodes = ((0, 7),)\n        self.stride = stride\n        self.decisions",
    ),
]


def toy(kind: Kind) -> Plugin:
    return find(kind, str(TOYS / f"{kind}.py"))


def altered(folder: Path, kind: Kind, old: str, new: str) -> Plugin:
    """A toy with a passage replaced wherever it stands."""
    code = (TOYS / f"{kind}.py").read_text()
    assert old in code
    file = folder / f"{kind}.py"
    file.write_text(code.replace(old, new))
    return find(kind, str(file))


def result_of(check: str, plugin: Plugin) -> CheckResult:
    found = (c for c in cases(plugin, [toy("space")]) if c.check.__name__ == check)
    return next(found).run()  # the file is imported by the checks that come after the first


@pytest.mark.sample(1)
@pytest.mark.parametrize("kind", ["method", "space"])
def test_the_toys_keep_the_contract(kind: Kind) -> None:
    found = list(run_checks(toy(kind), [toy("space")]))
    assert [result for result in found if not result.passed or result.reason] == []
    names = {result.name.partition("[")[0] for result in found}
    assert len(names) == len(found)


def test_every_check_is_shown_to_fail() -> None:
    """That of planted optima in a file of its own."""
    assert {"check_planted", *(check for check, *_ in METHODS + SPACES)} == NAMES


@pytest.mark.sample(8)
@pytest.mark.parametrize(("check", "reason", "old", "new"), METHODS)
def test_broken_methods(tmp_path: Path, check: str, reason: str, old: str, new: str) -> None:
    result = result_of(check, altered(tmp_path, "method", old, new))
    assert not result.passed
    assert reason in result.reason


@pytest.mark.parametrize(("check", "reason", "old", "new"), SPACES)
def test_broken_spaces(tmp_path: Path, check: str, reason: str, old: str, new: str) -> None:
    result = result_of(check, altered(tmp_path, "space", old, new))
    assert not result.passed
    assert reason in result.reason


BROKEN = ("self.lr = lr", "self.lr = 2 * lr")


def expecting(folder: Path, failures: str, broken: tuple[str, str] = ("", "")) -> Plugin:
    """The toy method with this `expected_failures`."""
    code = (TOYS / "method.py").read_text().replace(*broken)
    file = folder / "method.py"
    file.write_text(
        code.replace("    def __init__", f"    expected_failures = {failures}\n\n    def __init__")
    )
    return find("method", str(file))


def test_an_expected_failure_passes_with_its_reason(tmp_path: Path) -> None:
    plugin = expecting(tmp_path, '{"check_constructor": "it doubles"}', BROKEN)
    result = result_of("check_constructor", plugin)
    assert result == CheckResult("check_constructor", True, "fails as expected: it doubles")


def test_an_expected_failure_that_does_not_fail_is_said(tmp_path: Path) -> None:
    plugin = expecting(tmp_path, '{"check_constructor": "it doubles"}')
    result = result_of("check_constructor", plugin)
    assert not result.passed
    assert "take it out of expected_failures" in result.reason


@pytest.mark.parametrize(
    ("failures", "reason"),
    [
        ('{"check_constructr": "it doubles"}', "did you mean check_constructor"),
        ('{"check_constructor": " "}', "write the reason"),
    ],
)
def test_an_expected_failure_needs_a_check_and_a_reason(
    tmp_path: Path, failures: str, reason: str
) -> None:
    result = result_of("check_expected_failures", expecting(tmp_path, failures, BROKEN))
    assert not result.passed
    assert reason in result.reason


@pytest.mark.parametrize(("reason", "passed"), [("too small", True), ("two\\nlines", False)])
def test_a_refused_space_is_not_searched(tmp_path: Path, reason: str, passed: bool) -> None:
    refusal = f"    def refuses(self, space):\n        return '{reason}'\n\n    def __init__"
    plugin = altered(tmp_path, "method", "    def __init__", refusal)
    on_space = [r for r in run_checks(plugin, [toy("space")]) if "[" in r.name]
    assert [(r.name.partition("[")[0], r.passed) for r in on_space] == [("check_refusal", passed)]


def everything() -> tuple[Any, ...]:
    numpy: Any = np.random.get_state()
    return random.getstate(), numpy[1].tolist(), numpy[2:], torch.get_rng_state().tolist()


@pytest.mark.parametrize(
    ("name", "draw"),
    [
        ("random", random.random),
        ("numpy", np.random.standard_normal),
        ("torch", lambda: torch.rand(())),
    ],
)
def test_global_generators_are_watched_and_put_back(name: str, draw: Callable[[], Any]) -> None:
    states = everything()
    with pytest.raises(ContractBroken, match=f"of {name} was used"), globals_unused():
        draw()
    assert everything() == states

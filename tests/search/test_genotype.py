"""Genotypes as people have them, and texts that are none: one sentence, and nothing evaluated."""

import sys
from contextlib import suppress

import pytest

from bnas_bench.core.errors import InvalidArchitecture, UnknownName
from bnas_bench.core.strict import BadJson, read_json
from bnas_bench.search import genotype
from tests.search.test_cell_space import PUBLISHED, make

ONE = PUBLISHED.partition(" = ")[2]
FLAT = " ".join(ONE.split())
OTHER = FLAT.replace("('skip_connect', 0)", "('skip_connect', 1)", 1)
PAIRS = genotype.read(ONE)
DEEP = "stops making sense" if sys.version_info < (3, 13) else " characters); it must be an"
"""Of an expression that is nested more deeply than older Pythons parse."""
NESTED = "Genotype({})".format(
    ", ".join(
        f"{cell}={[pairs[k : k + 2] for k in range(0, 8, 2)]}, {cell}_concat=range(2, 6)"
        for cell, pairs in PAIRS.items()
    )
)

LISTED = f"""from collections import namedtuple

Genotype = namedtuple('Genotype', 'normal normal_concat reduce reduce_concat')
class Genotype(NamedTuple): ...
# OLD = {FLAT}
FIRST = {FLAT}  # not {OTHER}
SECOND: Genotype = genotypes.{OTHER};
{{'third': {FLAT}, "fourth" : {OTHER}}}
BEST = SECOND  # of all
"""


def test_the_pairs_are_those_that_are_written() -> None:
    assert PAIRS["normal"][:3] == [("sep_conv_5x5", 1), ("max_pool_3x3", 0), ("dil_conv_3x3", 2)]
    assert PAIRS["reduce"][-1] == ("sep_conv_5x5", 1)


@pytest.mark.parametrize(
    "text",
    [
        NESTED,
        FLAT.replace("range(2, 6)", "list(range(2, 6))"),
        FLAT.replace("range(2, 6)", "tuple(range(2, 6))"),
        FLAT.replace("range(2, 6)", "[*range(2, 6)]"),
        FLAT.replace("range(2, 6)", "(2, 3, 4, 5)"),
        FLAT.replace("range(2, 6)", "[5, 2, 3, 4]"),
        FLAT.replace("(", "[")
        .replace(")", "]")
        .replace("Genotype[", "Genotype(")[:-1]
        # lists in place of tuples, as JSON has them
        .replace("range[2, 6]", "range(2, 6)")
        + ")",
        f"Genotype({', '.join(f'{PAIRS[cell]}, [2, 3, 4, 5]' for cell in ('normal', 'reduce'))})",
        f"\ufeff{FLAT}",
        ONE.replace("\n", "\r\n") + "\r\n",
        f"{FLAT},",
        f"best = {FLAT};  # 97.24 %",
        f"2026-01-01 00:00:00,000 genotype = {FLAT}",
        f"11/25 11:04:30 AM INFO epoch 49 lr 1e-3 (best so far)\n11/25 11:04:31 AM genotype = {FLAT}\n",
        f"import os  # Genotype( is a name\n\nMINE = genotypes.{ONE}\n\nprint('(')\n",
        f"a = {FLAT}\nb = {ONE}\n",  # the same, written in another way
        ONE.replace("normal=[", "normal=[  # it's (not) an edge\n"),
    ],
)
def test_forms_that_people_have(text: str) -> None:
    assert genotype.read(text) == PAIRS
    assert make().parse(text) == make().parse(ONE)


def test_of_many_one_is_named() -> None:
    with pytest.raises(InvalidArchitecture) as error:
        genotype.read(LISTED)
    assert str(error.value) == (
        "there are 4 genotypes, FIRST, SECOND, third, fourth; "
        "name one behind the file, as FILE:fourth"
    )
    for name, text in (("FIRST", FLAT), ("SECOND", OTHER), ("third", FLAT), ("BEST", OTHER)):
        assert genotype.named(LISTED, name) == text
    with pytest.raises(UnknownName, match="unknown genotype 'SECNOD'; did you mean SECOND"):
        genotype.named(LISTED, "SECNOD")
    with pytest.raises(UnknownName, match="'OLD'"):
        genotype.named(LISTED, "OLD")


def test_of_many_with_one_name_a_line_is_named() -> None:
    log = f"epoch 0\ngenotype = {FLAT}\nepoch 1\ngenotype = {OTHER}\n"
    with pytest.raises(InvalidArchitecture, match="there are 2 genotypes, 2, 4; name one"):
        genotype.read(log)
    with pytest.raises(InvalidArchitecture, match="there are 2 genotypes"):
        genotype.named(log, "genotype")
    assert genotype.named(log, "4") == OTHER
    assert genotype.named(f"genotype = {FLAT}\n" * 50, "genotype") == FLAT


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "this is no JSON and no Genotype"),
        ("Genotype", "this is no JSON and no Genotype"),
        (f"{FLAT} + 1", "something stands behind the genotype of line 1"),
        (f"x\nf({FLAT})", "something stands behind the genotype of line 2"),
        (f"{FLAT}._replace(normal=[])", "something stands behind"),
        (f"\n# nothing\n  x = {FLAT[:-1]}", "stops making sense at line 3, column 15"),
        (FLAT.replace("range(2, 6)", "list(range(2, 7))"), "'normal_concat' is list(range(2, 7));"),
        (FLAT.replace("range(2, 6)", "range(2, 10**9)"), "'normal_concat' is range(2, 10**9);"),
        (FLAT.replace("range(2, 6)", "range(n)"), "'normal_concat' is range(n);"),
        (FLAT.replace("range(2, 6)", "[2, 3, 4, 5, x]"), "'normal_concat' is [2, 3, 4, 5, x];"),
        (FLAT.replace("range(2, 6)", "'\\33[2J'"), "'normal_concat' is '\\33[2J';"),
        (FLAT.replace("Genotype(", "Genotype(**{}, "), "has the fields None, normal, "),
        (FLAT.replace("Genotype(", "Genotype(1, "), "has the fields normal, normal, "),
        (FLAT.replace("'skip_connect', 0", "'skip_connect', True"), "entry 3 of 'normal' is"),
        (FLAT.replace("'skip_connect', 0", "'skip_connect', -1"), "entry 3 of 'normal' is"),
        (FLAT.replace("'skip_connect', 0", "'skip_connect', 1000"), "entry 3 of 'normal' is"),
        (FLAT.replace("'skip_connect', 0", "0, 'skip_connect'"), "entry 3 of 'normal' is"),
        (FLAT.replace("'skip_connect', 0", "'skip_connect', " + "9" * 5000), "stops making sense"),
        (FLAT.replace("'skip_connect', 0", "'skip_connect', 0x" + "f" * 9000), " characters); it must be an"),
        (FLAT.replace("'skip_connect', 0", "'skip_connect', " + "-" * 9000 + "1"), "stops making"),
        (FLAT.replace("'skip_connect', 0", "1+" * 4000 + "1"), DEEP),
        (FLAT.replace("'skip_connect', 0", "1+" * 90 + "1"), "entry 3 of 'normal' is 1+1+1"),
        (NESTED.replace("[[", "[[('skip_connect', 0), ", 1), "node 2 of 'normal' lists 3 edges"),
        (NESTED.replace("[[", "[('skip_connect', 0), [", 1), "some of its pairs by node"),
        ("Genotype(" * 10**5, "stops making sense"),
        ("Genotype()" * 10**5, "something stands behind"),
        ("Genotype(normal=" + "[" * 10**6, "stops making sense"),
        ("{" * 10**6, "the JSON stops making sense at line 1, column 2"),
        ('{"a":' * 10**6, "the JSON is nested too deeply"),
    ],
)  # fmt: skip
def test_texts_that_are_none(text: str, message: str) -> None:
    with pytest.raises(InvalidArchitecture) as error:
        make().parse(text)
    assert message in str(error.value)
    assert len(str(error.value)) < 400


def test_nothing_is_evaluated(tmp_path) -> None:
    trap = tmp_path / "ran"
    code = f"__import__('pathlib').Path({str(trap)!r}).touch()"
    for text in (
        FLAT.replace("range(2, 6)", code),
        FLAT.replace("'skip_connect'", code),
        f"{code}\n{FLAT}",
    ):
        with suppress(InvalidArchitecture):
            make().parse(text)
        assert not trap.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": NaN}', "holds NaN, which is no number"),
        ('{"a": -Infinity}', "holds -Infinity, which is no number"),
        ('{"a": 1e999}', "holds 1e999, which is beyond all numbers"),
        ('{"a": ' + "9" * 5000 + "}", "holds a number of 5,000 digits"),
        ('{"a": {"b": 1, "b": 2}}', "says 'b' twice in one place"),
        ("[" * 10**5, "is nested too deeply"),
        ("", "stops making sense at line 1, column 1: Expecting value"),
    ],
)
def test_json_that_is_none(text: str, message: str) -> None:
    with pytest.raises(BadJson) as error:
        read_json(text)
    assert str(error.value) == message


def test_json_may_begin_with_a_byte_order_mark() -> None:
    assert read_json('\ufeff{"a": [1, 2.5, "b", null, true]}') == {"a": [1, 2.5, "b", None, True]}

"""The audit: its verdicts by hand, what it must find in the papers, and that every check can fail."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bnas_bench.cli.audit import VERDICTS as OPTIONS
from bnas_bench.cli.audit import audit as command
from bnas_bench.core.errors import BadValue, UnknownName
from bnas_bench.papers.artefact import Artefact, load
from bnas_bench.papers.audit import CHECKS, audit, checks, cp_nas, places
from bnas_bench.papers.audit.check import VERDICTS, Check, Finding, judge, tally
from bnas_bench.papers.audit.counts import nas_bnn_layers
from bnas_bench.papers.audit.markdown import page
from bnas_bench.papers.audit.terms import Term, exactly, largest, printed, smallest, total

PAGE = Path(__file__).parents[2] / "docs" / "audit.md"


@pytest.fixture(scope="module")
def every() -> list[Check]:
    return checks()


@pytest.fixture(scope="module")
def found(every: list[Check]) -> dict[str, Finding]:
    return {check.id: judge(check) for check in every}


@pytest.mark.parametrize(
    ("text", "value", "low", "high"),
    [
        ("2.9", "29/10", "57/20", "59/20"),
        ("-2.9%", "-29/10", "-59/20", "-57/20"),
        ("−2.9", "-29/10", "-59/20", "-57/20"),
        ("24.19×", "2419/100", "24185/1000", "24195/1000"),
        ("≈5.12", "512/100", "5115/1000", "5125/1000"),
        ("12,936", "12936", "25871/2", "25873/2"),
        ("400M", "400", "799/2", "801/2"),
        ("~400M", "400", "350", "450"),
        ("~27M", "27", "53/2", "55/2"),
        ("5e-3", "1/200", "9/2000", "11/2000"),
        ("2/3", "2/3", "1/2", "5/6"),
        ("over 1.3", "13/10", "5/4", "27/20"),
    ],
)
def test_a_printed_number(text: str, value: str, low: str, high: str) -> None:
    term = printed(text)
    assert (term.value, term.low, term.high) == (Fraction(value), Fraction(low), Fraction(high))


def test_a_text_without_a_number_is_no_number() -> None:
    with pytest.raises(BadValue, match="'Failed' holds no number"):
        printed("Failed")


def test_terms_reckon_exactly_and_show_how() -> None:
    a, b = printed("0.1"), printed("0.25")
    saved = 100 * (1 - a / b)
    assert saved.value == 60
    assert saved.text == "100 x (1 - 0.1 / 0.25)"
    # 0.05 / 0.255 is the least quotient, 0.15 / 0.245 the largest
    assert saved.low == 100 * (1 - Fraction("0.15") / Fraction("0.245"))
    assert saved.high == 100 * (1 - Fraction("0.05") / Fraction("0.255"))
    assert (a - (b - a)).text == "0.1 - (0.25 - 0.1)"
    assert (1 / (a * b)).text == "1 / (0.1 x 0.25)"
    summed = total(map(exactly, (8, 7, 6))) * 3
    assert (summed.text, summed.value, summed.unit) == ("(8 + 7 + 6) x 3", 63, 0)
    assert largest([a, b]) == b
    assert smallest([a, b]) == a
    product = printed("-2") * printed("3")
    assert (product.low, product.high) == (Fraction("-8.75"), Fraction("-3.75"))
    with pytest.raises(BadValue, match="may be zero"):
        b / (a - a)


def check(text: str, value: Term, **more: object) -> Check:
    fields = {"id": "cp-nas/table-0:x", "place": "Table 0", "quotation": text, "words": "rule"}
    return Check(**{**fields, "printed": text, "value": value, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "value", "verdict", "how"),
    [
        ("1.24", Fraction("1.2449"), "agrees", "rounded"),
        ("1.24", Fraction("1.245"), "agrees", "rounded"),
        ("1.24", Fraction("1.2499"), "agrees", "cut off"),
        ("1.24", Fraction("1.25"), "differs", "rule"),
        ("1.24", Fraction("1.2349"), "differs", "rule"),
        ("-1.24", Fraction("-1.2499"), "agrees", "cut off"),
        ("-1.24", Fraction("-1.2349"), "differs", "rule"),
        ("1.24", Fraction("1.24"), "agrees", "rule: "),
        ("2/3", Fraction("0.699"), "agrees", "rounded"),
        ("2/3", Fraction("0.911"), "differs", "rule"),  # 2.73 thirds are no two, cut off
        ("1/5", Fraction(100, 512), "agrees", "rounded"),
    ],
)
def test_rounded_and_cut_off(text: str, value: Fraction, verdict: str, how: str) -> None:
    finding = judge(check(text, exactly(value)))
    assert finding.verdict == verdict
    assert how in finding.rule


def test_within_rounding() -> None:
    """64.3 - 67.1 is -2.8, but 64.26 - 67.14 would be -2.88."""
    gap = printed("64.3") - printed("67.1")
    assert judge(check("-2.8", gap)).verdict == "agrees"
    finding = judge(check("-2.9", gap))
    assert finding.verdict == "within rounding"
    assert finding.rule == "rule: 64.3 - 67.1 = -2.8, rounding allows -2.9 to -2.7"
    assert judge(check("-3.0", gap)).verdict == "differs"
    assert judge(check("-2.6", gap)).verdict == "differs"
    assert judge(check("-2.9", exactly(Fraction("-2.8")))).verdict == "differs"


def test_agrees_under_another_rule() -> None:
    rules = {
        "first": exactly(7),
        "second": exactly(Fraction("3.72")),
        "third": exactly(Fraction("3.7")),
    }
    finding = judge(check("3.7", exactly(Fraction("-2.3")), otherwise=rules))
    assert (finding.verdict, finding.recomputed) == ("agrees under", "3.72")
    assert finding.rule == "second: 3.72, rounded; instead of rule: -2.3"
    assert not finding.difference


def test_differs_says_by_how_much_and_what_was_tried() -> None:
    rules = {"other": exactly(200)}
    needs = {"FLOPs of": printed("122.8") - printed("1499") / 32}
    value = printed("129") + printed("1499") / 64
    finding = judge(check("122.8M", value, otherwise=rules, solved=needs))
    assert finding.verdict == "differs"
    assert finding.difference == "-29.62 (-19 %)"
    assert finding.rule == (
        "rule: 129 + 1499 / 64 = 152.422; rounding allows 151.91 to 152.93; "
        "other: 200, -77.2 (-39 %); the printed number needs FLOPs of: 122.8 - 1499 / 32 = 75.9562"
    )


def test_the_nearest_rule_heads_a_difference() -> None:
    rules = {"far": exactly(90), "near": printed("14.7") / 1}
    finding = judge(check("14.4", exactly(80), otherwise=rules))
    assert (finding.verdict, finding.recomputed) == ("differs", "14.7")
    assert finding.difference == "-0.3 (-2 %)"
    assert finding.rule == (
        "near: 14.7 / 1 = 14.7; rounding allows 14.65 to 14.75; "
        "as stated, rule: 80, -65.6 (-82 %); far: 90, -75.6 (-84 %)"
    )


def test_a_number_in_two_places() -> None:
    def twice(text: str, other: str, **more: object) -> Finding:
        return judge(check(text, printed(other), repeated=True, **more))

    assert twice("89.2", "89.2").verdict == "agrees"
    assert twice("11.2", "11.17").verdict == "agrees"
    assert twice("11.17", "11.2").verdict == "agrees"
    assert twice("6.50", "6.5").verdict == "agrees"
    finding = twice("89.2", "90.6")
    assert (finding.verdict, finding.difference) == ("contradicts", "-1.4 (-1.5 %)")
    assert twice("29", "27.9").verdict == "contradicts"
    assert twice("1.20", "1.21").verdict == "contradicts"
    finding = twice("2.6", "3.2", otherwise={"another row": printed("2.6")})
    assert (finding.verdict, finding.rule) == ("contradicts", "rule: 3.2; it is another row: 2.6")


@pytest.mark.parametrize(
    ("relation", "value", "verdict"),
    [
        (">", printed("1.31"), "agrees"),
        (">", printed("1.30"), "within rounding"),  # up to 1.305
        (">", printed("1.2") + printed("0.0"), "differs"),  # up to 1.3, which is not above 1.3
        ("<", printed("1.2"), "agrees"),
        ("<", printed("1.30"), "within rounding"),
        ("<", printed("1.4"), "differs"),
    ],
)
def test_claims_of_more_and_less(relation: str, value: Term, verdict: str) -> None:
    assert judge(check("over 1.3", value, relation=relation)).verdict == verdict


def test_a_claim_without_a_number() -> None:
    claim = {"relation": ">", "claimed": exactly(0), "unit": "%"}
    assert judge(check("surpass", printed("0.2"), **claim)).verdict == "agrees"
    finding = judge(check("surpass", printed("-1.1"), **claim))
    assert (finding.verdict, finding.shown) == ("differs", ("surpass", "-1.1 %"))


MUST_FIND = [
    # DCP-NAS' MBits are numbers of parameters
    ("dcp-nas/table-11:dcp-nas-s-memory", "agrees under", "number of parameters in millions"),
    ("dcp-nas/table-11:dcp-nas-m-memory", "agrees under", "number of parameters in millions"),
    (
        "dcp-nas/table-11:dcp-nas-l-memory",
        "differs",
        "number of parameters in millions, 1 bit each: 14",
    ),
    ("dcp-nas/table-11:dcp-nas-s-ops", "agrees under", "all other MACs / 58: 99.5058"),
    ("dcp-nas/table-11:dcp-nas-m-ops", "agrees under", "all other MACs / 58: 162.718"),
    ("dcp-nas/table-11:dcp-nas-l-ops", "agrees under", "all other MACs / 58: 334.209"),
    # Table 3 against tables 7, 8, 11
    ("dcp-nas/table-3:both-top5-in-table-7", "contradicts", "90.6"),
    ("dcp-nas/table-3:both-top5-in-table-8", "contradicts", "90.6"),
    ("dcp-nas/table-3:both-top5-in-table-11", "contradicts", "90.6"),
    ("dcp-nas/table-3:both-top1-in-table-11", "agrees", "72.4"),
    # the small-model comparisons of section 4.3.2
    ("dcp-nas/section-4.3.2:small-bats", "agrees", "DCP-NAS-S - Top-1 of BATS, Table 11"),
    ("dcp-nas/section-4.3.2:small-bars-e", "agrees under", "Top-1 of DCP-NAS-M"),
    ("dcp-nas/section-4.3.2:small-nasbv4", "agrees under", "Top-1 of DCP-NAS-M"),
    ("dcp-nas/section-4.3.2:small-ebn", "agrees under", "Top-1 of DCP-NAS-M"),
    ("dcp-nas/section-4.3.2:small-ebnas-l", "agrees under", "Top-1 of DCP-NAS-M"),
    ("dcp-nas/section-4.3.2:medium-bnas1", "agrees", "69.0 - 64.3 = 4.7"),
    # and more of it
    ("dcp-nas/section-4.2.1:without-ggn", "contradicts", "27.9"),
    ("dcp-nas/section-4.2.3:memory-small", "differs", "5.0 / 4.2"),
    ("dcp-nas/table-7:normal-search-space-large-memory-in-table-11", "contradicts", "14.4"),
    ("dcp-nas/section-4.4:cuhk-bire-id-s", "agrees under", "Real-valued with ResNet-18"),
    ("dcp-nas/table-11:bars-d-top1-in-bars-table-2", "contradicts", "52.5"),
    # detectors: the real-valued ones nearly follow, those of few bits divide by 8 and by 64
    ("dcp-nas/table-13:resnet-18-real-valued-ops-counted", "differs", "1x1 pixels: 96.26"),
    ("dcp-nas/table-13:resnet-34-real-valued-ops-counted", "differs", "1x1 pixels: 118.72"),
    ("dcp-nas/table-13:resnet-18-reactnet-ops-counted", "agrees under", "1/64 of the others"),
    ("dcp-nas/table-13:resnet-34-reactnet-ops-counted", "agrees under", "1/64 of the others"),
    ("dcp-nas/table-13:dcp-nas-s-ops-counted", "differs", "published genotype: 16.6168"),
    # words that the tables do not bear out
    ("dcp-nas/section-4.2.2:backtracked", "agrees", "100 x (14 - 1) / 14 = 92.8571"),
    ("dcp-nas/section-4.4:market-map-l", "agrees", "71.9 - 71.6 = 0.3"),
    ("dcp-nas/section-4.4:market-r1-s", "differs", "84.9 - 85.1 = -0.2"),
    ("dcp-nas/section-4.4:market-r1-l", "differs", "87.3 - 88.8 = -1.5"),
    ("dcp-nas/section-4.5.2:outperforms-ap50", "agrees", "47.8 - 44.9 = 2.9"),
    ("dcp-nas/section-4.5.2:best-ap50", "differs", "47.8 - 48.4 = -0.6"),
    ("dcp-nas/section-4.5.2:best-apl", "differs", "37.5 - 38.3 = -0.8"),
    # DCP-NAS' memory of CP-NAS' networks is the number of parameters, not CP-NAS' memory
    (
        "dcp-nas/table-10:1-bit-medium-cp-nas-m-memory-in-cp-nas-table-3",
        "agrees under",
        "1 x 4.4 = 4.4; instead of as in CP-NAS, Table 3",
    ),
    ("dcp-nas/table-15:dcp-nas-m-acceleration", "agrees", "255.7 / 101.3"),
    ("dcp-nas/table-11:real-valued-darts-memory", "agrees", "32 x 4.9 = 156.8"),
    # CP-NAS
    ("cp-nas/section-3.1:epochs", "agrees", "(8 + 7 + 6 + 5 + 4 + 3 + 2) x 3 = 105"),
    ("cp-nas/abstract:cifar-10", "agrees", "100 - 4.73 = 95.27"),
    ("cp-nas/section-3.3:bonn", "contradicts", "59.3"),
    ("cp-nas/table-3:wrn-22-bonn-speedup", "differs", "647.70 / 17.03 = 38.0329"),
    ("cp-nas/table-3:cp-nas-medium-saving", "differs", "138.27 / 4.85 = 28.5093"),
    ("cp-nas/table-3:wrn-22-bonn-flops", "agrees under", "binary MACs / 58"),
    ("cp-nas/table-2:real-valued-resnet-18-params", "agrees under", "with 10 classes"),
    # NAS-BNN
    ("nas-bnn/section-3.2:size", "agrees", "3.96036"),
    ("nas-bnn/section-3.2:size-non-decreasing", "agrees", "3.32354"),
    ("nas-bnn/section-3.2:share", "agrees", "0.00839"),
    ("nas-bnn/table-6:nas-bnn-d-ops", "agrees", "124.311"),
    ("nas-bnn/table-6:nas-bnn-e-ops", "differs", "printed as those of NAS-BNN-D): 124.311"),
    ("nas-bnn/table-2:xnor-net-ops", "agrees under", "binary MACs / 58: 166.695"),
    ("nas-bnn/section-4.4.5:25-epochs", "contradicts", "1.21"),
    ("nas-bnn/section-4.5:bitops", "agrees", "64 x 180 / 1000 = 11.52"),
    ("nas-bnn/section-4.2:finetuning-a", "differs", "60.80 - 60.58 = 0.22"),
    # BARS
    ("bars/section-5.1:bars-e", "agrees", "56.1 - 53.1 = 3"),
    ("bars/table-2:cifar-10-resnet-34-xnor-biops", "agrees", "2 x 1151.34"),
    ("bars/section-5.1:params", "differs", "6.07 / 21.81 = 0.278313"),
    ("bars/table-1:bars-accuracy", "contradicts", "as in Table 2, row BARS-B, column Acc."),
    ("bars/table-2:outperform-cifar-10", "agrees", "93.43 - 92.7 = 0.73"),
    ("bars/table-2:outperform-imagenet", "differs", "56.1 - 57.6 = -1.5"),
    (
        "bars/section-5.1:biops",
        "agrees under",
        "WRN-40 (XNOR), Table 2 (the text names no row): 2096 / 3000",
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("identity", "verdict", "rule"), MUST_FIND)
def test_what_the_audit_must_find(
    found: dict[str, Finding], identity: str, verdict: str, rule: str
) -> None:
    assert found[identity].verdict == verdict
    assert rule in found[identity].rule


@pytest.mark.slow
def test_equivalent_ops_of_bars(found: dict[str, Finding]) -> None:
    """By hand: no row divides by 64; all of CIFAR-10 and all but two of ImageNet divide by 32."""
    ours = {identity: f for identity, f in found.items() if identity.endswith("-equivalent")}
    assert len(ours) == 19
    assert {identity for identity, f in ours.items() if f.verdict == "differs"} == {
        "bars/table-2:imagenet-bars-d-equivalent",
        "bars/table-2:imagenet-bars-e-equivalent",
    }
    others = [f for f in ours.values() if f.verdict != "differs"]
    assert {f.verdict for f in others} == {"agrees under"}
    assert all(f.rule.startswith("FLOPs + BiOps / 32: ") for f in others)
    rounded = {
        i for i, f in ours.items() if "32, rounding" in f.rule or ", rounding allows" in f.rule
    }
    assert rounded == {
        "bars/table-2:cifar-10-nin-xnor-equivalent",
        "bars/table-2:cifar-10-bars-c-equivalent",
    }


@pytest.mark.slow
def test_every_check_can_fail(every: list[Check]) -> None:
    """A printed number altered beyond all rules and all rounding is found, whatever it was."""
    for each in every:
        if each.relation != "=":
            beyond = each.value.high + 1 if each.relation == ">" else each.value.low - 1
            finding = judge(replace(each, claimed=exactly(beyond)))
        else:
            rules = [each.value, *each.otherwise.values()]
            beyond = max(abs(end) for term in rules for end in (term.low, term.high))
            finding = judge(replace(each, printed=f"{int(beyond) + 11}"))
        assert finding.verdict == ("contradicts" if each.repeated else "differs"), each.id
        assert finding.difference


@pytest.mark.slow
def test_every_check_can_agree(every: list[Check]) -> None:
    """What the stated rule gives, printed to six decimals, agrees."""
    for each in every:
        if each.relation == "=":
            finding = judge(replace(each, printed=f"{float(each.value.value):.6f}"))
            assert finding.verdict == "agrees", each.id


def test_an_altered_table_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """CP-NAS' 28.03 agrees as soon as the table says 38.03, and an operand altered differs."""

    def altered(row: str, column: str, text: str) -> Callable[[str], Artefact]:
        def read(name: str) -> Artefact:
            artefact = load(name)
            if name != "cp-nas/table-3":
                return artefact
            rows = tuple(
                replace(each, paper={**each.paper, column: text}) if each.name == row else each
                for each in artefact.rows
            )
            return replace(artefact, rows=rows)

        return read

    def verdicts() -> dict[str, str]:
        return {each.id: judge(each).verdict for each in cp_nas.checks()}

    before = verdicts()
    bonn, small = "cp-nas/table-3:wrn-22-bonn-speedup", "cp-nas/table-3:cp-nas-small-speedup"
    assert (before[bonn], before[small]) == ("differs", "agrees")
    monkeypatch.setattr(places, "load", altered("WRN-22 (BONN)", "speedup", "38.03×"))
    assert verdicts() == before | {bonn: "agrees"}
    monkeypatch.setattr(places, "load", altered("CP-NAS (Small)", "flops", "12.98"))
    assert verdicts() == before | {small: "differs"}


def test_the_layers_of_table_6() -> None:
    layers = nas_bnn_layers("NAS-BNN-F")
    assert layers["conv2d"] == (48, 3, 1)
    assert layers["s4-l9"] == (768, 5, 4)
    assert "s2-l3" not in layers


def test_ids_are_unique_and_tell_the_paper(every: list[Check]) -> None:
    ids = [each.id for each in every]
    assert len(set(ids)) == len(ids)
    assert [paper for paper in CHECKS if any(i.startswith(f"{paper}/") for i in ids)] == [*CHECKS]
    assert all(each.quotation and each.place and each.words for each in every)


def test_no_rule_stands_twice(every: list[Check]) -> None:
    """Of two rules with one name the first would hide the second."""
    assert all(each.words not in each.otherwise for each in every)


@pytest.mark.slow
def test_the_tally_counts_every_finding(found: dict[str, Finding]) -> None:
    counts = tally(found.values())
    assert list(counts) == list(CHECKS)
    assert sum(sum(of_paper.values()) for of_paper in counts.values()) == len(found)
    assert list(counts["bars"]) == list(VERDICTS)


@pytest.mark.slow
def test_the_page_is_what_the_command_writes(found: dict[str, Finding]) -> None:
    """After a change: `bnas-bench audit --markdown > docs/audit.md`."""
    assert page([*found.values()]) == PAGE.read_text("utf-8")


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, standalone_mode=False)


def test_the_command_prints_findings_and_their_number() -> None:
    output = invoke("cp-nas/table-3").output
    assert "cp-nas/table-3:wrn-22-bonn-speedup" in output
    assert "38.033 ×" in output
    assert "-10.003 (-26 %)" in output
    assert "cp-nas/table-1" not in output
    one = invoke("cp-nas/section-3.3:bonn").output
    assert 'section 3.3: "CP-NAS outperforms manually designed binarized networks (64.3% vs.' in one


def test_the_command_for_programs() -> None:
    records = json.loads(invoke("cp-nas", "--json").output)
    assert [record["id"] for record in records] == [each.id for each in checks("cp-nas")]
    rows = list(csv.DictReader(io.StringIO(invoke("cp-nas", "--csv").output)))
    assert [row["verdict"] for row in rows] == [record["verdict"] for record in records]
    bonn = next(record for record in records if record["id"].endswith("wrn-22-bonn-speedup"))
    assert bonn["printed"] == "28.03×"
    assert bonn["value"] == pytest.approx(647.70 / 17.03)


def test_the_command_takes_verdicts() -> None:
    assert [option.replace("-", " ") for option in OPTIONS] == [*VERDICTS]
    output = invoke("cp-nas", "--only", "contradicts", "--only", "within-rounding", "--json").output
    assert {record["verdict"] for record in json.loads(output)} == {
        "contradicts",
        "within rounding",
    }
    assert "| `cp-nas/section-3.3:bonn` |" in invoke("cp-nas", "--markdown").output


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("dcpnas",), UnknownName, "unknown paper 'dcpnas'; did you mean dcp-nas"),
        (
            ("cp-nas/table-33",),
            UnknownName,
            "unknown check 'cp-nas/table-33'; did you mean cp-nas/t",
        ),
        (("cp-nas/table-3:wrn",), UnknownName, "did you mean cp-nas/table-3"),
        (("cp-nas", "--json", "--csv"), BadValue, "choose one"),
    ],
)
def test_bad_input(arguments: tuple[str, ...], error: type[Exception], message: str) -> None:
    result = invoke(*arguments)
    assert isinstance(result.exception, error)
    assert message in str(result.exception)


def test_names_of_checks() -> None:
    whole = audit("cp-nas")
    table = audit("cp-nas/table-3")
    assert table == [finding for finding in whole if finding.id.startswith("cp-nas/table-3:")]
    assert audit(table[0].id) == table[:1]

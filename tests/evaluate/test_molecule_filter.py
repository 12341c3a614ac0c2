"""Filters keep what their rules say, the most drug-like first, and refuse rules that say nothing."""

import pytest
from tests.evaluate.molecule_samples import BROKEN, METHANE

pytest.importorskip("rdkit", reason="the extra 'molecules' is not installed")
from rdkit import Chem
from rdkit.Chem import QED

from perrin.errors import PerrinError
from perrin.evaluate.molecule_filter import Filter, violations
from perrin.kinds.molecules.describing import describe

ASPIRIN, IBUPROFEN, CAFFEINE = (
    "CC(=O)Oc1ccccc1C(=O)O",
    "CC(C)Cc1ccc(cc1)C(C)C(=O)O",
    "Cn1c(=O)c2c(ncn2C)n(C)c1=O",
)
WAX, SUGAR = "C" * 60, "OC" + "C(O)" * 10 + "CO"  # two limits crossed each


def test_a_line_of_rules_is_read():
    assert Filter.parse("lipinski,qed=0.5,sa=4") == Filter(lipinski=True, qed=0.5, sa=4.0)
    assert Filter.parse(" sa = 3.5 ") == Filter(sa=3.5)
    assert Filter.parse("lipinski,qed=0.5,sa=4").rules == ["lipinski", "qed >= 0.5", "sa <= 4"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("lipinsky", "did you mean 'lipinski'"),
        ("qed=0.5,qed=0.6", "given twice"),
        ("qed", "should read such as lipinski,qed=0.5,sa=4"),
        ("lipinski=2", "should read"),
        ("qed=high", "'high' is not a number"),
        ("qed=nan", "qed lies between 0 and 1"),
        ("qed=1.5", "qed lies between 0 and 1"),
        ("sa=0.5", "sa lies between 1 and 10"),
        ("", "is not known"),
    ],
)
def test_wrong_rules_are_refused_with_what_would_be_right(line, said):
    with pytest.raises(PerrinError, match=said):
        Filter.parse(line)
    with pytest.raises(PerrinError, match="needs a rule"):
        Filter()


def test_one_limit_of_the_rule_of_five_may_be_crossed_and_two_may_not():
    inside = {"weight": 500, "logp": 5, "donors": 5, "acceptors": 10}
    assert violations(inside) == 0
    for name in inside:
        assert violations(inside | {name: inside[name] + 1}) == 1
    rules = Filter(lipinski=True)
    assert rules.passes(inside | {"weight": 501}) == {"lipinski": True}
    assert rules.passes(inside | {"weight": 501, "donors": 6}) == {"lipinski": False}


def test_survivors_are_sorted_by_qed_and_every_rule_is_counted():
    molecules = [
        WAX,
        ASPIRIN,
        "no molecule",
        CAFFEINE,
        SUGAR,
        f"{ASPIRIN}.{CAFFEINE}",
        IBUPROFEN,
        METHANE,
        BROKEN,
    ]
    kept = Filter(lipinski=True, qed=0.5, sa=4.0).keep(iter(molecules))
    assert sorted(kept.indices) == [1, 3, 6]
    drug_likeness = [QED.qed(Chem.MolFromSmiles(molecules[i])) for i in kept.indices]
    assert drug_likeness == sorted(drug_likeness, reverse=True)
    assert [row["qed"] for row in kept.properties] == pytest.approx(drug_likeness)
    assert (kept.count, kept.read) == (9, 6)  # not what is in pieces, nor what is no molecule
    easy = [
        describe(Chem.MolFromSmiles(one), ["sa"])["sa"] <= 4
        for one in (WAX, ASPIRIN, CAFFEINE, SUGAR, IBUPROFEN, "C")
    ]
    assert kept.passed == {"lipinski": 4, "qed >= 0.5": 3, "sa <= 4": sum(easy)}


def test_a_threshold_itself_passes():
    qed = QED.qed(Chem.MolFromSmiles(ASPIRIN))
    assert Filter(qed=qed).keep([ASPIRIN]).indices == [0]
    assert Filter(qed=qed + 1e-9).keep([ASPIRIN]).indices == []

"""SELFIES and SMILES say the same molecule; whatever row of symbols is a molecule; reasons of what is none."""

import random
import threading

import pytest

pytest.importorskip("rdkit", reason="molecules: pip install 'perrin[molecules]'")
pytest.importorskip("selfies", reason="molecules: pip install 'perrin[molecules]'")

import selfies

from perrin.errors import PerrinError
from perrin.kinds.smiles.grammar import bonding, bonds, to_selfies, to_smiles
from perrin.kinds.smiles.parsing import canonical, molecule_or_none, tidy
from perrin.kinds.smiles.symbols import SelfiesSymbols, SmilesSymbols

MOLECULES = [
    "C", "CCO", "c1ccccc1", "C#N", "[NH4+]", "CC(=O)[O-]", "C[N+](=O)[O-]", "[2H]C([2H])([2H])O",
    "C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O", "F/C=C/F", "F/C=C\\F", "C1CC2CCC1C2", "c1ccc2[nH]ccc2c1",
    "O=S(=O)(N)c1ccc(Cl)cc1Br", "CC(C)(C)OC(=O)N1CCC[C@@H]1C#N", "C1CC1", "[Na+].[Cl-]", "OB(O)c1cccs1", "C[Si](C)(C)C",
    "CP(=O)(O)O", "C%10CC%10", "C[S@](=O)CC", "c1cnc2ncncc2c1", "[nH]1cccc1", "C1CCCCCCCCCCCCCCCCCCC1",
    "O=C=O", "[O-][n+]1ccccc1",
]  # fmt: skip


@pytest.mark.parametrize("smiles", MOLECULES)
@pytest.mark.parametrize("vocabulary", [SelfiesSymbols, SmilesSymbols])
def test_a_molecule_comes_back(smiles, vocabulary):
    written = canonical(smiles)
    split = vocabulary.split(written)
    made = vocabulary(tuple(sorted(set(split))))
    tokens = made.encode(written)
    assert len(tokens) == len(split)
    assert made.decode(tokens) == written
    assert "".join(made.pieces(tokens)) == "".join(split)


def test_smiles_are_split_atom_by_atom():
    assert SmilesSymbols.split("C[C@@H](Br)c1ccc(Cl)nc1%12") == (
        ["C", "[C@@H]", "(", "Br", ")", "c", "1", "c", "c", "c", "(", "Cl", ")", "n", "c", "1", "%12"]
    )


def test_any_row_of_symbols_is_a_molecule():
    symbols = sorted({symbol for smiles in MOLECULES for symbol in to_selfies(smiles)})
    vocabulary = SelfiesSymbols(tuple(symbols))
    choose, atoms = random.Random(0), 0
    with bonding():
        for _ in range(1_000):
            found = vocabulary.decode([choose.randrange(len(symbols)) for _ in range(30)])
            mol = molecule_or_none(found)
            assert (mol is None) == (found == ""), found  # nothing is written only where there is no atom
            atoms += 0 if mol is None else mol.GetNumAtoms()
    assert atoms > 3_000


def test_elements_that_the_package_does_not_know_have_the_bonds_that_rdkit_takes():
    table = bonds()
    assert (table["C"], table["N+1"], table["Si"], table["Se"], table["?"]) == (4, 4, 4, 6, 0)
    assert table["I"] == selfies.get_preset_constraints("default")["I"] == 1
    # the package's own answer for silicon is eight bonds, which no reader takes
    eight = "[C]" + "[=Si]" * 3 + "[=C]"
    assert molecule_or_none(to_smiles("[Si]" + "[Branch1][C][F]" * 7 + "[F]")) is not None
    assert molecule_or_none(selfies.decoder("[Si]" + "[Branch1][C][F]" * 7 + "[F]")) is None
    assert molecule_or_none(to_smiles(eight)) is not None


def test_the_users_own_table_is_left_as_it_was():
    before = selfies.get_semantic_constraints()
    try:
        selfies.set_semantic_constraints("octet_rule")
        mine = selfies.get_semantic_constraints()
        assert to_smiles("".join(to_selfies("CS(=O)(=O)C"))) == "CS(=O)(=O)C"
        with pytest.raises(ValueError, match="inside"), bonding(), bonding():
            raise ValueError("inside")
        assert selfies.get_semantic_constraints() == mine
    finally:
        selfies.set_semantic_constraints(before)


def test_threads_spell_one_after_another():
    found = list[str]()

    def spell():
        found.extend(to_smiles("".join(to_selfies("CS(=O)(=O)C"))) for _ in range(20))

    threads = [threading.Thread(target=spell) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["CS(=O)(=O)C"] * 80


@pytest.mark.parametrize(
    ("smiles", "says"),
    [
        ("CC(", "SMILES 'CC\\(' does not parse: syntax error"),
        ("C1CC", "unclosed ring"),
        ("CN(C)(C)(C)C", "Explicit valence for atom # 1 N, 5, is greater than permitted"),
        ("c1ccnc1", "Can't kekulize"),
        ("", "empty"),
        ("CQ", "syntax error"),
    ],
)
def test_what_is_no_molecule_is_told_with_its_place_and_reason(smiles, says):
    for read in (canonical, to_selfies):
        if smiles or read is canonical:
            with pytest.raises(PerrinError, match=f"^x line 3: .*{says}"):
                read(smiles, "x line 3")


@pytest.mark.parametrize(
    ("smiles", "says"), [("C*", "failed to parse"), ("O=Cl(=O)(=O)O", r"Cl with 7 bond\(s\) - a max. of 1")]
)
def test_what_selfies_cannot_write_is_told(smiles, says):
    with pytest.raises(PerrinError, match=f"^x: SELFIES cannot write '.*': .*{says}"):
        to_selfies(smiles, "x")


def test_what_is_no_molecule_stays_as_it_is_written():
    assert tidy("CC(") == "CC("
    assert tidy("") == ""
    assert tidy("OCC") == "CCO"

"""Steering is measured right on models that obey, that do not, and that only choose sizes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.evaluate.molecule_samples import chains, dataset, of_smiles

pytest.importorskip("rdkit", reason="the extra 'molecules' is not installed")

from perrin.evaluate.case import Case
from perrin.evaluate.molecule_steering import steering_figures
from perrin.kinds.molecules.chemistry import to_rdkit
from perrin.kinds.molecules.codec import MoleculeCodec
from perrin.kinds.molecules.describing import describe


@pytest.fixture(scope="module")
def shelf() -> Any:
    """Molecules with their weights, and the codec of a model that was told these."""
    molecules = [of_smiles(smiles) for smiles in chains(0, 60)]
    for molecule in molecules:
        molecule.properties["weight"] = describe(to_rdkit(molecule), ["weight"])["weight"]
    return molecules, MoleculeCodec.fit(dataset(molecules, properties=["weight"]))


def case_of(shelf: Any, obeys: bool, sized: bool) -> Case:
    """A model that gives real molecules: near the weight asked for if it obeys, of the size asked for if it is sized."""
    molecules, codec = shelf

    def sample(n: int, *, seed: int, progress: Any, weight: float | None = None, length: Any = None) -> Any:
        near = (
            []
            if weight is None
            else sorted(molecules, key=lambda m: abs(m.properties["weight"] - weight))[:9]
        )
        generator = np.random.default_rng(seed)
        drawn = [(near if obeys and near else molecules)[int(i)] for i in generator.integers(9, size=n)]
        if length is not None and sized:
            drawn = [next(m for m in molecules if len(m) == size) for size in length]
        made = [{"wanted": {"length": len(molecule)}} for molecule in drawn]
        return SimpleNamespace(decoded=drawn, provenance=made)

    model: Any = SimpleNamespace(codec=codec, sample=sample)
    return Case(model, None, None, 40, 5, {"seed": 3})  # type: ignore[arg-type]


def test_a_model_that_obeys_moves_as_far_as_asked(shelf: Any) -> None:
    found = steering_figures(case_of(shelf, obeys=True, sized=False))
    assert found["weight_moved"] == pytest.approx(1, abs=0.15)
    assert found["weight_moved_ceiling"] == 1
    assert 0 < found["weight_moved_stderr"] < 0.1
    assert abs(found["weight_moved_control"]) < 3 * found["weight_moved_stderr"] + 0.3
    high, low = found["steered"]["weight"]["targets"]
    assert (high - low) == pytest.approx(2 * found["steered"]["weight"]["std_training"])
    assert found["steered"]["weight"]["molecules"] == [40, 40]
    assert found["steered_stability"] > 0.98


def test_sizes_alone_show_in_the_control(shelf: Any) -> None:
    found = steering_figures(case_of(shelf, obeys=True, sized=True))
    assert found["weight_moved_control"] > 0.5  # heavy chains are long ones


def test_a_model_that_does_not_listen_does_not_move(shelf: Any) -> None:
    found = steering_figures(case_of(shelf, obeys=False, sized=False))
    assert found["weight_moved"] == pytest.approx(0, abs=1e-12)


def test_nothing_is_tried_without_properties_that_can_be_computed(shelf: Any) -> None:
    molecules, _ = shelf
    plain: Any = SimpleNamespace(codec=MoleculeCodec.fit(dataset(molecules)))
    assert steering_figures(Case(plain, None, None, 40, 5, {})) == {}  # type: ignore[arg-type]
    assert steering_figures(Case(SimpleNamespace(codec=None), None, None, 4, 5, {})) == {}  # type: ignore[arg-type]

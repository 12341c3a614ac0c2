"""What is settled of conformers before they are drawn: the molecule, and a local structure for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from perrin.contracts import Outline
from perrin.errors import PerrinError
from perrin.kinds.conformers.embedding import conformers
from perrin.kinds.conformers.graph import Graph, graph_of
from perrin.kinds.conformers.padding import padded
from perrin.kinds.molecules.chemistry import from_smiles
from perrin.kinds.molecules.molecule import Molecule
from perrin.process.state import Masks
from perrin.registry import unknown


class Sized(Protocol):
    """A codec that knows which molecules it holds, and some that its model was trained on."""

    @property
    def examples(self) -> Sequence[str]: ...
    def refuse(self, molecule: Molecule, name: str, torsions: int) -> None: ...


def outlined(
    codec: Sized, n: int, seed: int, first: int, *, smiles: str | Sequence[str] | None = None, **others: Any
) -> Outline:
    """The outline of conformers (seed, first) .. (seed, first + n - 1), each a function of its own number.

    Each has a local structure of its own, by ETKDG and MMFF; its torsions are what is drawn. A molecule of which no bond
    turns has one absent torsion, so that its conformers are their local structures.

    Args:
        smiles: the molecule, or one for each sample; default: examples of the training molecules take turns.

    Raises:
        PerrinError: a SMILES that does not parse, a molecule that the model does not hold or that cannot be embedded.
    """
    for name in others:
        raise unknown("wish for a conformer", name, ["smiles"])
    if smiles is None:
        chosen = [codec.examples[(first + i) % len(codec.examples)] for i in range(n)]
    else:
        chosen = [smiles] * n if isinstance(smiles, str) else list(smiles)
    if len(chosen) != n:
        raise PerrinError(f"{len(chosen)} SMILES for {n} samples; give one, or one each")
    known = {text: _known(codec, text) for text in dict.fromkeys(chosen)}
    places = [conformers(known[text][0], seed, [first + i])[0].positions for i, text in enumerate(chosen)]
    graphs = [known[text][1] for text in chosen]
    atoms = max(len(graph.numbers) for graph in graphs)
    torsions = max(1, *(len(graph.quadruples) for graph in graphs))
    condition = padded(graphs, [p for p in places if p is not None], atoms, torsions)
    valid = condition["quadruples"][:, :, 0] >= 0
    about = [{"smiles": text} for text in chosen]
    return Outline({"torsions": (torsions,)}, Masks(valid={"torsions": valid}), None, condition, about)


def _known(codec: Sized, smiles: str) -> tuple[Molecule, Graph]:
    """The molecule of a SMILES and its graph, if the model holds them."""
    molecule = from_smiles(smiles, hydrogens=False)
    if "." in smiles:
        raise PerrinError(f"{smiles!r} is several molecules; conformers are of one")
    graph = graph_of(molecule)
    codec.refuse(molecule, f"{smiles!r}", len(graph.quadruples))
    return molecule, graph

"""A sheet of drawings in two dimensions, a cell a molecule with what is said of it beneath; drawn by RDKit."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from perrin.errors import PerrinError
from perrin.kinds.molecules.chemistry import canonical, to_rdkit
from perrin.kinds.molecules.library import need_rdkit
from perrin.kinds.molecules.molecule import Molecule

if TYPE_CHECKING:
    from rdkit.Chem import Mol

CELL, DRAWN, LINE = 260, 200, 15  # pixels: a cell's width, the height of its drawing, of a line of text
_BROKEN = (178, 34, 34)
_TEXT = (60, 60, 60)


def sheet(molecules: Sequence[Molecule], columns: int | None = None) -> Image.Image:
    """All molecules in a grid, hydrogens left out where valences imply them.

    Beneath each its SMILES and properties, or in red why it is not sound.

    Raises:
        PerrinError: no molecules.
    """
    need_rdkit("drawing molecules")
    if not molecules:
        raise PerrinError("no molecules to draw")
    columns = columns or min(len(molecules), max(4, round(math.sqrt(len(molecules)))))
    captions = [_drawing(molecule) for molecule in molecules]
    lines = max(len(caption) for _, caption, _ in captions)
    height = DRAWN + LINE * lines + 12
    page = Image.new("RGB", (CELL * columns, height * math.ceil(len(molecules) / columns)), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(11)
    for place, (drawing, caption, sound) in enumerate(captions):
        x, y = CELL * (place % columns), height * (place // columns)
        page.paste(drawing, (x, y))
        for row, text in enumerate(caption):
            colour = _TEXT if sound else _BROKEN
            pen.text((x + CELL / 2, y + DRAWN + LINE * (row + 0.5)), text, colour, font, anchor="mm")
    return page


def caption(molecule: Molecule, wide: int = 38) -> tuple[list[str], bool]:
    """What is said beneath a molecule, in lines of so many characters, and whether it is sound."""
    numbers = "  ".join(f"{name} {value:.4g}" for name, value in molecule.properties.items())
    remark = ""
    try:
        mol = to_rdkit(molecule)
        said, remark, sound = canonical(mol), _remark(mol), True
    except PerrinError as error:
        said, sound = str(error).split(": ", 1)[-1], False
    shown = said if len(said) <= 2 * wide else said[: 2 * wide - 1] + "\N{HORIZONTAL ELLIPSIS}"
    lines = [shown[i : i + wide] for i in range(0, len(shown), wide)]
    return [*lines, *(text[:wide] for text in (remark, numbers) if text)], sound


def _remark(mol: Mol) -> str:
    """What a chemist would see at once in a molecule that is sound by its valences."""
    from rdkit import Chem

    parts = len(Chem.GetMolFrags(mol))
    unpaired = sum(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms())
    said = [f"{parts} pieces"] if parts > 1 else []
    return ", ".join([*said, f"{unpaired} unpaired electron{'s'[: unpaired > 1]}"] if unpaired else said)


def _drawing(molecule: Molecule) -> tuple[Image.Image, list[str], bool]:
    from rdkit import rdBase
    from rdkit.Chem.Draw import rdMolDraw2D

    said, sound = caption(molecule)
    with rdBase.BlockLogs():
        mol = _flat(molecule, sound)
        drawer = rdMolDraw2D.MolDraw2DCairo(CELL, DRAWN)
        options = drawer.drawOptions()
        options.prepareMolsBeforeDrawing = False
        options.padding = 0.08
        options.fixedBondLength = 26
        options.addStereoAnnotation = False
        drawer.DrawMolecule(mol)
        drawer.FinishDrawing()
    with Image.open(io.BytesIO(drawer.GetDrawingText())) as image:
        return image.convert("RGB"), said, sound


def _flat(molecule: Molecule, sound: bool) -> Mol:
    """A molecule with places on paper, prepared for drawing as far as it can be."""
    from rdkit import Chem
    from rdkit.Chem import rdDepictor
    from rdkit.Chem.Draw import rdMolDraw2D

    mol = to_rdkit(molecule, sanitize=sound)
    if sound:
        mol = Chem.RemoveHs(mol)
        mol.RemoveAllConformers()
        return rdMolDraw2D.PrepareMolForDrawing(mol)
    mol.RemoveAllConformers()
    rdDepictor.Compute2DCoords(mol)
    return mol

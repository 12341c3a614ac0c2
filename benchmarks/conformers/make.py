"""Conformers to train on: ETKDG and MMFF of the first molecules of a file of SMILES, as one structure-data file.

    python benchmarks/conformers/make.py --smiles zinc_train.smi.gz --out zinc.sdf [--molecules 2400] [--each 3]

Heavy atoms only; the conformers of a molecule follow one another. A file that was begun is gone on with. See README.md.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from perrin.kinds.conformers.making import make
from perrin.kinds.molecules.smiles_rows import smiles_lines


def main() -> None:
    parser = argparse.ArgumentParser(description="Conformers to train on.")
    parser.add_argument("--smiles", type=Path, required=True, help="a .smi or .smi.gz file")
    parser.add_argument("--out", type=Path, required=True, help="the .sdf file")
    parser.add_argument("--molecules", type=int, default=2_400)
    parser.add_argument("--each", type=int, default=3, help="conformers of a molecule")
    given = parser.parse_args()
    started = time.process_time()
    for broken in make(smiles_lines(given.smiles), given.out, given.each, given.molecules):
        print(f"left out: {broken}")
    print(f"{time.process_time() - started:.0f} CPU-s")


if __name__ == "__main__":
    main()

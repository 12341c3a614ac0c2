"""Why the files of a folder are no volume, in words of the people who make such images.

A series is one scan: slices of one size in one direction, at even distances, each place once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.files import few
from perrin.kinds.volumes.dicom_frames import MOMENTS, Frame

if TYPE_CHECKING:
    from pydicom import Dataset

PARALLEL = 1e-3  # cosines; scanners round them to 6 digits
EVEN = 0.05  # of the step: rounded positions differ by less, another spacing by more


def refuse_mixed(headers: Sequence[Dataset], paths: Sequence[Path]) -> None:
    """Refuse files of several series, or images of several forms.

    Raises:
        PerrinError: naming the series, or the file that differs.
    """
    series = [str(h.get("SeriesInstanceUID", "")) for h in headers]
    if len(set(series)) > 1:
        said = Counter(series)
        of = {uid: headers[series.index(uid)] for uid in said}
        listed = [
            f"{of[uid].get('Modality', '?')} series {of[uid].get('SeriesNumber') or '?'} (files: {count:,})"
            for uid, count in said.most_common()
        ]
        raise PerrinError(
            f"'{paths[0].parent}' holds {len(said)} series: {few(listed, 4)}; give each its own folder, or write "
            "each: file to take every file as an image of its own"
        )
    first = headers[0]
    for keyword, what in (
        ("Rows", "rows"),
        ("Columns", "columns"),
        ("SamplesPerPixel", "colour channels"),
        ("PhotometricInterpretation", "photometric interpretation"),
    ):
        for header, path in zip(headers, paths, strict=True):
            if header.get(keyword) != first.get(keyword):
                raise PerrinError(
                    f"'{path.name}' has {what} {header.get(keyword)} and '{paths[0].name}' {first.get(keyword)}: another "
                    "scan, or a localizer (scout) among the slices; put it into a folder of its own"
                )


def refuse_segments(header: Dataset, path: Path) -> None:
    """Refuse a segmentation of several structures.

    Raises:
        PerrinError: saying how many.
    """
    segments = header.get("SegmentSequence") or []
    if len(segments) > 1:
        raise PerrinError(
            f"'{path.name}' is a segmentation of {len(segments)} structures, whose masks lie in one place; export one "
            "structure alone"
        )


def refuse_directions(frames: list[Frame], directions: np.ndarray) -> None:
    """Refuse slices of several directions [n, 2, 3] or pixel sizes.

    Raises:
        PerrinError: naming the file that differs.
    """
    first = directions[0]
    if np.abs(first @ first.T - np.eye(2)).max() > 10 * PARALLEL:
        raise PerrinError(
            f"'{frames[0].path.name}' names directions of its rows and columns that are not at right angles "
            "(ImageOrientationPatient); its geometry is damaged"
        )
    other = np.abs(directions - first).max((1, 2)) > PARALLEL
    if other.any():
        bad = frames[int(np.argmax(other))]
        raise PerrinError(
            f"{_named(bad)} lies in another direction than '{frames[0].path.name}' ({int(other.sum())} of {len(frames)} "
            "slices do): a localizer (scout) or a second plane among them; put it into a folder of its own"
        )
    for frame in frames:
        if frame.spacing != frames[0].spacing:
            raise PerrinError(
                f"{_named(frame)} has pixels of {frame.spacing} mm and '{frames[0].path.name}' of {frames[0].spacing} mm: "
                "scans of two fields of view are mixed; put each into a folder of its own"
            )


def refuse_places(frames: list[Frame], along: np.ndarray, headers: dict[Path, Any]) -> None:
    """Refuse slices that share a place, lack a neighbour or are unevenly spaced; `along` [n] rises, in mm.

    Raises:
        PerrinError: naming the slices and where they lie.
    """
    steps = np.diff(along)
    step = float(np.median(steps))
    same = np.flatnonzero(steps < 1e-3 + 0.01 * abs(step))
    if len(same):
        one, other = frames[same[0]], frames[same[0] + 1]
        raise PerrinError(
            f"{_named(one)} and {_named(other)} lie at the same place ({along[same[0]]:.2f} mm; {len(same)} pairs do): "
            f"{_why_twice(headers[one.path], headers[other.path])}"
        )
    gaps = np.flatnonzero(steps > 1.5 * step)
    if len(gaps):
        at = gaps[0]
        missing = int(np.rint(steps[gaps] / step - 1).sum())
        raise PerrinError(
            f"{missing} slice{'s are' if missing > 1 else ' is'} missing: between {_named(frames[at])} "
            f"({along[at]:.2f} mm) and {_named(frames[at + 1])} ({along[at + 1]:.2f} mm) lie {steps[at]:.2f} mm, and "
            f"{step:.2f} mm between the others; export the whole series"
        )
    if np.abs(steps - step).max() > EVEN * step:
        raise PerrinError(
            f"the slices are unevenly spaced, from {steps.min():.2f} to {steps.max():.2f} mm apart; reconstruct the "
            "series with one spacing"
        )


def refuse_bent(frames: list[Frame], places: np.ndarray, step: np.ndarray) -> None:
    """Refuse slices that are shifted sideways against each other; a constant shift (a tilted gantry) is a shear.

    Raises:
        PerrinError: naming the worst.
    """
    off = np.linalg.norm(places - (places[0] + np.arange(len(places))[:, None] * step), axis=1)
    if off.max() > max(0.1, EVEN * float(np.linalg.norm(step))):
        bad = frames[int(np.argmax(off))]
        raise PerrinError(
            f"{_named(bad)} is shifted sideways by {off.max():.1f} mm against the line of the other slices: parts of "
            "several scans are mixed, or the table moved; export one series"
        )


def _why_twice(one: Any, other: Any) -> str:
    if one is not other and one.get("SOPInstanceUID") == other.get("SOPInstanceUID"):
        return "the same image is there twice; remove the copy"
    differing = [k for k in MOMENTS if one.get(k) != other.get(k)]
    by = f", which differ in {few(differing, 2)}" if differing else ""
    return f"the series holds several phases, echoes or repetitions{by}; put each into a folder of its own"


def _named(frame: Frame) -> str:
    return f"'{frame.path.name}'" + (f" frame {frame.number + 1}" if frame.number else "")

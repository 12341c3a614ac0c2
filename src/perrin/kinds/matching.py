"""The classes of the data among those that a model, or the classifier that guides it, can be asked for: by their names."""

from __future__ import annotations

from collections.abc import Sequence

from perrin.errors import PerrinError
from perrin.kinds.files import few


def matched(known: Sequence[str] | None, classes: Sequence[str] | None, model: str) -> list[int] | None:
    """What to ask for, for each class of the data; None where the data have no labels.

    Args:
        known: classes that can be asked for; classes: of the data; model: its name, for messages.

    Raises:
        PerrinError: labelled data and a model without classes, or classes that it does not know.
    """
    if classes is None:
        return None
    if not known:
        raise PerrinError(
            f"the data have classes ({few(classes)}) and {model} was trained without any; give a model with classes, a "
            "classifier that guides it, or read the data with labels=false"
        )
    missing = [name for name in classes if name not in known]
    if missing:
        raise PerrinError(f"{model} does not know {few(missing)} of the data; its classes are {few(known)}")
    return [list(known).index(name) for name in classes]

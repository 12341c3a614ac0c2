"""How many synthetic items of each class."""

from __future__ import annotations

from collections.abc import Sequence

from perrin.errors import PerrinError


def wanted(
    real: Sequence[int], *, n: int | None = None, per_class: int | None = None, balance: bool = False
) -> list[int]:
    """Items of each class, for `real` ones of each.

    Args:
        n: in all, evenly over the classes; per_class: of each.
        balance: as many as each class has fewer than the largest; by default as many as there are real ones.

    Raises:
        PerrinError: more than one of them, a number below 1, or classes that are in balance already.
    """
    chosen = [name for name, given in (("n", n), ("per_class", per_class), ("balance", balance)) if given]
    if len(chosen) > 1:
        raise PerrinError(f"{' and '.join(chosen)} both say how many; give one of them")
    for name, number in (("n", n), ("per_class", per_class)):
        if number is not None and number < 1:
            raise PerrinError(f"{name} = {number} must be at least 1")
    if balance:
        found = [max(real) - count for count in real]
        if not any(found):
            raise PerrinError(f"all classes have {max(real)} items: there is nothing to balance")
        return found
    if per_class is not None:
        return [per_class] * len(real)
    if n is not None:
        return [n // len(real) + (place < n % len(real)) for place in range(len(real))]
    return list(real)

"""Weights of one network under the names of another, both ways: one list of pairs says it once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from perrin.errors import PerrinError


@dataclass(frozen=True)
class Pair:
    """A tensor of ours, and the tensors of theirs that say the same.

    Attributes:
        into: their tensors to ours; out: ours to theirs, of which several pairs may give the same one.
    """

    ours: str
    theirs: tuple[str, ...]
    into: Callable[..., Tensor]
    out: Callable[[Tensor], Sequence[Tensor]]


def same(ours: str, theirs: str) -> Pair:
    """Another name alone."""
    return Pair(ours, (theirs,), lambda value: value, lambda value: (value,))


def shared(ours: str, theirs: Sequence[str]) -> Pair:
    """One tensor of ours that they hold many times; `alike` says beforehand whether they do."""
    return Pair(ours, tuple(theirs), lambda first, *_: first, lambda value: [value] * len(theirs))


def turned(pair: Pair, into: Callable[[Tensor], Tensor], out: Callable[[Tensor], Tensor]) -> Pair:
    """The pair with a rearrangement of each of its tensors."""
    return Pair(
        pair.ours,
        pair.theirs,
        lambda *values: into(pair.into(*values)),
        lambda value: [out(one) for one in pair.out(value)],
    )


def joined(ours: str, theirs: Sequence[str], pixels: int = 0) -> Pair:
    """Rows of several maps below one another; ours a convolution over one of `pixels` dimensions, theirs linear."""
    count = len(theirs)

    def into(*values: Tensor) -> Tensor:
        found = torch.cat(values)
        return found.reshape(*found.shape, *[1] * (pixels if found.ndim == 2 else 0))

    def out(value: Tensor) -> Sequence[Tensor]:
        plain = value.flatten(1) if value.ndim > 1 else value
        return plain.chunk(count)

    return Pair(ours, tuple(theirs), into, out)


def layer(ours: str, theirs: str) -> list[Pair]:
    """Weight and bias of a layer under another name."""
    return [same(f"{ours}.{part}", f"{theirs}.{part}") for part in ("weight", "bias")]


def alike(found: Mapping[str, Tensor], names: Sequence[str]) -> bool:
    """Whether tensors of theirs are one and the same."""
    return all(torch.equal(found[names[0]], found[name]) for name in names[1:])


def native(pairs: Sequence[Pair], found: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """Their tensors under our names.

    Raises:
        PerrinError: one that is missing, or that no pair knows.
    """
    known = {name for pair in pairs for name in pair.theirs}
    for name in sorted(known ^ set(found)):
        said = "lacks" if name in known else "has, and Perrin's network has not,"
        raise PerrinError(f"{where} {said} {name!r}: its weights are of another network")
    return {pair.ours: pair.into(*(found[name] for name in pair.theirs)).contiguous() for pair in pairs}


def foreign(pairs: Sequence[Pair], weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our tensors under their names."""
    made: dict[str, Tensor] = {}
    for pair in pairs:
        values = pair.out(weights[pair.ours].detach().cpu())
        made |= {name: value.contiguous() for name, value in zip(pair.theirs, values, strict=True)}
    return made

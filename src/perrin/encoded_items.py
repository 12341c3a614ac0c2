"""Items of data as a likelihood takes them: encoded and checked, in parts that fit into memory, each item with its key."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from perrin.contracts import Batch, Codec, Cuts, Item, ScalesGiven
from perrin.errors import PerrinError
from perrin.process.state import Masks, single
from perrin.sample.noise import Key

if TYPE_CHECKING:
    from perrin.model import Model

EXACT = 32
"""Free entries of a state up to which a divergence is exact by default: it costs a reverse pass for each."""
FEW = 8
"""Those of a window, of which there are paths by the hundred."""


class Part(NamedTuple):
    """Some items on the model's device: states [B, ...], condition, masks, a key each, and `log |d state / d value|`.

    `small`: whether the divergence is exact by default; it is a property of the items, not of the batch that they are in.
    """

    state: Tensor
    condition: dict[str, Tensor] | None
    masks: Masks | None
    keys: list[Key]
    log_det: Tensor | float
    small: bool


def parts(model: Model, data: Any, label: Any, size: int, seed: int) -> Iterator[Part]:
    """The items in their order, up to `size` at a time.

    Raises:
        PerrinError: items that the codec refuses or would resize, labels that do not fit.
    """
    codec, items = model.codec, as_items(data)
    if isinstance(codec, Cuts):
        items = cast("Sequence[Item]", codec.cut(cast("Any", items)))
    check_labels(label, items)
    for first in range(0, len(items), size):
        chunk = [items[i] for i in range(first, min(first + size, len(items)))]
        encoded = encode_unchanged(codec, chunk)
        chosen = label if isinstance(label, str | int) else list(label)[first : first + size]
        encoded = encoded._replace(condition=condition_of(model, encoded, chosen))
        log_det: Tensor | float = 0.0
        if isinstance(codec, ScalesGiven):
            log_det = codec.log_det_given([item["value"] for item in chunk], encoded.condition or {})
        elif codec.lattice is None:
            log_det = codec.log_det()
        yield from _alike(model, encoded, _keys(codec, encoded, seed, first), log_det)


def _alike(model: Model, encoded: Batch, keys: list[Key], log_det: Tensor | float) -> Iterator[Part]:
    """Runs of neighbouring items of which all are small, or none."""
    device = next(model.module.parameters()).device
    state = single(encoded.state)
    learned = None if encoded.masks is None else encoded.masks.learned
    free = torch.full((len(state),), state[0].numel()) if learned is None else learned.flatten(1).sum(1)
    start = 0
    most = FEW if isinstance(model.codec, ScalesGiven) else EXACT
    for small, group in groupby((free <= most).tolist()):
        rows = slice(start, start + len(list(group)))
        start = rows.stop

        def some(value: Tensor, rows: slice = rows) -> Tensor:
            return value[rows].to(device)

        held = None if encoded.condition is None else {n: some(v) for n, v in encoded.condition.items()}
        masks = None if encoded.masks is None else encoded.masks.map(some)
        own = log_det[rows] if isinstance(log_det, Tensor) else log_det
        yield Part(some(state), held, masks, keys[rows], own, small)


def _keys(codec: Codec, encoded: Batch, seed: int, first: int) -> list[Key]:
    """What names the draws of every item: its place in the data.

    Where something is given of items, it is this that names them: paths of one history have the same draws, whose error is
    then nearly the same for all of them, and which is likelier hardly depends on it.
    """
    state = single(encoded.state)
    if not isinstance(codec, ScalesGiven) or encoded.masks is None:
        return [(seed, first + i) for i in range(len(state))]
    observed, valid = single(encoded.masks.observed), single(encoded.masks.valid)
    assert observed is not None
    assert valid is not None
    given = torch.where(observed, state, 0)
    rows = zip(observed.numpy(), valid.numpy(), given.numpy(), strict=True)
    texts = (b"".join(np.ascontiguousarray(part).tobytes() for part in row) for row in rows)
    digests = (hashlib.blake2b(text, digest_size=8).digest() for text in texts)
    return [(seed, int.from_bytes(digest, "little", signed=True)) for digest in digests]


def check_labels(label: Any, items: Sequence[Item]) -> None:
    """Refuse another number of labels than of items."""
    if not isinstance(label, str | int) and len(label) != len(items):
        raise PerrinError(f"{len(label)} labels for {len(items)} items; give one, or one each")


def as_items(data: Any) -> Sequence[Item]:
    """A dataset as it is; plain values as items without labels."""
    if hasattr(data, "split") and hasattr(data, "classes"):
        return cast("Sequence[Item]", data)
    if isinstance(data, str):
        raise PerrinError(
            f"give values or a dataset, not the text or path {data!r}; perrin likelihood MODEL DATA reads files"
        )
    return [{"value": _value(v), "label": None, "name": f"item {i}"} for i, v in enumerate(data)]


def _value(value: Any) -> Any:
    """Numbers as an array; a text, or an object of the kind's own, as it is."""
    array = value if isinstance(value, str) else np.asarray(value)
    return value if isinstance(array, str) or array.dtype == object else array


def encode_unchanged(codec: Codec, items: Sequence[Item]) -> Batch:
    """`codec.encode`, but an item that it would resize is refused: a resized item has another likelihood and code.

    Raises:
        PerrinError: another shape than the model's data.
    """
    encoded = codec.encode(items)
    if isinstance(codec, ScalesGiven):  # windows are of any length, and stay so
        return encoded
    for item, decoded in zip(items, codec.decode(encoded.state), strict=True):
        if item["value"].shape not in (decoded.shape, (*decoded.shape, 1)):
            raise PerrinError(
                f"{item['name']} has shape {item['value'].shape}, and the model's data have {decoded.shape}; bring it "
                "to that shape first: a resized item is another item"
            )
    return encoded


def condition_of(model: Model, encoded: Batch, label: Any) -> dict[str, Tensor] | None:
    """What the codec says of the items, with their own labels, none, or the ones asked for."""
    told = {name: value for name, value in (encoded.condition or {}).items() if name != "label"}
    if not model.codec.classes:
        if label not in ("own", "none"):
            raise PerrinError("this model was trained without classes; it takes no label")
        return told or None
    count = len(encoded.state)
    if isinstance(label, str) and label == "own":
        own = (encoded.condition or {}).get("label")
        return told | {"label": torch.full((count,), -1) if own is None else own}
    chosen = label if isinstance(label, list) else [label] * count
    return told | {"label": torch.tensor([model.label(name) for name in chosen])}

"""Long documents as items that fit a state: windows of a context C, cut at every C-th token.

Without a seed a window shows the tokens that are its own, so that all windows together show every token of every
document once. It also holds its neighbours, so that a seeded crop of C tokens may begin at any of C places, and the
crops of all windows together begin at every place of the document. No window crosses into another document.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from perrin.kinds.labels import UNLABELLED


class Window(NamedTuple):
    """`tokens` whole numbers; `start`: where in them its own begin, from which an unseeded crop is taken."""

    tokens: np.ndarray
    start: int


def crop(window: Window, context: int, seed: int | None) -> np.ndarray:
    """At most `context` tokens: the window's own, or, with a seed, beginning anywhere that `context` of them fit."""
    if seed is None:
        return window.tokens[window.start : window.start + context]
    room = len(window.tokens) - context
    start = int(np.random.Generator(np.random.PCG64(seed % 2**64)).integers(room + 1)) if room > 0 else 0
    return window.tokens[start : start + context]


@dataclass(frozen=True)
class Windows:
    """The windows of many documents: a `selection.Source` over their tokens in a row.

    Args:
        tokens: of all documents, one after another; starts: [documents + 1] where each begins.
        firsts: [documents + 1] the number of each document's first window.
        names: of the documents.
        context: C.
        labels: int64, of each window that of its document, -1 for none; None without labels.
        classes: names, index = label.
    """

    tokens: np.ndarray
    starts: np.ndarray
    firsts: np.ndarray
    names: list[str]
    context: int
    labels: np.ndarray | None
    classes: list[str] | None

    def __len__(self) -> int:
        return int(self.firsts[-1])

    def _place(self, index: int) -> tuple[int, int]:
        """The document of a window, and where in it the window's own tokens begin."""
        document = int(np.searchsorted(self.firsts, index, "right")) - 1
        return document, (index - int(self.firsts[document])) * self.context

    def name(self, index: int) -> str:
        """The document's name, and at which of its tokens the window begins where there are several."""
        document, at = self._place(index)
        several = self.firsts[document + 1] - self.firsts[document] > 1
        return f"{self.names[document]} @ {at}" if several else self.names[document]

    def documents(self) -> list[np.ndarray]:
        """The tokens of each document."""
        return np.split(self.tokens, self.starts[1:-1])

    def read(self, index: int) -> Window:
        """The window's own tokens and its neighbours."""
        document, at = self._place(index)
        start, stop = int(self.starts[document]) + at, int(self.starts[document + 1])
        size, first = self.context, int(self.starts[document])
        if stop - start >= size:
            return Window(self.tokens[start : min(start + 2 * size - 1, stop)], 0)
        # the rest of a document is shorter than C: a crop of it reaches back
        back = max(first, stop - 2 * size + 1)
        return Window(self.tokens[back:stop], start - back)


def windows(
    documents: Iterable[np.ndarray],
    names: list[str],
    labels: list[int | None],
    classes: list[str] | None,
    context: int,
    dtype: np.dtype,
) -> Windows:
    """Cut documents, given as their tokens; they are kept in one array of the small type."""
    held, starts = bytearray(), [0]
    for tokens in documents:
        held += np.ascontiguousarray(tokens, dtype).data
        starts.append(len(held) // dtype.itemsize)
    of_window = None
    counts = -(-np.diff(starts) // context)
    if classes is not None:
        of_document = np.array([UNLABELLED if label is None else label for label in labels], np.int64)
        of_window = np.repeat(of_document, counts)
    firsts = np.r_[0, np.cumsum(counts)]
    return Windows(np.frombuffer(held, dtype), np.array(starts), firsts, names, context, of_window, classes)

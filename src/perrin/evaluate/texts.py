"""Written against real text: every figure of a text model with its baseline and its ceiling.

Of samples, in characters whatever the vocabulary, so that models of different ones compare:
`ceiling`: the same figure for held-out text in pieces like the samples; `baseline`: for characters drawn on their own by
how often they occur, which have the right entropy and nothing else. Of held-out text: `text_bits` and `infilling`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from perrin.contracts import Dataset, Item
from perrin.errors import PerrinError
from perrin.evaluate.case import Case, Judged
from perrin.evaluate.infilling import infilling
from perrin.evaluate.text_bits import held_out_bits
from perrin.evaluate.text_classes import class_figures
from perrin.kinds.labels import UNLABELLED
from perrin.kinds.selection import Selection
from perrin.kinds.text.codec import SHADE, TextCodec
from perrin.kinds.text.windows import Windows
from perrin.metrics import distinct_share, longest_copies, repeated_share, unigram_entropy
from perrin.metrics.ngrams import NGrams, fit
from perrin.model import Model
from perrin.samples import Samples

MOST = 4_000_000  # training characters or tokens that n-grams are counted in: the first ones
MOST_SAMPLES = 500  # and as many pieces of held-out text
MOST_COPIED = 50  # samples whose longest copy is looked for: a search of all of the training text each
ORDER = 5  # of the n-grams that read samples
REPEATED = 8  # characters of a run whose return is counted: a word or two
# the largest n-grams that read held-out tokens; of other vocabularies 5
ORDERS = {"character": 7, "byte": 7, "bpe": 4}
SHOWN = 8

NOTE = (
    "Ceiling: held-out text, in pieces like the samples. Baseline: characters drawn on their own by how often they "
    f"occur; of infilling: {ORDER}-grams, which see the text before a gap. The n-grams are those of the training text, and "
    "of all orders the best is taken on the held-out text itself. A longest copy far above the ceiling's is copying. "
    "Classes are read by the n-grams of each; control: the asked ones shuffled."
)


def judged(case: Case) -> Judged:
    """The figures of a text model, and texts to look at."""
    found, texts = text_figures(
        case.model, case.drawn, case.seen, case.test, seed=case.options["seed"], progress=case.progress
    )
    picture = case.drawn.picture()
    return Judged(case.drawn, found, ".txt" if picture is None else ".png", {"Samples": picture}, texts)


def text_figures(
    model: Model,
    drawn: Samples,
    train: Sequence[Dataset],
    test: Dataset,
    *,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """All figures of a text model, JSON-able; and texts to look at, heading -> texts.

    Args:
        drawn: its samples; train: the documents it was trained beside; test: documents it never met.
        seed: of the baseline and of the places of gaps.

    Returns:
        `text_bits.held_out_bits`, `infilling.infilling`, and of the samples, each with `_ceiling` and `_baseline`:
        - `sample_bits`: per character, under 5-grams of the training text;
        - `entropy`: bits per character of the characters' own frequencies;
        - `repeated_share`, `distinct_share`: of runs of 8 characters, within a text and over all;
        - `word_share`: share of words that occur in the training text (None for texts without words);
        - `longest_copy`: characters of the longest run that stands in the training text, on average;
        - `class_accuracy`, also with `_control`; only with labels (`text_classes`).

    Raises:
        PerrinError: no samples with text in them, or data that hold none.
    """
    codec = model.codec
    assert isinstance(codec, TextCodec)
    parts = [codec.cut(part) for part in train]
    held_out = codec.cut(test)
    counted = fit(
        _capped([d for part in parts for d in _documents(part)]),
        ORDERS.get(codec.vocabulary.level, ORDER),
        codec.categories,
    )
    told = progress or (lambda *_: None)
    told("reading held-out text", 0, 3)
    found = held_out_bits(model, codec, test, counted)
    told("reading held-out text", 1, 3)
    found |= infilling(model, codec, held_out, counted, seed)
    told("reading held-out text", 2, 3)
    written = [text.replace(SHADE, "") for text in drawn.decoded][:MOST_SAMPLES]
    chosen = _evenly(held_out, len(written))
    pieces = _pieces(codec, chosen, [len(text) for text in written])
    items = [d[i] for d in train for i in range(len(d))]
    known = [str(item["value"]) for item in items]
    found |= sample_figures(written, pieces, known, seed=seed)
    if drawn.labels is not None:
        given = [_label(item) for item in chosen], [_label(item) for item in items]
        found |= _classes(written, drawn.labels.tolist()[: len(written)], pieces, known, *given, seed)
    told("reading held-out text", 3, 3)
    found |= {
        "counts": {"generated": len(drawn), "training": sum(map(len, parts)), "test": len(held_out)},
        "features": "characters",
        "baseline": "characters by their frequency; left-context 5-grams of infilling",
        "note": NOTE,
    }
    return found, {"Samples": drawn.decoded[:SHOWN], "Held-out text": pieces[: SHOWN // 4]}


def sample_figures(
    written: Sequence[str], pieces: Sequence[str], training: Sequence[str], *, seed: int = 0
) -> dict[str, Any]:
    """The figures of sampled texts beside those of held-out pieces and of characters drawn by frequency.

    Raises:
        PerrinError: no text at all in the samples, the pieces or the training texts.
    """
    for name, texts in (("samples", written), ("held-out texts", pieces), ("training texts", training)):
        if not any(texts):
            raise PerrinError(f"the {name} hold no characters, so there is nothing to compare")
    alphabet = _alphabet(training, written, pieces)
    known = _capped([_numbers(text, alphabet) for text in training])
    words = {word for text in training for word in words_of(text)}
    grams = fit(known, ORDER, len(alphabet))
    lengths = [len(text) for text in written]
    random = grams.sample(len(lengths), max(lengths), seed, 1)
    trivial = ["".join(alphabet[i] for i in row[:n]) for row, n in zip(random, lengths, strict=True)]
    equal = min(len(written), len(pieces))  # distinct shares fall with the number of texts
    found: dict[str, Any] = {}
    for suffix, texts in (("", written), ("_baseline", trivial), ("_ceiling", pieces)):
        own = [_numbers(text, alphabet) for text in texts if text]
        row = _figures(own, grams, known) | {
            "distinct_share": _distinct([_numbers(text, alphabet) for text in texts[:equal]]),
            "word_share": _known_words(texts, words),
        }
        found |= {f"{name}{suffix}": value for name, value in row.items()}
    return found


def _figures(texts: list[np.ndarray], grams: NGrams, known: list[np.ndarray]) -> dict[str, float | None]:
    long = [text for text in texts if len(text) >= REPEATED]
    return {
        "sample_bits": float(grams.bits(texts).mean()),
        "entropy": unigram_entropy(texts),
        "repeated_share": repeated_share(long, REPEATED) if long else None,
        "longest_copy": float(longest_copies(texts[:MOST_COPIED], known).mean()),
    }


def _distinct(texts: list[np.ndarray]) -> float | None:
    long = [text for text in texts if len(text) >= REPEATED]
    return distinct_share(long, REPEATED) if long else None


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, without those at its edges, which may be cut."""
    found = re.finditer(r"[^\W\d_]+(?:['\N{RIGHT SINGLE QUOTATION MARK}][^\W\d_]+)*", text)
    return [word[0].lower() for word in found if word.start() > 0 and word.end() < len(text)]


def _known_words(texts: Sequence[str], known: set[str]) -> float | None:
    words = [word for text in texts for word in words_of(text)]
    return sum(word in known for word in words) / len(words) if words else None


def _classes(
    written: Sequence[str],
    asked: Sequence[int],
    pieces: Sequence[str],
    known: Sequence[str],
    piece_labels: Sequence[int],
    labels: Sequence[int],
    seed: int,
) -> dict[str, float]:
    alphabet = _alphabet(known, written, pieces)
    numbers = [[_numbers(text, alphabet) for text in texts] for texts in (written, pieces, known)]
    training = _capped(numbers[2])
    own = labels[: len(training)]
    return class_figures(numbers[0], asked, numbers[1], piece_labels, training, own, len(alphabet), seed)


def _label(item: Item) -> int:
    return UNLABELLED if item["label"] is None else item["label"]


def _evenly(held_out: Selection, most: int) -> list[Item]:
    """At most so many windows, evenly spread; none twice."""
    chosen = np.linspace(0, len(held_out) - 1, min(most, len(held_out))).astype(int)
    return [held_out[int(i)] for i in chosen]


def _pieces(codec: TextCodec, items: Sequence[Item], lengths: Sequence[int]) -> list[str]:
    """Held-out texts as long as the samples where there are such."""
    texts = codec.decode(codec.encode(items).state)
    return [text[:n] for text, n in zip(texts, lengths, strict=False)]


def _documents(part: Selection) -> list[np.ndarray]:
    assert isinstance(part.source, Windows)
    return part.source.documents()


def _alphabet(*sets: Sequence[str]) -> list[str]:
    found = set[str]()
    for text in (text for texts in sets for text in texts):
        found |= set(text)
    return sorted(found)


def _numbers(text: str, alphabet: Sequence[str]) -> np.ndarray:
    points = np.frombuffer(text.encode("utf-32-le"), "<u4")
    return np.searchsorted(np.array([ord(c) for c in alphabet]), points)


def _capped(rows: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The first `MOST` numbers of several rows."""
    kept, room = list[np.ndarray](), MOST
    for row in rows:
        kept.append(row[:room])
        room -= len(kept[-1])
        if not room:
            break
    return kept

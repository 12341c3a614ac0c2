"""What held-out text costs a model in bits, beside what it costs whoever only counts n-grams.

    bits per character = sum over stretches of (bound of -log2 P) / their characters

A stretch is a document, or several contexts of a longer one; the model reads it in passages with what stands before
them (`perrin.passages`), the n-grams token by token.
"""

from __future__ import annotations

import math
import sys
from typing import Any, get_args

import numpy as np

from perrin.contracts import Dataset
from perrin.kinds.labels import UNLABELLED
from perrin.kinds.selection import Selection
from perrin.kinds.text.codec import TextCodec
from perrin.kinds.text.documents import TextsInMemory
from perrin.kinds.text.vocabularies import Level
from perrin.metrics.ngrams import NGrams
from perrin.metrics.ratios import ratio
from perrin.model import Model

LONGEST = 8  # contexts of a stretch: what its beginning lacks of its document matters little
READ = 512  # contexts of text that are read in all: an even choice of more
EVALUATIONS = 2  # of the network a passage: the stretches differ by more than the levels drawn


def held_out_bits(model: Model, codec: TextCodec, held_out: Dataset, counted: NGrams) -> dict[str, Any]:
    """The model's bound on held-out documents and the n-grams' bits of the same text, JSON-able.

    Args:
        counted: n-grams of the training tokens.

    Returns:
        `bits_per_character`, with `_stderr` over the stretches and `_baseline` (unigrams); `bigram_bits` and
        `ngram_bits` per character, the latter of the order that is best on this very text (`ngram_order`); `held_out`:
        the sizes, and the bits per byte and per token.
    """
    plain = codec.vocabulary.level in get_args(Level)  # any part of a plain text is a text, of a tune no tune
    chosen = stretches(held_out, codec.context, LONGEST * codec.context if plain else sys.maxsize)
    texts = [chosen[i]["value"] for i in range(len(chosen))]
    tokens = [codec.tokens(text) for text in texts]
    sizes = {
        "token": np.array([len(row) for row in tokens]),
        "byte": np.array([len(text.encode()) for text in texts]),
        "character": np.array([len(text) for text in texts]),
    }
    nats = model.log_prob(chosen, method="bound", samples=EVALUATIONS).value
    bits = -nats.double().cpu().numpy() / math.log(2)
    per = {name: ratio(bits, size) for name, size in sizes.items()}
    orders = range(1, counted.order + 1)
    counting = {n: float(counted.bits(tokens, n).sum() / sizes["character"].sum()) for n in orders}
    best = min(counting, key=lambda n: counting[n])
    return {
        "bits_per_character": per["character"][0],
        "bits_per_character_stderr": per["character"][1],
        "bits_per_character_baseline": counting[1],
        "bigram_bits": counting.get(2),
        "ngram_bits": counting[best],
        "ngram_order": best,
        "held_out": {
            "stretches": len(chosen),
            **{f"{name}s": int(size.sum()) for name, size in sizes.items()},
            **{f"bits_per_{name}": value for name, (value, _) in per.items()},
            **{f"bits_per_{name}_stderr": stderr for name, (_, stderr) in per.items()},
        },
    }


def stretches(documents: Dataset, context: int, size: int) -> Selection:
    """Documents in parts of at most `size` characters, and of them an even choice of 512 contexts in all."""
    texts, names, labels = list[str](), list[str](), list[int]()
    for index in range(len(documents)):
        item = documents[index]
        for start in range(0, len(item["value"]), size):
            texts.append(item["value"][start : start + size])
            names.append(f"{item['name']} from {start}")
            labels.append(UNLABELLED if item["label"] is None else item["label"])
    enough = math.ceil(READ * context * len(texts) / sum(map(len, texts)))
    kept = np.linspace(0, len(texts) - 1, min(len(texts), enough)).astype(int)
    classes = documents.classes
    known = None if classes is None else np.array(labels)
    return Selection(TextsInMemory(texts, names, known, classes), kept, {"path": "held-out text"}, [])

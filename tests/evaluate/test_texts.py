"""The figures of texts say what they should of texts and models whose faults are known."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from perrin.denoise.tokens import TokenDenoiser
from perrin.errors import PerrinError
from perrin.evaluate import rows, write_report
from perrin.evaluate.infilling import infilling
from perrin.evaluate.text_bits import held_out_bits, stretches
from perrin.evaluate.text_classes import class_figures
from perrin.evaluate.texts import sample_figures, text_figures, words_of
from perrin.kinds.selection import Selection
from perrin.kinds.text import TextCodec
from perrin.kinds.text.vocabularies import Bytes, Characters
from perrin.likelihood import LogProb
from perrin.metrics.ngrams import fit
from perrin.metrics.ratios import ratio
from perrin.process.categorical import masked, uniform

TALE = "the old king of rome went over hill and dale to see his daughter who was ill at home again"


def chronicle(sentences: int, seed: int) -> str:
    """Sentences of words in a random order."""
    generator = np.random.default_rng(seed)
    picked = [" ".join(generator.choice(TALE.split(), 7)).capitalize() for _ in range(sentences)]
    return ". ".join(picked) + ".\n"


TRAIN, TEST = chronicle(400, 0), chronicle(120, 1)
PIECES = [TEST[i : i + 120] for i in range(0, 3600, 120)]


class Shelf:
    """A source of given texts."""

    def __init__(self, *texts: str) -> None:
        self.texts, self.labels, self.classes = texts, None, None

    def read(self, index: int) -> str:
        return self.texts[index]

    def name(self, index: int) -> str:
        return f"text {index}"

    def __len__(self) -> int:
        return len(self.texts)


def dataset(*texts: str) -> Selection:
    return Selection(Shelf(*texts), np.arange(len(texts)), {"path": "x"}, [])


class Fixed(nn.Module):
    """Logits from a function of the tokens."""

    timed = False

    def __init__(self, logits: Any) -> None:
        super().__init__()
        self.logits, self.weight = logits, nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, time: Tensor, condition: Any = None) -> Tensor:
        return self.logits(x) + self.weight


def model_of(codec: TextCodec, logits: Any, nats: float = 1.0, process: Any = masked) -> Any:
    """A stand-in for a model: a denoiser, and so many nats for every token."""

    def log_prob(data: Selection, method: str, samples: int) -> LogProb:
        assert method == "bound"
        sizes = torch.tensor([float(len(codec.tokens(data[i]["value"]))) for i in range(len(data))])
        zero = torch.zeros_like(sizes)
        return LogProb(-nats * sizes, zero, zero == 0, {"all": -nats * sizes}, 1)

    denoiser = TokenDenoiser(Fixed(logits), process(codec.categories))
    return SimpleNamespace(codec=codec, denoiser=denoiser, log_prob=log_prob)


def test_held_out_pieces_reach_their_own_ceilings() -> None:
    found = sample_figures(PIECES, PIECES, [TRAIN])
    for name in ("sample_bits", "entropy", "word_share", "repeated_share", "distinct_share", "longest_copy"):
        assert found[name] == found[f"{name}_ceiling"]
    assert found["word_share"] == 1


def test_variety_is_compared_among_as_many_samples_as_there_are_pieces() -> None:
    found = sample_figures(PIECES, PIECES[:6], [TRAIN])
    assert found["distinct_share"] == found["distinct_share_ceiling"]
    assert found["distinct_share"] > sample_figures(PIECES, PIECES, [TRAIN])["distinct_share"]


def test_copies_repetition_and_letters_at_random_are_exposed() -> None:
    def figures(texts: list[str]) -> dict[str, Any]:
        return sample_figures(texts, PIECES, [TRAIN])

    copies = figures([TRAIN[i : i + 120] for i in range(0, 3600, 120)])
    assert copies["longest_copy"] == 120
    assert copies["longest_copy"] > 4 * copies["longest_copy_ceiling"]
    assert abs(copies["sample_bits"] - copies["sample_bits_ceiling"]) < 0.5  # which alone would not tell

    loops = figures(["the king of the king of " * 5] * 30)
    assert loops["repeated_share"] > 0.7 > 3 * loops["repeated_share_ceiling"]
    assert loops["distinct_share"] < 0.01 < loops["distinct_share_ceiling"]
    assert loops["entropy"] < 0.9 * loops["entropy_ceiling"]

    letters = figures(
        [
            "".join(np.random.default_rng(i).permutation(list(TRAIN[120 * i : 120 * (i + 1)])))
            for i in range(30)
        ]
    )
    assert letters["sample_bits"] > 1.5 * letters["sample_bits_ceiling"]
    assert letters["word_share"] < 0.4
    assert abs(letters["entropy"] - letters["entropy_ceiling"]) < 0.2
    for name in ("sample_bits", "word_share", "longest_copy", "entropy"):
        assert letters[name] == pytest.approx(letters[f"{name}_baseline"], rel=0.25, abs=0.02)


def test_figures_are_json_and_those_that_mean_nothing_are_none() -> None:
    found = sample_figures(["12 3", ""], ["4 5"], ["1 2 3 4"])
    assert json.loads(json.dumps(found))
    assert found["word_share"] is None  # there are no words
    assert found["repeated_share"] is None  # there are no eight characters
    with pytest.raises(PerrinError, match="the samples hold no characters"):
        sample_figures(["", ""], ["a"], ["a"])


def test_words_at_the_edges_may_be_cut_and_do_not_count() -> None:
    assert words_of("ing Don't go, 3x na\u00efve Ki") == ["don't", "go", "x", "na\u00efve"]
    assert words_of("a") == []


def coded(context: int = 32) -> tuple[TextCodec, Selection, Any]:
    codec = TextCodec(context, None, Characters("".join(sorted(set(TRAIN + TEST)))), [context])
    return codec, codec.cut(dataset(TEST)), fit(codec.tokens(TRAIN), 3, codec.categories)


def test_bits_are_those_of_the_bound_and_of_the_n_grams_over_the_same_text() -> None:
    codec, _, counted = coded()
    found = held_out_bits(model_of(codec, None, nats=0.7), codec, dataset(TEST[:200], TEST[200:240]), counted)
    assert found["bits_per_character"] == pytest.approx(0.7 / math.log(2))
    assert found["bits_per_character_stderr"] == pytest.approx(0, abs=1e-12)
    rows_ = [codec.tokens(TEST[:200]), codec.tokens(TEST[200:240])]
    whole = [float(counted.bits(rows_, n).mean()) for n in (1, 2, 3)]
    assert found["bits_per_character_baseline"] == pytest.approx(whole[0])
    assert found["bigram_bits"] == pytest.approx(whole[1])
    assert (found["ngram_order"], found["ngram_bits"]) == (3, pytest.approx(min(whole)))
    assert found["held_out"]["characters"] == found["held_out"]["tokens"] == 240
    assert found["held_out"]["stretches"] == 2


def test_bits_per_byte_and_per_character_differ_where_characters_have_several_bytes() -> None:
    text = "é" * 64
    codec = TextCodec(16, None, Bytes(), [16])
    found = held_out_bits(model_of(codec, None), codec, dataset(text), fit(codec.tokens(text), 2, 256))
    assert found["held_out"]["bits_per_token"] == pytest.approx(1 / math.log(2))
    assert found["held_out"]["bits_per_byte"] == pytest.approx(1 / math.log(2))
    assert found["bits_per_character"] == pytest.approx(2 / math.log(2))
    assert found["bits_per_character_stderr"] is None  # of one stretch there is no spread


def test_long_texts_are_read_in_stretches_and_of_many_an_even_choice() -> None:
    codec, _, _ = coded(context=4)
    few = stretches(dataset(TEST[:100], "abc"), 4, 32)
    assert "".join(item["value"] for item in few) == TEST[:100] + "abc"
    assert [item["name"] for item in few][:2] == ["text 0 from 0", "text 0 from 32"]
    assert max(len(item["value"]) for item in few) == 8 * codec.context
    many = stretches(dataset(TEST), 4, 32)
    assert abs(sum(len(item["value"]) for item in many) - 512 * 4) <= 64  # out of more than 4,000
    assert many[0]["name"] == "text 0 from 0"
    assert many[len(many) - 1]["value"] == TEST[len(TEST) // 32 * 32 :]


def test_the_error_of_a_ratio_is_that_of_repeated_draws() -> None:
    generator = np.random.default_rng(0)
    size = generator.integers(20, 60, (3000, 40)).astype(float)
    total = 2 * size + generator.normal(size=size.shape) * np.sqrt(size)
    found = np.array([ratio(t, s) for t, s in zip(total, size, strict=True)])
    assert found[:, 0].std() == pytest.approx(found[:, 1].mean(), rel=0.05)


def alternating(context: int) -> tuple[TextCodec, Selection, Any]:
    """a b c a b c ...: any neighbour, on either side, tells a token."""
    text = "abc" * 400
    codec = TextCodec(context, None, Characters("abc"), [context])
    return codec, codec.cut(dataset(text)), fit(codec.tokens("cba" * 40), 5, 3)


def right(x: Tensor) -> Tensor:
    """Logits that know the phase of every row, surer of places whose left neighbour is known."""
    places = torch.arange(x.shape[1])
    known = (x >= 0) & (x < 3)
    phase = torch.stack([((row - places) % 3)[m][0] for row, m in zip(x, known, strict=True)])
    hot = nn.functional.one_hot((phase[:, None] + places) % 3, 3).float()
    return 9 * hot * (1 + known.roll(1, 1)[..., None])


@pytest.mark.parametrize("context", [12, 30])
def test_a_model_that_knows_fills_every_gap_and_n_grams_of_another_text_none(context: int) -> None:
    codec, held_out, counted = alternating(context)
    found = infilling(model_of(codec, right), codec, held_out, counted)
    assert found["infill_accuracy"] == found["infill_gap_accuracy"] == 1
    assert found["infill_accuracy_baseline"] == 0  # after "ab" they say "a", having read "cba"
    same = fit(codec.tokens("abc" * 40), 5, 3)
    assert infilling(model_of(codec, right), codec, held_out, same)["infill_gap_accuracy_baseline"] == 1


def test_a_model_that_guesses_fills_as_many_as_chance() -> None:
    codec, held_out, counted = alternating(30)
    seen = []

    def guess(x: Tensor) -> Tensor:
        seen.append(int((x == 3).sum(1).max()))
        return torch.randn(*x.shape, 3, generator=torch.Generator().manual_seed(len(seen)))

    found = infilling(model_of(codec, guess), codec, held_out, counted)
    assert abs(found["infill_accuracy"] - 1 / 3) < 4 * found["infill_accuracy_stderr"]
    assert abs(found["infill_gap_accuracy"] - 1 / 3) < 4 * found["infill_gap_accuracy_stderr"]
    assert seen == [1] * 8 + [5, 4, 3, 2, 1] * 8  # a token a step, batches of 25


def test_the_surest_token_of_a_gap_is_filled_first_and_the_others_see_it() -> None:
    codec, held_out, counted = alternating(30)
    order = []

    def chained(x: Tensor) -> Tensor:
        order.append(x[0].tolist())
        return right(x)

    infilling(model_of(codec, chained), codec, held_out, counted)
    first = order[8:13]  # the five steps of the first gaps of five
    gap = [i for i, token in enumerate(first[0]) if token == 3]
    for step, row in enumerate(first):
        assert [i for i, token in enumerate(row) if token == 3] == gap[step:]


def test_infilling_is_for_models_that_mask_and_texts_with_room() -> None:
    codec, held_out, counted = alternating(30)
    assert infilling(model_of(codec, right, process=uniform), codec, held_out, counted) == {}
    short = codec.cut(dataset("abc"))
    assert infilling(model_of(codec, right), codec, short, counted) == {}


class Drawn(list[str]):
    """A stand-in for samples."""

    labels: Tensor | None = None

    @property
    def decoded(self) -> list[str]:
        return list(self)


def test_all_figures_of_a_model_make_a_report(tmp_path: Any) -> None:
    codec, _, _ = coded()
    flat = model_of(codec, lambda x: torch.zeros(*x.shape, codec.categories))
    drawn = Drawn([*PIECES[:7], "<b>\u2591bold"])
    found, texts = text_figures(flat, drawn, [dataset(TRAIN)], dataset(TEST))  # type: ignore[arg-type]
    again, _ = text_figures(flat, drawn, [dataset(TRAIN)], dataset(TEST))  # type: ignore[arg-type]
    assert json.dumps(found) == json.dumps(again)
    assert found["counts"]["generated"] == 8
    named = {row.name: row for row in rows(found)}
    assert {"bits_per_character", "infill_accuracy", "sample_bits", "entropy", "longest_copy"} <= named.keys()
    assert all(row.baseline is not None for name, row in named.items() if not name.endswith("gram_bits"))
    assert found["bits_per_character_stderr"] == pytest.approx(0, abs=1e-12)
    page = write_report(tmp_path / "r.html", title="t", figures=found, pictures={}, texts=texts).read_text()
    assert "&lt;b&gt;\u2591bold" in page
    assert "<b>\u2591bold" not in page
    assert texts["Held-out text"][0] in page


def letters(alphabet: str, count: int, seed: int) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [generator.choice([ord(c) - 97 for c in alphabet], 40) for _ in range(count)]


def test_texts_of_the_class_asked_for_are_told_from_those_of_another() -> None:
    training = letters("aabbc", 20, 0) + letters("ccbdd", 20, 1)
    labels = [0] * 20 + [1] * 20
    pieces, own = letters("aabbc", 10, 2) + letters("ccbdd", 10, 3), [0] * 10 + [1] * 10
    right = class_figures(pieces, own, pieces, own, training, labels, 4)
    assert right["class_accuracy"] == right["class_accuracy_ceiling"] == 1
    assert right["class_accuracy_baseline"] > 0.9  # the frequencies of these letters tell
    assert abs(right["class_accuracy_control"] - 0.5) < 0.1
    wrong = class_figures(pieces, own[::-1], pieces, own, training, labels, 4)
    assert wrong["class_accuracy"] == 0
    unasked = class_figures(pieces, [-1] * 20, pieces, own, training, labels, 4)
    assert unasked == class_figures(pieces, own, pieces, own, training, [0] * 40, 4) == {}


def test_a_model_with_classes_is_also_judged_by_them() -> None:
    shouted = dataset(TRAIN, TRAIN.upper())
    shelf = shouted.source
    shelf.labels, shelf.classes = np.array([0, 1]), ["said", "shouted"]  # type: ignore[misc]
    both = "".join(sorted({*TRAIN, *TRAIN.upper(), *TEST}))
    codec = TextCodec(32, ["said", "shouted"], Characters(both), [32])
    flat = model_of(codec, lambda x: torch.zeros(*x.shape, codec.categories))
    drawn = Drawn([PIECES[0], PIECES[1].upper(), PIECES[2], PIECES[3]])
    drawn.labels = torch.tensor([0, 1, 1, -1])
    found, _ = text_figures(flat, drawn, [shouted], shouted)  # type: ignore[arg-type]
    assert found["class_accuracy"] == pytest.approx(2 / 3)
    assert found["class_accuracy_ceiling"] == 1

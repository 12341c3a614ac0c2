"""A model of texts: prompts and gaps stay, a sample is its key's alone, long texts are written window by window."""

import json
import math

import pytest
import torch
from tests.model.making import text_model

from perrin import api
from perrin.errors import PerrinError
from perrin.fitting import tune
from perrin.guide import Remembered
from perrin.reproduction import reproduce
from perrin.sample import kernels

BOTH = ("masked", "uniform")


def ready(samples, model):
    """No token of a finished sample is a mask."""
    return bool((samples.state < model.codec.categories).all())


@pytest.mark.parametrize("process", BOTH)
def test_a_prompt_stays_and_the_rest_is_written(process):
    model = text_model(process)
    samples = model.sample(3, known=model.codec.known("bad cab", 12))
    assert all(text.startswith("bad cab") for text in samples.decoded)
    assert {len(text) for text in samples.decoded} == {12}
    assert ready(samples, model)
    assert len(set(samples.decoded)) == 3


@pytest.mark.parametrize("process", BOTH)
def test_what_is_around_a_gap_stays(process):
    model = text_model(process)
    for text in model.sample(3, known=model.codec.infill("abc ___ de")).decoded:
        assert text[:4] == "abc "
        assert text[7:] == " de"


@pytest.mark.parametrize("process", BOTH)
def test_a_sample_is_the_same_alone_in_a_batch_and_beside_longer_ones(process):
    model = text_model(process, lengths=range(3, 13))
    together = model.sample(6, seed=3)
    assert len({len(text) for text in together.decoded}) > 1
    for i in range(6):
        assert model.sample(1, seed=3, first=i).decoded == together.decoded[i : i + 1]
    assert model.sample(6, seed=3, batch=4).decoded == together.decoded


def test_lengths_follow_the_training_texts_or_what_is_asked_for():
    model = text_model(lengths=[4, 4, 4, 8])
    lengths = [len(text) for text in model.sample(64).decoded]
    assert set(lengths) == {4, 8}
    assert 32 < lengths.count(4) < 64
    assert [len(text) for text in model.sample(3, length=[1, 5, 9]).decoded] == [1, 5, 9]


@pytest.mark.parametrize("length", [13, 18, 19, 40])
def test_a_text_longer_than_the_context_is_written_window_by_window(length):
    model = text_model()
    prompt = "abcdefgh"
    one = model.sample(2, known=model.codec.known(prompt, 12))
    long = model.sample(2, known=torch.cat([one.state[0, :8], torch.full((length - 8,), 10)]))
    assert long.state.shape == (2, length)
    assert ready(long, model)
    # the first window is the sample of that length, and the others did not repeat it
    assert torch.equal(long.state[:, :12], one.state)
    assert not torch.equal(long.state[:, 12:], one.state[:, : length - 12])


def test_every_window_has_noise_of_its_own():
    """With a network that knows nothing, windows on the same noise would repeat each other token by token."""
    model = text_model()
    for parameter in model.denoiser.parameters():
        parameter.data.zero_()
    state = model.sample(16, length=24).state
    for start in (12, 18):
        same = state[:, start : start + 6] == state[:, start - 6 : start]
        assert float(same.double().mean()) < 0.4


def test_steps_in_which_nothing_changes_cost_no_evaluation():
    model = text_model()
    few, many = model.sample(4, steps=6), model.sample(4, steps=200)
    assert few.evaluations <= 6
    assert many.evaluations <= 13  # a token each at most, and one look at the finished text
    assert isinstance(model.guided(), Remembered)
    assert text_model("uniform").sample(4, steps=20).evaluations == 20


@pytest.mark.parametrize("solver", [name for name in kernels if "masked" in kernels[name].processes])
def test_every_solver_of_tokens_finishes_its_texts(solver):
    model = text_model()
    samples = model.sample(3, solver=solver, steps=5, known=model.codec.known("ab", 12))
    assert ready(samples, model)
    assert all(text.startswith("ab") for text in samples.decoded)


def test_a_label_changes_the_text_and_guidance_strengthens_it():
    model = text_model(classes=["x", "y"])
    one, other, strong = (model.sample(8, label=c, guidance=w) for c, w in (("x", 1), ("y", 1), ("x", 3)))
    assert one.decoded != other.decoded
    assert one.decoded != strong.decoded


def test_a_low_temperature_writes_the_likeliest_token():
    model = text_model()
    cold = model.sample(16, length=1, temperature=1e-3)
    assert len(set(cold.decoded)) == 1
    logits = model.denoiser(torch.full((1, 1), 10), torch.zeros(1)).logits
    assert int(cold.state[0, 0]) == int(logits.argmax())
    assert len(set(model.sample(16, length=1, temperature=5.0).decoded)) > 1
    assert len(set(model.sample(16, length=1, top_p=1e-6).decoded)) == 1


def test_a_trace_holds_the_states_from_the_start_to_the_end(tmp_path):
    model = text_model()
    samples = model.sample(2, length=18, steps=4, trace=True)
    assert len(samples.means) == 1 + 2 * 4  # two windows
    assert bool((samples.means[0] == 10).all())
    assert torch.equal(samples.means[-1], samples.state)
    page = samples.save_trajectory(tmp_path / "page.html").read_text()
    assert "<html" in page
    with pytest.raises(PerrinError, match="trace=True"):
        model.sample(1).save_trajectory(tmp_path / "none.html")


@pytest.mark.parametrize("process", BOTH)
def test_a_saved_model_writes_the_same_and_a_file_is_made_again(process, tmp_path):
    model = text_model(process)
    known = model.codec.known("cab", 20)
    model.save(tmp_path / "model")
    loaded = api.load(tmp_path / "model")
    samples = loaded.sample(2, known=known, temperature=0.8, top_p=0.9)
    assert samples.decoded == model.sample(2, known=known, temperature=0.8, top_p=0.9).decoded
    files = samples.save(tmp_path / "texts")
    assert reproduce(next(f for f in files if f.suffix == ".txt")).identical
    page = loaded.sample(2, known=known, trace=True).save_trajectory(tmp_path / "page.html")
    assert reproduce(page).identical
    page.write_text(page.read_text().replace('"changes":[[', '"changes":[[[0,"z"],', 1))
    with pytest.raises(PerrinError, match="shape"):
        reproduce(page)
    made = json.loads((tmp_path / "texts" / "00001.txt.json").read_text())
    assert made["temperature"] == 0.8
    assert made["known"][:3] == known[:3].tolist()


def test_a_bound_for_every_text_whatever_its_length():
    model = text_model()
    texts = ["abc", "abcdefgh" * 5, "d" * 12]
    found = model.log_prob(texts, samples=64)
    for i, text in enumerate(texts):
        alone = model.log_prob(["h", text][-1:], samples=64)
        # a sample of another index has other draws, but the same law
        assert (
            abs(float(alone.value[0] - found.value[i])) < 5 * math.hypot(alone.stderr, found.stderr[i]) + 1e-9
        )
    assert torch.allclose(found.value, model.log_prob(texts, samples=64, batch=1).value, rtol=1e-6)
    assert (found.value < 0).all()


def test_passages_count_every_token_once():
    """With a network that knows nothing every token costs log K, wherever passages begin."""
    model = text_model()
    for parameter in model.denoiser.parameters():
        parameter.data.zero_()
    for left in (0, 3, 6, 11):
        found = model.log_prob(["abcdefgh" * 5], left=left, samples=8)
        assert float(found.value) == pytest.approx(-40 * math.log(10), rel=1e-6)


def test_absent_positions_do_not_change_the_bound():
    model = text_model()
    short = model.log_prob(["abc"], seed=1, samples=32)
    beside = model.log_prob(["abc", "abcdefghabcd"], seed=1, samples=32)
    assert float(short.value[0]) == pytest.approx(float(beside.value[0]), rel=1e-5)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"known": torch.zeros(4, dtype=torch.int64), "length": 4}, "either"),
        ({"known": torch.full((4,), 11)}, "0 to 9"),
        ({"known": torch.zeros(3, 4, dtype=torch.int64)}, "n = 2"),
        ({"length": 0}, "at least 1"),
        ({"length": [3]}, "each of 2"),
        ({"temperature": 0.0}, "temperature"),
        ({"top_p": 1.5}, "top_p"),
        ({"solver": "dpmpp_2m"}, "tokens"),
        ({"reuse": 2}, "continuous"),
    ],
)
def test_what_does_not_fit_a_model_of_texts_is_refused(asked, said):
    with pytest.raises(PerrinError, match=said):
        text_model().sample(2, **asked)


def test_continuous_and_uniform_models_refuse_what_they_cannot_do():
    from tests.model.making import point_model

    for name, value in (("length", 3), ("temperature", 0.5), ("known", torch.zeros(2))):
        with pytest.raises(PerrinError, match="tokens"):
            point_model().sample(1, **{name: value})
    with pytest.raises(PerrinError, match="tokens"):
        point_model().sample(1, solver="ancestral")
    with pytest.raises(PerrinError, match="confidence"):
        text_model("uniform").sample(1, solver="confidence")
    with pytest.raises(PerrinError, match="bound"):
        text_model().log_prob(["abc"], method="ode")
    for carry in (text_model().encode, text_model().decode):
        with pytest.raises(PerrinError, match="probability flow"):
            carry(torch.zeros(1, 12))
    with pytest.raises(PerrinError, match="tokens"):
        tune(text_model(), 4, out="nowhere.json")

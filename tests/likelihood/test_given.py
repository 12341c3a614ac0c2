"""Conditional likelihoods: of the free entries given the observed ones, whatever the masks, the batch or the method."""

from __future__ import annotations

import math

import pytest
import torch

from perrin.denoise import Prediction, exact
from perrin.errors import PerrinError
from perrin.likelihood import bound, decode, encode, log_prob
from perrin.process import levels
from perrin.process.state import Masks

SHAPE, D = (2, 3), 6
WIDE = (-14.0, 12.4)
TIGHT = {"level_range": (-16.0, 14.0), "tolerance": 1e-8}
OBSERVED = torch.tensor(
    [[[1, 1, 0], [1, 0, 0]], [[0, 0, 0], [0, 0, 0]], [[1, 1, 1], [1, 1, 1]], [[0, 1, 1], [0, 1, 1]]]
).bool()
VALID = torch.tensor(
    [[[1, 1, 1], [1, 1, 0]], [[1, 1, 1], [1, 1, 1]], [[1, 1, 1], [1, 1, 1]], [[1, 1, 1], [0, 1, 1]]]
).bool()
MASKS = Masks(valid=VALID, observed=OBSERVED)
CONDITION = {"observed": OBSERVED, "valid": VALID}
FREE = VALID & ~OBSERVED
END = torch.full((4,), 80.0, dtype=torch.float64)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def correlated(**options):
    root = 0.6 * normal(D, D, seed=1)
    return exact.Correlated(
        0.3 * normal(*SHAPE, seed=2), root @ root.T + 0.1 * torch.eye(D, dtype=torch.float64), **options
    )


def states():
    """Of four items; where there is nothing, zero."""
    return normal(4, *SHAPE, seed=3) * VALID


def test_the_value_is_the_log_density_of_the_free_entries_given_the_observed():
    denoiser, x = correlated(), states()
    found = log_prob(denoiser, x, condition=CONDITION, masks=MASKS, **TIGHT)
    truth = denoiser.log_prob(x, END, CONDITION)
    assert bool(found.converged.all())
    torch.testing.assert_close(found.value, truth, rtol=0, atol=2e-4)
    assert float(found.value[2]) == 0  # nothing of it is free
    torch.testing.assert_close(sum(found.parts.values()), found.value)


def test_the_bound_of_an_exact_denoiser_is_that_log_density():
    denoiser, x = correlated(), states()
    found = bound(denoiser, x, condition=CONDITION, masks=MASKS, samples=8000, level_range=WIDE, batch=8192)
    error = (found.value - denoiser.log_prob(x, END, CONDITION)).abs()
    assert bool((error <= 4 * found.stderr + 2e-3).all())
    assert float(found.stderr.max()) < 0.2
    assert float(found.value[2]) == 0


def test_chains_have_terms_of_free_entries_alone():
    """Of a fine chain of an exact denoiser little is lost, and less with the right variance; nothing of other entries."""
    lost = []
    chain = torch.linspace(-14, 10, 241, dtype=torch.float64)
    for learned in (False, True):
        denoiser, x = correlated(variance=learned), states()
        found = bound(denoiser, x, condition=CONDITION, masks=MASKS, levels=chain, samples=2400, batch=8192)
        truth = denoiser.log_prob(x, torch.full((4,), 10.0, dtype=torch.float64), CONDITION)
        lost.append(truth - found.value)
        assert bool((lost[-1] <= 0.2 * FREE.flatten(1).sum(1) + 4 * found.stderr).all())
        assert bool((lost[-1] > -4 * found.stderr - 1e-9).all())
        assert float(found.value[2]) == 0
    assert float(lost[1].sum()) < float(lost[0].sum())


@pytest.mark.parametrize(
    "options", [{}, {"divergence": "rademacher", "probes": 3}, {"method": "bound", "samples": 6}]
)
def test_an_item_alone_is_the_item_beside_others_with_other_masks(options):
    denoiser, x = correlated(), states()
    together = log_prob(denoiser, x, seeds=[5, 6, 7, 8], condition=CONDITION, masks=MASKS, **options)
    for i in range(4):
        one = slice(i, i + 1)
        alone = log_prob(
            denoiser,
            x[one],
            seeds=[5 + i],
            condition={name: value[one] for name, value in CONDITION.items()},
            masks=MASKS.map(lambda mask, one=one: mask[one]),
            **options,
        )
        torch.testing.assert_close(alone.value[0], together.value[i], rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(alone.stderr[0], together.stderr[i], rtol=1e-6, atol=1e-9)


def test_denoisers_are_shown_the_observed_entries_clean_and_only_free_ones_noisy():
    x, seen = states(), []

    def spy(state, level, condition):
        seen.append((state.detach().clone(), level, condition["which"]))
        return correlated()(
            state, level, {"observed": OBSERVED[condition["which"]], "valid": VALID[condition["which"]]}
        )

    told = {"which": torch.arange(4)}
    log_prob(spy, x, condition=told, masks=MASKS, steps=3)
    bound(spy, x, condition=told, masks=MASKS, samples=4)
    bound(spy, x, condition=told, masks=MASKS, samples=4, levels=[-5.0, 0.0, 5.0])
    encode(spy, x, condition=told, masks=MASKS, steps=2)
    decode(spy, x, condition=told, masks=MASKS, steps=2)
    assert len(seen) > 20
    for state, _, which in seen:
        assert torch.equal(state[OBSERVED[which]], x[which][OBSERVED[which]])
        assert bool((state[~VALID[which]] == 0).all())
    filled = torch.where(VALID, x, 7.0)  # what is not there may hold anything
    seen.clear()
    log_prob(spy, filled, condition=told, masks=MASKS, steps=1)
    for state, level, which in seen:
        shown = (7 * levels.alpha(level))[:, None, None].expand(state.shape)
        torch.testing.assert_close(state[~VALID[which]], shown[~VALID[which]])


def test_an_exact_divergence_costs_a_pass_for_every_free_entry():
    passes = []

    class Counted(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            passes.append(1)
            return gradient

    def denoiser(x, level, condition):
        return Prediction(Counted.apply(x))

    x = normal(3, 50)
    observed = torch.ones(3, 50, dtype=torch.bool)
    observed[:, 40:44] = False
    log_prob(denoiser, x, masks=Masks(observed=observed), steps=2)
    assert len(passes) == 4 * (1 + 2 * 6)


def test_codes_are_of_free_entries_and_the_others_stay_as_they_are():
    denoiser, x = correlated(), states()
    code = encode(denoiser, x, condition=CONDITION, masks=MASKS, **TIGHT)
    assert bool(code.converged.all())
    assert torch.equal(code.state[~FREE], x[~FREE])
    assert not torch.isclose(code.state[FREE], x[FREE]).any()
    back = decode(denoiser, code.state, condition=CONDITION, masks=MASKS, **TIGHT)
    torch.testing.assert_close(back.state, x, rtol=0, atol=1e-5)
    assert torch.equal(back.state[~FREE], x[~FREE])


def test_leaves_have_masks_of_their_own():
    """A mask may lack a leaf's last axes; a leaf without one is free as a whole."""
    a, b = exact.Gaussian(0.2, 0.7), exact.Gaussian(-0.1, 1.2)

    def denoiser(x, level, condition):
        return Prediction({"a": a(x["a"], level).mean, "b": b(x["b"], level).mean})

    x = {"a": normal(2, 3, 2), "b": normal(2, 4, seed=1)}
    there = torch.tensor([[True, True, False], [True, False, False]])
    found = log_prob(denoiser, x, masks=Masks(valid={"a": there}), **TIGHT)
    truth = b.log_prob(x["b"], END[:2]) + torch.stack(
        [a.log_prob(x["a"][i : i + 1, : 2 - i], END[:1])[0] for i in range(2)]
    )
    torch.testing.assert_close(found.value, truth, rtol=0, atol=2e-4)


def test_a_filled_entry_on_no_lattice_is_of_no_matter():
    from perrin.contracts import Lattice

    step = torch.tensor(0.5, dtype=torch.float64)
    lattice = Lattice(torch.tensor(-1.0, dtype=torch.float64), step, 5)
    x = torch.tensor([[0.5, -1.0, 0.123]])
    masks = Masks(valid=torch.tensor([[True, True, False]]))
    found = bound(exact.Gaussian(0.0, 0.7), x, masks=masks, lattice=lattice, samples=64, seeds=[1])
    other = bound(
        exact.Gaussian(0.0, 0.7),
        torch.tensor([[0.5, -1.0, 0.9]]),
        masks=masks,
        lattice=lattice,
        samples=64,
        seeds=[1],
    )
    torch.testing.assert_close(found.value, other.value)
    with pytest.raises(PerrinError, match="lattice"):
        bound(exact.Gaussian(0.0, 0.7), x, lattice=lattice, samples=8)


@pytest.mark.parametrize(
    ("masks", "said"),
    [
        (Masks(observed=torch.ones(4, 3, dtype=torch.bool)), "a mask has shape"),
        (Masks(valid={"b": torch.ones(4, dtype=torch.bool)}), "a mask is of leaf 'b'"),
    ],
)
def test_masks_that_do_not_fit_are_refused(masks, said):
    for measure in (log_prob, bound, encode, decode):
        with pytest.raises(PerrinError, match=said):
            measure(correlated(), states(), masks=masks)


def test_the_correlated_denoiser_is_the_posterior_mean():
    """Against conditioning the joint law of clean and noisy entries by hand."""
    denoiser = correlated(variance=True)
    x, level = states(), torch.tensor([-1.0, 0.5, 2.0, 4.0], dtype=torch.float64)
    noisy = torch.where(FREE, x + normal(4, *SHAPE, seed=9), x)
    found = denoiser(noisy, level, CONDITION)
    c, m = denoiser.covariance, denoiser.mean.flatten()
    for i in range(4):
        seen = VALID[i].flatten() | OBSERVED[i].flatten()
        given = OBSERVED[i].flatten()
        a = torch.where(given, 1.0, levels.alpha(level[i]))[seen]
        n = torch.where(given, 0.0, levels.sigma(level[i]) ** 2)[seen]
        cross = c[:, seen] * a
        inverse = torch.linalg.inv(a[:, None] * c[seen][:, seen] * a + torch.diag(n))
        mean = m + cross @ inverse @ (noisy[i].flatten()[seen] - a * m[seen])
        torch.testing.assert_close(found.mean[i].flatten(), mean, rtol=0, atol=1e-8)
        spread = (c - cross @ inverse @ cross.T).diagonal()
        torch.testing.assert_close(found.variance[i].flatten(), spread, rtol=0, atol=1e-8)
    assert math.isfinite(float(denoiser.log_prob(x, END, None)[0]))

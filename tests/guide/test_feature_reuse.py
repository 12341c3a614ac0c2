import pytest
import torch
from tests.model.making import image_model, point_model

from perrin.denoise import wrap
from perrin.errors import PerrinError
from perrin.guide import ClassifierFree, FeatureReuse
from perrin.guide.wrapper import ITEM
from perrin.nets.conv_unet import DeepFeature, UNet
from perrin.process import vp
from perrin.sample import make_plan, run


@pytest.fixture(scope="module")
def denoiser():
    """A small float64 U-Net of three resolutions that reacts to everything; 3 classes, states [1, 8, 8]."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        net = UNet((1, 8, 8), classes=3, channels=8, multipliers=(1, 2, 2), blocks=1).double()
        for parameter in net.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return wrap(net.eval(), "edm", sigma_data=0.5)


def state(count, seed=0):
    return torch.randn(count, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def levels(count, value):
    return torch.full((count,), float(value), dtype=torch.float64)


def named(*items):
    return {ITEM: torch.tensor(items)}


def calls_of_the_middle(denoiser):
    """A list that grows by the batch of every pass through the lowest resolution."""
    sizes = []
    handle = denoiser.net.middle.register_forward_hook(
        lambda module, inputs, output: sizes.append(len(output))
    )
    return sizes, handle


@pytest.mark.parametrize("resolutions", [1, 2])
def test_a_network_given_its_own_deep_feature_says_the_same(denoiser, resolutions):
    x, time = state(2), torch.zeros(2, dtype=torch.float64)
    deep = DeepFeature(resolutions)
    plain = denoiser.net(x, time)
    assert torch.equal(denoiser.net(x, time, None, deep), plain)
    assert deep.value is not None
    assert torch.equal(denoiser.net(x, time, None, deep), plain)
    deep.value = deep.value + 1.0
    assert not torch.allclose(denoiser.net(x, time, None, deep), plain)


@torch.no_grad()
def test_reusing_at_every_evaluation_is_the_denoiser_itself(denoiser):
    reusing = FeatureReuse(denoiser, 1)
    for level in (-2.0, 0.0, 2.0):
        found = reusing(state(3), levels(3, level), named(0, 1, 2)).mean
        assert torch.equal(found, denoiser(state(3), levels(3, level)).mean)


@torch.no_grad()
@pytest.mark.parametrize("every", [2, 3])
def test_the_lower_resolutions_run_at_every_kth_evaluation(denoiser, every):
    sizes, handle = calls_of_the_middle(denoiser)
    plan = make_plan("dpmpp_2m", vp(), steps=7)
    run(plan, FeatureReuse(denoiser, every), seeds=range(2), start=state(2), condition=named(5, 9))
    handle.remove()
    assert len(sizes) == -(-7 // every)


@torch.no_grad()
def test_what_is_reused_is_the_samples_own_feature_under_the_present_level_and_condition(denoiser):
    reusing = FeatureReuse(denoiser, 2)
    first, then = state(2), state(2, seed=1)
    label = {"label": torch.tensor([0, 2])}
    reusing(first, levels(2, -1.0), label | named(0, 1))
    found = reusing(then, levels(2, 0.0), label | named(0, 1)).mean
    for i in range(2):
        deep = DeepFeature(1)
        one = {"label": label["label"][i : i + 1]}

        class Held(torch.nn.Module):
            def forward(self, x, time, condition, deep=deep):
                return denoiser.net(x, time, condition, deep)

        expected = wrap(Held(), denoiser.parameterisation)
        expected(first[i : i + 1], levels(1, -1.0), one)  # leaves the feature
        torch.testing.assert_close(
            found[i : i + 1], expected(then[i : i + 1], levels(1, 0.0), one).mean, rtol=1e-9, atol=1e-9
        )


@torch.no_grad()
def test_samples_that_change_places_leave_and_join_keep_their_own_features(denoiser):
    """Three samples, each alone, and the same evaluations in batches that are never the same twice."""
    path = [(-3.0, 10), (-1.0, 11), (0.5, 12), (2.0, 13), (3.0, 14)]

    def x_of(item, step):
        return state(1, seed=100 * item + path[step][1])

    alone = {}
    for item in range(3):
        reusing = FeatureReuse(denoiser, 2)
        alone[item] = [
            reusing(x_of(item, k), levels(1, path[k][0]), named(item)).mean for k in range(len(path))
        ]
    together = FeatureReuse(denoiser, 2)
    for batch in ([(0, 0)], [(1, 0), (0, 1)], [(0, 2), (2, 0), (1, 1)], [(2, 1), (1, 2)], [(0, 3), (2, 2)]):
        x = torch.cat([x_of(item, k) for item, k in batch])
        level = torch.tensor([path[k][0] for _, k in batch], dtype=torch.float64)
        found = together(x, level, named(*(item for item, _ in batch))).mean
        for row, (item, k) in enumerate(batch):
            torch.testing.assert_close(found[row : row + 1], alone[item][k], rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_mixed_plans_give_each_sample_what_it_gets_alone(denoiser):
    plans = [make_plan("ddim", vp(), steps=3), make_plan("heun", vp(), steps=4)]
    plans.append(make_plan("dpmpp_2m", vp(), steps=6))
    start, condition = state(3), {"label": torch.tensor([0, 1, -1]), **named(0, 1, 2)}
    guided = ClassifierFree(FeatureReuse(denoiser, 3), 2.0, interval=(-6.0, 3.0))
    together = run(plans, guided, seeds=range(3), start=start, condition=condition)
    for i, plan in enumerate(plans):
        guided = ClassifierFree(FeatureReuse(denoiser, 3), 2.0, interval=(-6.0, 3.0))
        one = {name: value[i : i + 1] for name, value in condition.items()}
        alone = run(plan, guided, seeds=[i], start=start[i : i + 1], condition=one)
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_the_two_branches_of_guidance_reuse_their_own_features(denoiser):
    label, item = torch.tensor([0, 2]), torch.tensor([0, 1])
    merged = ClassifierFree(FeatureReuse(denoiser, 2), 3.0)
    branches = [FeatureReuse(denoiser, 2), FeatureReuse(denoiser, 2)]
    for k, level in enumerate((-2.0, 0.0, 1.0, 2.0)):
        x, at = state(2, seed=k), levels(2, level)
        order = torch.tensor([0, 1] if k % 2 == 0 else [1, 0])  # whoever is reused has changed places
        with_it = branches[0](x, at, {"label": label, ITEM: item}).mean
        without = branches[1](x, at, {"label": torch.tensor([-1, -1]), ITEM: item}).mean
        found = merged(x[order], at, {"label": label[order], ITEM: item[order]}).mean
        expected = without + 3.0 * (with_it - without)
        torch.testing.assert_close(found, expected[order], rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_a_level_that_does_not_rise_starts_a_sample_anew(denoiser):
    reusing = FeatureReuse(denoiser, 2)
    reusing(state(1), levels(1, 1.0), named(0))
    again = reusing(state(1, seed=1), levels(1, 1.0), named(0)).mean
    assert torch.equal(again, denoiser(state(1, seed=1), levels(1, 1.0)).mean)


def test_what_cannot_be_reused_is_refused(denoiser):
    with pytest.raises(PerrinError, match="two resolutions"):
        FeatureReuse(point_model().denoiser)
    with pytest.raises(PerrinError, match="guidance goes around it"):
        FeatureReuse(ClassifierFree(denoiser))
    with pytest.raises(PerrinError, match="reuse = 0"):
        FeatureReuse(denoiser, 0)
    with pytest.raises(PerrinError, match="between 1 and 2"):
        FeatureReuse(denoiser, resolutions=3)
    reusing = FeatureReuse(denoiser)
    with torch.no_grad(), pytest.raises(PerrinError, match="which sample each row is"):
        reusing(state(1), levels(1, 0.0))
    with torch.no_grad(), pytest.raises(PerrinError, match="twice"):
        reusing(state(2), levels(2, 0.0), named(3, 3))


def test_derivatives_of_reused_features_are_refused(denoiser):
    reusing = FeatureReuse(denoiser)

    def total(x):
        return reusing(x, levels(1, 0.0), named(0)).mean.sum()

    x = state(1)
    with pytest.raises(PerrinError, match="no derivative"):
        total(x.clone().requires_grad_(True))
    with pytest.raises(PerrinError, match="no derivative"):
        torch.func.grad(total)(x)
    with pytest.raises(PerrinError, match="no derivative"):
        torch.func.jvp(total, (x,), (x,))


def test_a_model_reuses_when_asked_and_its_samples_say_so():
    model = image_model()
    sizes, handle = calls_of_the_middle(model.denoiser)
    drawn = model.sample(3, steps=6, reuse=2)
    handle.remove()
    assert len(sizes) == 3
    assert {one["reuse"] for one in drawn.provenance} == {2}
    plain = model.sample(3, steps=6)
    assert "reuse" not in plain.provenance[0]
    assert not torch.allclose(drawn.state, plain.state, atol=1e-3)
    alone = model.sample(1, steps=6, reuse=2, first=2, label=2)
    torch.testing.assert_close(alone.state, drawn.state[2:], rtol=1e-4, atol=1e-4)
    with pytest.raises(PerrinError, match="two resolutions"):
        point_model().sample(1, reuse=2)

"""Guidance as a model, a recipe and the command line ask for it, and what files say of it."""

import math

import pytest
import torch
from tests.model.making import image_model, point_model, text_model
from tests.training.tiny import points_recipe, write_points

import perrin
from perrin.cli import entry
from perrin.design import Sampling
from perrin.errors import PerrinError
from perrin.guide import Autoguidance, ClassifierFree, Energy, Projection
from perrin.kinds.provenance import read_provenance
from perrin.model import Model
from perrin.reproduction import reproduce


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return image_model().save(tmp_path_factory.mktemp("model") / "m")


def shaken(amount=0.05, make=image_model):
    """The same model with other weights."""
    model = make()
    with torch.no_grad():
        for parameter in model.module.parameters():
            parameter.mul_(1 - amount)
    return Model(model.design, model.module, model.codec, model.sampling)


@pytest.fixture(scope="module")
def weak(tmp_path_factory):
    return shaken().save(tmp_path_factory.mktemp("weak") / "w")


def drawn(model, **options):
    return model.sample(3, **{"guidance": 3.0, **options}).state


def test_each_way_changes_samples_and_none_does_at_weight_one(weak):
    model = image_model()
    ways = [{"interval": (-1.0, 2.0)}, {"rescale": 0.8}, {"projected": True}, {"weaker": weak}]
    plain, bare = drawn(model), drawn(model, guidance=1.0)
    found = [plain, *(drawn(model, **way) for way in ways)]
    for i, one in enumerate(found):
        assert all(not torch.allclose(one, other) for other in found[:i])
    for way in ways:
        assert torch.equal(drawn(model, guidance=1.0, **way), bare)


def test_a_model_is_guided_by_its_own_settings_unless_told_otherwise():
    own = image_model(rescale=0.8, projected={"eta": 0.5}, interval=(-2.0, 3.0))
    plain = image_model()
    assert torch.equal(drawn(own), drawn(plain, rescale=0.8, projected=Projection(0.5), interval=(-2.0, 3.0)))
    everywhere = {"rescale": 0.0, "projected": False, "interval": (-math.inf, math.inf)}
    assert torch.equal(drawn(own, **everywhere), drawn(plain))


def test_settings_are_kept_in_the_folder(tmp_path):
    own = image_model(rescale=0.8, projected=Projection(0.5, 0.2))
    again = perrin.load(own.save(tmp_path / "m"))
    assert again.sampling.projection == Projection(0.5, 0.2)
    assert torch.equal(drawn(again), drawn(own))


def test_a_recipe_says_them(tmp_path):
    recipe = points_recipe(write_points(tmp_path), steps=1)
    recipe["sampling"] |= {"rescale": 0.5, "projected": {"eta": 0.1}, "interval": [-3, 3]}
    model = perrin.train(recipe, out=tmp_path / "run").model
    assert (model.sampling.rescale, model.sampling.projection) == (0.5, Projection(0.1))
    recipe["sampling"]["projected"] = {"eta": 2}
    with pytest.raises(PerrinError, match="eta = 2"):
        perrin.train(recipe, out=tmp_path / "other")


@pytest.mark.parametrize("wrong", [{"rescale": 2.0}, {"interval": (2.0, 1.0)}, {"projected": {"beta": 1}}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(PerrinError):
        Sampling(**wrong)
    with pytest.raises(PerrinError):
        drawn(image_model(), **wrong)


def test_guided_makes_what_sample_uses(weak):
    model = image_model()
    assert isinstance(model.guided(3.0, weaker=weak), Autoguidance)
    made = model.guided(3.0, rescale=0.5, projected=True)
    assert isinstance(made, ClassifierFree)
    assert len(made.changes) == 2
    assert isinstance(model.guided(1.0, energy=lambda clean: clean.sum((1, 2, 3))), Energy)


def test_autoguidance_needs_no_classes_but_a_weight():
    weaker = shaken(make=point_model)
    model = point_model()
    found = model.sample(4, guidance=2.0, weaker=weaker)
    assert not torch.allclose(found.state, model.sample(4).state)
    assert found.provenance[0]["weaker_hash"] == weaker.hash
    with pytest.raises(PerrinError, match="give guidance"):
        model.sample(4, weaker=weaker)


def test_the_weaker_model_may_be_weights_of_a_run(tmp_path):
    run = perrin.train(
        points_recipe(write_points(tmp_path), ema=[0.05, 0.1], snapshots=2), out=tmp_path / "run"
    )
    file = sorted((run.folder / "ema").glob("*.safetensors"))[0]
    model = run.model
    found = model.sample(4, guidance=2.0, weaker=file)
    assert not torch.allclose(found.state, model.sample(4, guidance=2.0).state)
    assert found.provenance[0]["weaker"] == str(file)
    assert found.provenance[0]["weaker_hash"] == model.weaker(file).hash != model.hash


def test_a_weaker_model_of_other_data_is_refused():
    with pytest.raises(PerrinError, match="no weaker version"):
        image_model().sample(2, guidance=2.0, weaker=point_model())


def test_a_weaker_model_of_tokens_works():
    model, weaker = text_model(), shaken(0.3, text_model)
    found = model.sample(2, guidance=2.0, weaker=weaker)
    assert found.state.shape == (2, 12)
    assert not torch.equal(found.state, model.sample(2).state)


def test_tokens_refuse_what_is_for_continuous_states():
    for given in ({"rescale": 0.5}, {"projected": True}, {"energy": lambda clean: clean.sum(1)}):
        with pytest.raises(PerrinError, match="continuous"):
            text_model(classes=["a", "b"]).sample(2, guidance=2.0, **given)


def test_an_energy_draws_what_it_favours():
    model = point_model()

    def far(clean):
        return 5 * (clean[:, 0] - 3.0) ** 2

    plain, found = model.sample(32), model.sample(32, energy=far)
    assert float((found.state[:, 0] - 3.0).abs().mean()) < 0.5 * float((plain.state[:, 0] - 3.0).abs().mean())
    assert found.provenance[0]["energy"] == "far"
    one = model.sample(1, energy=far, first=7, batch=1)
    torch.testing.assert_close(one.state[0], found.state[7], rtol=1e-4, atol=1e-4)


def test_a_file_drawn_with_an_energy_says_that_it_cannot_be_made_again(tmp_path):
    folder = point_model().save(tmp_path / "m")

    def far(clean):
        return (clean[:, 0] - 3.0) ** 2

    perrin.load(folder).sample(2, energy=far).save(tmp_path / "points.npy")
    with pytest.raises(PerrinError, match="'far'"):
        reproduce(tmp_path / "points.npy")


@pytest.mark.parametrize(
    "options",
    [["--interval", "-1.5", "2"], ["--rescale", "0.7"], ["--projected"], ["--weaker"], ["--weaker", "file"]],
    ids=" ".join,
)
def test_the_command_line_says_it_in_the_file_and_repro_makes_it_again(folder, weak, options, tmp_path):
    if options[0] == "--weaker":
        options = ["--weaker", str(weak / "model.safetensors" if options[1:] else weak)]
    file = tmp_path / "grid.png"
    command = ["sample", str(folder), "-n", "2", "--batch", "1", "--guidance", "3", "--out", str(file)]
    assert entry.main([*command, *options]) == 0
    said = read_provenance(file)["items"][0]
    assert said[options[0].removeprefix("--")] is not None
    assert reproduce(file).identical
    plain = tmp_path / "plain.png"
    assert entry.main([*command[:-1], str(plain)]) == 0
    assert plain.read_bytes() != file.read_bytes()


def test_a_weaker_model_that_has_moved_is_asked_for(folder, tmp_path):
    weak = shaken().save(tmp_path / "w")
    file = tmp_path / "grid.png"
    perrin.load(folder).sample(2, guidance=2.0, weaker=weak, batch=1).save(file)
    weak.rename(tmp_path / "moved")
    with pytest.raises(PerrinError, match="--weaker"):
        reproduce(file)
    assert entry.main(["repro", str(file), "--weaker", str(tmp_path / "moved")]) == 0
    with pytest.raises(PerrinError, match="give the right weaker with --weaker"):
        reproduce(file, weaker=str(folder))


def test_plain_files_say_nothing_of_it(tmp_path):
    """As those of before did, which are made again as well."""
    model = perrin.load(image_model().save(tmp_path / "m"))
    model.sample(2, batch=1).save(tmp_path / "grid.png")
    said = read_provenance(tmp_path / "grid.png")["items"][0]
    assert not said.keys() & {"rescale", "projected", "weaker", "weaker_hash", "energy"}
    assert said["interval"] is None
    assert reproduce(tmp_path / "grid.png").identical


def test_a_plan_tuned_under_other_guidance_is_warned_of(weak):
    from tests.model.test_fitted_plans import shaken as fitted

    model = image_model(rescale=0.5)
    plan = fitted(model, 3, guidance=3.0, rescale=0.5)
    model.sample(1, plan=plan, guidance=3.0)
    for other in ({"rescale": 0.0}, {"projected": True}, {"weaker": weak}, {"interval": (-1.0, 1.0)}):
        with pytest.warns(UserWarning, match=f"tuned under guidance of {next(iter(other))}"):
            model.sample(1, plan=plan, guidance=3.0, **other)
    with pytest.warns(UserWarning, match="tuned without the energy"):
        model.sample(1, plan=plan, guidance=3.0, energy=lambda clean: clean.sum((1, 2, 3)))


def test_beside_a_classifier_they_are_refused(weak):
    model = image_model()
    for given in ({"rescale": 0.5}, {"projected": True}, {"weaker": weak}):
        with pytest.raises(PerrinError, match="classifier's guidance is by its gradient"):
            model.guided(2.0, model, **given)

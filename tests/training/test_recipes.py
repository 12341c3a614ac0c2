"""Recipes: the built-in ones hold, YAML goes round, and a slip is one line with the nearest right name."""

import re

import pytest
import torch
import yaml
from tests.training.tiny import points_recipe, write_points

from perrin.errors import PerrinError
from perrin.registry import level_laws, nets, parameterisations, weights
from perrin.training import recipe as recipes
from perrin.training.measured import STAND_IN, filled
from perrin.training.schema import named
from perrin.training.setup import make_sampling, prepare


def resolved(source, *assignments):
    """A validated recipe with some values set."""
    content = recipes.read(source)
    for assignment in assignments:
        content = recipes.set_value(content, assignment)
    return recipes.validate(content)


@pytest.mark.parametrize("name", recipes.builtin())
def test_every_built_in_recipe_names_things_that_exist(name):
    recipe = resolved(name)
    assert recipe.name == name
    assert recipe.about
    recipe = filled(recipe, STAND_IN)
    make_sampling(recipe.sampling)
    named(nets, recipe.net, "net", given=("shape", "classes", "categories", "states"))
    named(level_laws, recipe.objective.law, "law")
    weight = recipe.objective.weight
    for section in [weight] if "name" in weight else weight.values():  # of states with several leaves by leaf
        named(weights, {key: v for key, v in section.items() if key != "times"}, "weight")
    sections = {key: v for key, v in recipe.parameterisation.items() if key not in ("schedule", "variance")}
    named(parameterisations, sections, "parameterisation", given=("schedule",))


@pytest.mark.parametrize("name", recipes.builtin())
def test_a_recipe_written_as_yaml_reads_back_the_same(name, tmp_path):
    recipe = resolved(name, "data.path=1e5", "training.lr=1e-3")  # a folder may be called 1e5
    file = tmp_path / "recipe.yaml"
    file.write_text(recipes.dump(recipe))
    assert resolved(file) == recipe
    assert recipes.dump(resolved(file)) == recipes.dump(recipe)


def test_a_path_that_looks_like_a_number_stays_a_path(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text(recipes.dump(recipes.validate({**points_recipe("1e5"), "about": "2e3"})))
    assert recipes.read(file)["data"]["path"] == "1e5"
    assert recipes.read(file)["about"] == "2e3"


@pytest.mark.parametrize(
    ("assignment", "says"),
    [
        ("trainig.lr=1", "recipe: key 'trainig' is not known; did you mean 'training'?"),
        ("training.learning_rat=1", "recipe.training: key 'learning_rat' is not known"),
        ("training.stepz=1", "recipe.training: key 'stepz' is not known; did you mean 'steps'?"),
        ("training.steps=many", "recipe: training.steps = 'many': input should be a valid integer"),
        ("training.steps=0", "recipe: training.steps = 0: input should be greater than or equal to 1"),
        ("training.precision=fp16", "recipe: training.precision = 'fp16': input should be 'auto', 'float32'"),
        ("training=3", "recipe: training = 3: must be a section, such as {key: value}"),
        ("kind=imges", "kind of data 'imges' is not known; did you mean 'images'?"),
        ("net.name=unett", "network 'unett' is not known; did you mean 'unet'?"),
        ("net.chanels=8", "net: option 'chanels' is not known; did you mean 'channels'?"),
        ("net.channels=wide", "net: channels = 'wide': input should be a valid integer"),
        ("net.shape=[1]", "net: option 'shape' is not known"),  # the data say it
        ("codec.sise=8", "codec: option 'sise' is not known; did you mean 'size'?"),
        ("codec.flip=sideways", "codec: flip = 'sideways': input should be 'none', 'horizontal'"),
        ("data.pth=x", "data: option 'pth' is not known; did you mean 'path'?"),
        ("objective.law.name=lognorm", "law of levels 'lognorm' is not known; did you mean 'lognormal'?"),
        ("objective.law.sdt=1", "objective.law: option 'sdt' is not known; did you mean 'std'?"),
        ("objective.weight.name=minsnr", "loss weight 'minsnr' is not known; did you mean 'min_snr'?"),
        (
            "objective.weight={name: learned, base: minsnr}",
            "loss weight 'minsnr' is not known; did you mean 'min_snr'?",
        ),
        (
            "objective.weight={name: learned, base: {name: min_snr, gama: 5}}",
            "objective.weight.base: option 'gama' is not known; did you mean 'gamma'?",
        ),
        (
            "objective.weight={name: learned, base: learned}",
            "the base of a learned weight must be a fixed one",
        ),
        ("training.sharding=ddp", "recipe: training.sharding = 'ddp': input should be 'none' or 'fsdp'"),
        ("objective.drop=2", "recipe: objective.drop = 2: input should be less than or equal to 1"),
        ("parameterisation.name=epsilon", "parameterisation 'epsilon' is not known; known: clean, noise"),
        ("sampling.solver=dpmpp2m", "solver 'dpmpp2m' is not known; did you mean 'dpmpp_2m'?"),
        ("sampling.grid=karass", "grid 'karass' is not known; did you mean 'karras'?"),
        ("sampling.schedule=edmm", "schedule 'edmm' is not known; did you mean 'edm'?"),
        ("sampling.step=3", "sampling: option 'step' is not known; did you mean 'steps'?"),
        ("sampling.steps=0", "steps"),
        ("training.ema=[0.5]", "an EMA of relative width 0.5 does not exist"),
    ],
)
def test_a_slip_is_one_line_with_the_nearest_right_name(assignment, says, tmp_path):
    from tests.training.tiny import trainer

    with pytest.raises(PerrinError, match=re.escape(says)) as caught:
        trainer(recipes.set_value(recipes.read("digits"), assignment), tmp_path / "run")
    assert "\n" not in str(caught.value)


def test_a_value_is_set_by_its_path_and_read_as_yaml():
    recipe = resolved("digits", "training.lr=3e-4", "training.ema=[0.06, 0.12]", "data.path=photos")
    assert (recipe.training.lr, recipe.training.ema, recipe.data) == (3e-4, [0.06, 0.12], {"path": "photos"})
    law = resolved("digits", "objective.law.name=uniform_level", "objective.law.low=-5").objective.law
    assert law == {"name": "uniform_level", "low": -5}  # another name leaves the old one's options behind


@pytest.mark.parametrize("assignment", ["training.lr", "=3", "training.lr=[1"])
def test_what_cannot_be_set_says_how_it_is_written(assignment):
    with pytest.raises(PerrinError, match="--set"):
        recipes.set_value({}, assignment)


def test_a_recipe_lies_over_its_base_which_is_found_beside_it(tmp_path):
    (tmp_path / "low.yaml").write_text("base: digits\ntraining: {steps: 7}\n")
    (tmp_path / "high.yaml").write_text("base: low.yaml\nnet: {channels: 8}\n")
    recipe, digits = resolved(tmp_path / "high.yaml"), resolved("digits")
    assert recipe.training.steps == 7
    assert recipe.net == {**digits.net, "channels": 8}
    assert recipe.sampling == digits.sampling


def test_a_recipe_that_is_its_own_base_is_refused(tmp_path):
    (tmp_path / "one.yaml").write_text("base: two.yaml\n")
    (tmp_path / "two.yaml").write_text("base: one.yaml\n")
    with pytest.raises(PerrinError, match="its own base"):
        recipes.read(tmp_path / "one.yaml")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- a\n- b\n", "must be a mapping of sections, not list"),
        ("", "must be a mapping of sections, not NoneType"),
        ("a: [1", "is not YAML"),
        ("a: !!python/object:os.system {}", "is not YAML"),
        ("format: 2\nname: x\nkind: images\nnet: {name: unet}\n", "format = 2"),
        ("name: x\nkind: images\n", "net"),
    ],
)
def test_a_file_that_is_no_recipe_says_so(text, says, tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    with pytest.raises(PerrinError, match=says):
        resolved(file)


def test_a_file_that_is_not_there_and_a_name_that_is_not_known(tmp_path):
    with pytest.raises(PerrinError, match="cannot read the recipe"):
        resolved(tmp_path / "gone.yaml")
    with pytest.raises(PerrinError, match="recipe 'digitz' is not known; did you mean 'digits'"):
        resolved("digitz")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PerrinError, match=r"binary\.yaml is not"):
        resolved(tmp_path / "binary.yaml")


def test_the_edm_weight_and_preconditioning_take_sigma_data_from_the_data(tmp_path):
    setup = prepare(recipes.validate(points_recipe(write_points(tmp_path))))
    assert setup.design.parameterisation["sigma_data"] == setup.codec.sigma_data == pytest.approx(1, abs=0.05)


def test_a_learned_weights_base_is_told_what_a_weight_is_told(tmp_path):
    recipe = points_recipe(write_points(tmp_path))
    setup = prepare(recipes.validate({**recipe, "objective": {"weight": {"name": "learned"}}}))
    zero = torch.zeros(1, dtype=torch.float64)
    assert float(setup.objective.weight.base(zero)) == pytest.approx(1 + 1 / setup.codec.sigma_data**2)


def test_the_parts_of_the_data_are_apart(tmp_path):
    recipe = {**points_recipe(write_points(tmp_path)), "held_out": 8}
    data = prepare(recipes.validate(recipe)).data
    names = [{part[i]["name"] for i in range(len(part))} for part in (data.train, data.validation, data.test)]
    assert [len(n) for n in names] == [32, 10, 8]
    assert len(set.union(*names)) == 50


def test_a_recipe_in_yaml_may_name_its_sections_in_any_order(tmp_path):
    content = recipes.read("digits")
    file = tmp_path / "turned.yaml"
    file.write_text(yaml.safe_dump(dict(reversed(content.items())), sort_keys=False))
    assert resolved(file) == resolved("digits")

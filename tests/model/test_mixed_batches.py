"""Samples that ask for different guidance, solvers, steps, plans and seeds share network calls, and stay as alone."""

import pytest
import torch
from tests.model.making import image_model, point_model, text_model

from perrin.errors import PerrinError
from perrin.guide import Classifier
from perrin.kinds.arrays import Arrays
from perrin.kinds.provenance import read_provenance
from perrin.model import Model
from perrin.reproduction import reproduce
from perrin.sample import make_plan

GUIDANCE = [1.0, None, 3.0, 0.0, 5.0, 2.0, 1.0]
SOLVERS = ["ddpm", None, "heun", "unipc_2", "dpmpp_2m_sde", None, "edm_heun"]
STEPS = [3, None, 5, 4, 2, 6, 3]
SEEDS = [3, 3, 9, 4, 3, 0, 7]
MIXED = {"guidance": GUIDANCE, "solver": SOLVERS, "steps": STEPS}


def alone(model, i, **asked):
    """Sample i of lists of settings, drawn by itself."""
    own = {name: value[i] if isinstance(value, list) else value for name, value in asked.items()}
    return model.sample(1, **{"first": i, **own})


class RowByRow(torch.nn.Module):
    """A network that sees every row alone, so that its rounding does not depend on the batch."""

    def __init__(self, net):
        super().__init__()
        self.net, self.calls = net, []

    def forward(self, x, time, condition=None):
        self.calls.append(len(x))
        rows = ({n: v[i : i + 1] for n, v in condition.items()} for i in range(len(x)))
        told = rows if condition is not None else [None] * len(x)
        return torch.cat([self.net(x[i : i + 1], time[i : i + 1], own) for i, own in enumerate(told)])


class Sides(torch.nn.Module):
    """Logits of left and right."""

    def __init__(self):
        super().__init__()
        self.slope = torch.nn.Parameter(torch.tensor([[-1.0, 1.0], [0.5, -0.5]]))

    def forward(self, x, time, condition=None):
        return x @ self.slope


def row_by_row(model):
    model.module.net = RowByRow(model.module.net)
    return model


@pytest.mark.parametrize("batch", [None, 1, 3])
def test_a_sample_alone_is_the_same_in_a_mixed_batch(batch):
    model = image_model()
    many = model.sample(7, seed=3, batch=batch, **MIXED)
    for i in range(7):
        one = alone(model, i, seed=3, **MIXED)
        assert float((many.state[i] - one.state[0]).abs().max()) < 1e-4
        assert many.provenance[i] == one.provenance[0]
    plain = model.sample(7, seed=3)
    assert all(float((many.state[i] - plain.state[i]).abs().max()) > 1e-2 for i in range(7) if i != 1)


@pytest.mark.parametrize("how", [{}, {"rescale": 0.7, "projected": True}, {"interval": (-2.0, 2.0)}])
def test_it_is_bit_identical_where_the_network_is(how):
    model = row_by_row(image_model())
    many = model.sample(7, seed=SEEDS, **MIXED, **how)
    for i in range(7):
        one = alone(model, i, seed=SEEDS, first=0, **MIXED, **how)
        assert many.state[i].equal(one.state[0])
        assert many.provenance[i] == one.provenance[0]


def test_samples_share_network_calls():
    model = row_by_row(image_model())
    model.sample(7, seed=3, **MIXED)
    together, model.module.net.calls = model.module.net.calls, []
    for i in range(7):
        alone(model, i, seed=3, **MIXED)
    assert sum(together) == sum(model.module.net.calls)
    assert len(together) * 3 < len(model.module.net.calls)


@pytest.mark.parametrize("process", ["masked", "uniform"])
def test_so_do_texts(process):
    model = text_model(process, classes=["a", "b"])
    asked = {"guidance": [1.0, 3.0, 2.0, 1.0], "steps": [4, 9, 6, 9], "label": ["a", "b", "a", "b"]}
    asked |= {"seed": [5, 6, 5, 5], "first": 2}
    many = model.sample(4, **asked)
    for i in range(4):
        one = alone(model, i, **asked)
        assert many.state[i, : one.state.shape[1]].equal(one.state[0])
        assert many.provenance[i] == one.provenance[0]


def test_a_classifier_guides_each_by_its_own_weight():
    model, codec = point_model(), Arrays.codec((2,), ["left", "right"], 1.0, [0.0, 0.0], [1.0, 1.0])
    guide = Model(model.design, Classifier(Sides(), model.denoiser.parameterisation), codec, model.sampling)
    asked = {"guidance": [0.0, 4.0, 1.0], "steps": [4, 6, 5], "label": 1}
    many = model.sample(3, classifier=guide, **asked)
    for i in range(3):
        assert float((many.state[i] - alone(model, i, classifier=guide, **asked).state[0]).abs().max()) < 1e-4


def test_features_that_are_kept_are_each_sample_s_own():
    model = image_model()
    asked = {"guidance": [1.0, 3.0, 2.0], "steps": [4, 6, 5], "seed": [1, 1, 2], "reuse": 2, "first": 0}
    many = model.sample(3, **asked)
    for i in range(3):
        assert float((many.state[i] - alone(model, i, **asked).state[0]).abs().max()) < 1e-4


def test_plans_may_be_given_to_some():
    model, plan = image_model(), make_plan("heun", grid=[-4.0, 0.0, 3.0])
    many = model.sample(3, plan=[None, plan, None], steps=[6, None, 3], seed=2)
    assert [made["plan"]["rule"] for made in many.provenance] == ["dpmpp_2m", "heun", "dpmpp_2m"]
    assert float((many.state[1] - model.sample(1, plan=plan, seed=2, first=1).state[0]).abs().max()) < 1e-4
    assert many.evaluations == pytest.approx((6 + plan.nfe + 3) / 3)


def test_of_a_list_of_seeds_each_sample_is_its_seed_s_first(tmp_path):
    model = image_model()
    many = model.sample(3, seed=torch.tensor([4, 8, 4]), first=5, label=[1, 2, 3])
    assert [(made["seed"], made["index"]) for made in many.provenance] == [(4, 5), (8, 5), (4, 5)]
    one = model.sample(1, seed=8, first=5, label=2)
    assert float((many.state[1] - one.state[0]).abs().max()) < 1e-4
    assert model.sample(2, seed=[1, 2], first=3).labels.tolist() == [3, 3]
    files = many.save(tmp_path / "out")
    assert [file.name for file in files] == ["00000_1.png", "00001_2.png", "00002_3.png", "grid.png"]


def test_settings_are_settled_once_for_samples_that_share_them(monkeypatch):
    model, settled = image_model(), []
    plain = Model._plan
    monkeypatch.setattr(Model, "_plan", lambda *told: settled.append(told[1:4]) or plain(*told))
    model.sample(6, guidance=[1.0, 3.0] * 3, steps=[5, 4, 5, 4, 5, 3])
    assert settled == [(None, 5, 1.0), (None, 4, 3.0), (None, 3, 3.0)]


def test_progress_counts_every_sample_s_own_evaluations():
    seen = []
    samples = image_model(guidance=1.0).sample(
        4, steps=[2, 7, 3, 4], batch=2, progress=lambda done, total: seen.append((done, total))
    )
    assert seen[-1] == (16, 16)
    assert sorted(seen) == seen
    assert samples.evaluations == 4


def test_a_mixed_file_is_made_again(tmp_path):
    folder = image_model().save(tmp_path / "m")
    file = Model.load(folder).sample(7, seed=SEEDS, **MIXED).save(tmp_path / "grid.png")[0]
    assert [made["guidance"] for made in read_provenance(file)["items"]] == [
        1.0,
        2.0,
        3.0,
        0.0,
        5.0,
        2.0,
        1.0,
    ]
    found = reproduce(file)
    assert found.items == 7
    assert found.largest_difference <= found.tolerance


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"guidance": [1.0, 2.0]}, "2 weights of guidance for 3 samples; give one, or one each"),
        ({"steps": [1, 2, 3, 4]}, "4 numbers of steps for 3 samples"),
        ({"solver": ["ddim"]}, "1 solvers for 3 samples"),
        ({"seed": [1, 2]}, "2 seeds for 3 samples"),
        ({"seed": [1, 2, "3"]}, "seed = '3' must be a whole number"),
        ({"steps": [4, 0, 4]}, "steps"),
        ({"solver": ["ddim", "dim", "heun"]}, "did you mean 'ddim'"),
        ({"plan": [None, make_plan("ddim", grid=[-1.0, 1.0]), None], "steps": 3}, "either a plan, or"),
        ({"steps": [4, 5, 4], "trace": True}, "a trace is of samples on one plan"),
    ],
)
def test_settings_that_do_not_fit_are_refused(asked, says):
    with pytest.raises(PerrinError, match=says):
        image_model().sample(3, **asked)

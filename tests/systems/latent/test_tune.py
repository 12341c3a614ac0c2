"""Plans that are fitted to pretrained folders lie beside them, and are found when they are sampled from."""

import hashlib
import json
import shutil
from dataclasses import replace

import pytest
import torch
from tests.systems.latent.comparing import NEGATIVE

import perrin
from perrin import fitting
from perrin.cli.entry import main
from perrin.errors import PerrinError
from perrin.learn import reference
from perrin.sample import Plan, run
from perrin.sample.running import prior

LITTLE = {"seeds": 4, "starts": 1, "iterations": 2, "tolerance": 0.1}
PROMPTS = ["a cube", "a ball"]


def content(folder):
    """Every file and what is in it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).digest() for path in files}


@pytest.fixture(autouse=True)
def coarse(monkeypatch):
    """References of few steps, since the networks are small and their weights random."""
    monkeypatch.setattr(reference, "FIRST", 8)


@pytest.fixture(scope="module")
def tuned(saved, tmp_path_factory):
    """(a folder, what was in it before, what tuning it gave)."""
    folder = shutil.copytree(saved("stable_diffusion")[1], tmp_path_factory.mktemp("tuned") / "sd")
    before = content(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "FIRST", 8)
        found = fitting.tune(
            perrin.load(folder), 2, guidance=3.0, prompts=PROMPTS, negative=NEGATIVE, **LITTLE
        )
    return folder, before, found


@pytest.fixture
def folder(saved, tmp_path):
    """A folder that was not tuned."""
    return shutil.copytree(saved("stable_diffusion")[1], tmp_path / "sd")


def test_a_plan_lies_beside_the_folder_which_stays_as_it_was(tuned):
    folder, before, found = tuned
    assert content(folder) == before
    assert found.helped
    assert (
        found.path == folder.parent / "sd.perrin" / "plans" / "2.json" == perrin.load(folder).plans / "2.json"
    )
    said = found.plan.fitted
    assert said["conditions"].startswith("2 prompts in turn (")
    assert (said["guidance"], said["negative"]) == (3.0, NEGATIVE)
    assert said["median"][1] < said["median"][0]


def test_it_ends_nearer_to_the_flow_of_guided_pictures(tuned):
    folder, _, found = tuned
    model = perrin.load(folder)
    told = model.codec.outline(8, 0, 0, prompt=PROMPTS * 4, negative=NEGATIVE).condition
    start, denoiser = prior([(77, i) for i in range(8)], (4, 8, 8), torch.float32, "cpu"), model.guided(3.0)

    def end(plan):
        return run(plan, denoiser, seeds=range(8), start=start, condition=told)

    fine = end(model.sampling.plan("heun", 32))
    ours, plain = (
        float((end(plan) - fine).square().mean((1, 2, 3)).sqrt().median())
        for plan in (found.plan, model.sampling.plan("dpmpp_2m", 2))
    )
    assert ours < plain


def test_sampling_takes_it_where_it_fits(tuned, capsys):
    folder = tuned[0]
    assert perrin.load(folder).sample(1, prompt="a cone", steps=2, guidance=3.0).tuned
    with pytest.warns(UserWarning, match="tuned under guidance 3, and this is guidance 5"):
        assert not perrin.load(folder).sample(1, prompt="a cone", steps=2, guidance=5.0).tuned
    other = perrin.load(folder, dtype="bfloat16")
    with pytest.warns(UserWarning, match="tuned for model"):
        assert not other.sample(1, prompt="a cone", steps=2, guidance=3.0).tuned
    told = ["sample", str(folder), "-n", "1", "--prompt", "a", "--steps", "2", "--guidance", "3"]
    assert main([*told, "--out", str(folder.parent / "out")]) == 0
    assert "by a plan that was tuned for them" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "way"),
    [("pixart", "layers"), ("stable_diffusion_3", "parts"), ("ddpm", "none"), ("dit", "none")],
)
def test_every_kind_of_network_has_the_derivatives(saved, tmp_path, name, way):
    model, out = perrin.load(saved(name)[1], offload=way), tmp_path / "plan.json"
    found = fitting.tune(model, 2, out=out, seeds=2, starts=1, iterations=1, tolerance=1.0)
    assert found.helped == out.is_file()
    if found.helped:
        said = {"ddpm": None, "dit": "classes in turn"}.get(
            name, "12 prompts of Perrin in turn (190f85bcd692)"
        )
        assert Plan.load(out).fitted["conditions"] == said


def test_conditions_are_held_once_and_not_for_every_seed(folder, monkeypatch):
    model, seen = perrin.load(folder), []

    def fit(plan, denoiser, *, condition, **rest):
        seen.append({name: tuple(value.shape) for name, value in condition.items()})
        rows = torch.tensor([1, 0, 1])
        x, level = torch.randn(3, 4, 8, 8), torch.zeros(3, dtype=torch.float64)
        told = model.codec.outline(3, 0, 0, prompt=["b", "a", "b"]).condition
        expected = model.guided(4.0)(x, level, told).mean
        assert torch.allclose(denoiser(x, level, {"row": rows}).mean, expected, atol=1e-5)
        return plan

    monkeypatch.setattr(fitting, "fit", fit)
    assert not fitting.tune(model, 2, guidance=4.0, prompts=["a", "b"], seeds=1000).helped
    assert seen == [{"row": (2,)}]


def test_the_command_says_whether_it_helped(tuned, folder, monkeypatch, capsys):
    prompts = folder.parent / "prompts.txt"
    prompts.write_text("a cube\n\n  a ball \n")
    told = ["tune", str(folder), "--steps", "2", "--prompts", str(prompts), "--guidance", "3"]
    monkeypatch.setattr(fitting, "fit", lambda plan, *_, **__: plan)
    assert main(told) == 0
    out, err = capsys.readouterr()
    assert "tuning did not help: on unseen seeds dpmpp_2m is as good" in out
    assert "float32 on cpu" in err
    assert not (folder.parent / "sd.perrin").exists()
    own = tuned[2].plan

    def fit(plan, *_, facts, **__):
        return replace(own, fitted={**own.fitted, **facts})

    monkeypatch.setattr(fitting, "fit", fit)
    assert main([*told, "--negative", NEGATIVE, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["helped"]
    assert said["conditions"] == own.fitted["conditions"]
    assert said["negative"] == NEGATIVE
    assert said["plan"] == str(folder.parent / "sd.perrin" / "plans" / "2.json")
    assert main(told) == 0
    said = capsys.readouterr().out
    assert "sd.perrin/plans/2.json: " in said
    assert "--steps 2 --guidance 3   samples with it" in said


def test_what_cannot_be_tuned_is_refused(saved, tmp_path, capsys):
    model = perrin.load(saved("stable_diffusion")[1])
    with pytest.raises(PerrinError, match="prompts are none"):
        fitting.tune(model, 2, prompts=[])
    with pytest.raises(PerrinError, match="the prompt is empty"):
        fitting.tune(model, 2, prompts=["a", " "])
    with pytest.raises(PerrinError, match="prompts are for models of texts"):
        fitting.tune(perrin.load(saved("dit")[1]), 2, prompts=["a"])
    with pytest.raises(PerrinError, match="give control"):
        fitting.tune(perrin.load(saved("controlled")[1]), 2)
    empty = tmp_path / "none.txt"
    empty.write_text("\n")
    for path, said in ((empty, "holds no prompts"), (tmp_path / "gone.txt", "cannot be read")):
        assert main(["tune", str(saved("stable_diffusion")[1]), "--prompts", str(path)]) == 2
        assert said in capsys.readouterr().err

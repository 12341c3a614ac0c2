"""What stops a run: NaN and divergence with their cause, a budget; the last state stays as it was."""

import dataclasses
import time

import pytest
import torch
from tests.training.tiny import (
    Killed,
    assert_identical,
    contents,
    killed_at,
    log_of,
    points_recipe,
    trainer,
    write_points,
)

import perrin
from perrin.errors import PerrinError
from perrin.learn.denoising import Denoising
from perrin.training import recipe as recipes
from perrin.training.setup import prepare


def changed(recipe, change):
    """The objective of a recipe with `change(losses, calls so far)` applied to what it gives."""

    class Changed(Denoising):
        calls = 0

        def __call__(self, *arguments):
            Changed.calls += 1
            losses = super().__call__(*arguments)
            return dataclasses.replace(losses, value=change(losses.value, Changed.calls))

    setup = prepare(recipes.validate(recipe))
    return Changed(**{f.name: getattr(setup.objective, f.name) for f in dataclasses.fields(Denoising)})


@pytest.mark.parametrize("lags", [False, True])
def test_nan_stops_with_step_and_items_and_the_last_state_is_untouched(lags, tmp_path):
    """Also where a step is looked at only when the next one has been begun, as beside an accelerator."""
    recipe = points_recipe(write_points(tmp_path), validation=0)

    def poison(value, calls):
        return torch.where(torch.arange(len(value)) == 3, torch.nan, value) if calls == 8 else value

    stopped = trainer(recipe, tmp_path / "run", objective=changed(recipe, poison))
    stopped.lags = lags
    stopped.save()
    bad = stopped.setup.data.train[stopped.batches.indices(7)[3]]["name"]
    with pytest.raises(
        PerrinError, match=rf"became nan .* at step 8, with items {bad}; the last saved state"
    ):
        stopped.run()
    assert all(torch.isfinite(v).all() for v in stopped.weights().values())  # the step was not taken
    resumed = trainer(recipe, tmp_path / "run")
    resumed.resume()
    assert resumed.step == 5
    assert resumed.run().sample(1).state.isfinite().all()


@pytest.mark.parametrize("lags", [False, True])
def test_a_gradient_that_is_not_finite_stops_too(lags, tmp_path):
    recipe = points_recipe(write_points(tmp_path), validation=0)

    def steep(value, calls):
        return value + torch.sqrt(0 * value) if calls == 4 else value  # finite, with an infinite slope

    stopped = trainer(recipe, tmp_path / "run", objective=changed(recipe, steep))
    stopped.lags = lags
    before = {}
    stopped.progress = lambda step, total, note: before.update(
        {} if step > 3 else {n: v.clone() for n, v in stopped.weights().items()}
    )
    with pytest.raises(PerrinError, match=r"gradient norm (nan|inf)\) at step 4"):
        stopped.run()
    assert all(torch.equal(v, before[n]) for n, v in stopped.weights().items())  # no step since the third


def test_looking_at_a_step_late_changes_no_bit_of_a_run(tmp_path):
    recipe = points_recipe(write_points(tmp_path))
    perrin.train(recipe, out=tmp_path / "prompt")
    late = trainer(recipe, tmp_path / "late")
    late.lags = True
    late.save()
    late.run()
    assert_identical(tmp_path / "prompt", tmp_path / "late")


def test_divergence_stops_the_run(tmp_path):
    recipe = points_recipe(write_points(tmp_path), steps=2000, validation=0)
    stopped = trainer(
        recipe,
        tmp_path / "run",
        objective=changed(recipe, lambda value, calls: value * max(1, calls - 5) ** 4),
    )
    with pytest.raises(PerrinError, match=r"training diverged by step \d+: .* lower training.lr \(0.001\)"):
        stopped.run()
    assert stopped.step < 200


def test_a_budget_of_cpu_seconds_ends_a_run_at_its_lowest_rate(tmp_path):
    recipe = points_recipe(
        write_points(tmp_path), steps=10**6, cpu_seconds=1.0, save_every=10**6, snapshots=10**6
    )
    started = time.process_time()
    run = perrin.train(recipe, out=tmp_path / "run")
    assert time.process_time() - started < 4
    lines = [line for line in log_of(run.folder) if "lr" in line]
    assert 0 < lines[-1]["lr"] < 0.1 * 1e-3 or lines[-1]["lr"] == 0
    assert run.model.about["train_cpu_seconds"] == pytest.approx(1.0, abs=0.3)


def test_a_budget_of_seconds_on_the_clock_ends_a_run_at_its_lowest_rate(tmp_path, monkeypatch):
    """The rate falls by the time that has passed, and a resumed run has only what is left of it."""
    recipe = points_recipe(write_points(tmp_path), steps=10**6, seconds=40.0, save_every=10, snapshots=10**6)
    recipe["training"]["warmup"] = 0.0
    reading = iter(range(10**6))  # every step takes a second
    monkeypatch.setattr(time, "monotonic", lambda: float(next(reading)))
    with pytest.raises(Killed):
        perrin.train(recipe, out=tmp_path / "run", progress=killed_at(15))
    run = perrin.train(tmp_path / "run", resume=True)
    last = next(line for line in reversed(log_of(run.folder)) if "lr" in line)
    assert last["step"] == 40
    assert last["lr"] == pytest.approx(1e-3 / 40)


@pytest.mark.slow
def test_a_compiled_run_goes_on_where_it_was_killed_with_the_plain_names_in_its_files(tmp_path):
    recipe = points_recipe(write_points(tmp_path), compile=True)
    perrin.train(recipe, out=tmp_path / "whole")
    with pytest.raises(Killed):
        perrin.train(recipe, out=tmp_path / "killed", progress=killed_at(8))
    perrin.train(tmp_path / "killed", resume=True)
    assert_identical(tmp_path / "whole", tmp_path / "killed")
    names = [name for name in contents(tmp_path / "killed")[0] if "_orig_mod" in name]
    assert names == []


def test_a_missing_compiler_is_named_before_the_first_step(tmp_path, monkeypatch):
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", (None, str(tmp_path / "no-compiler")))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    torch.compiler.reset()
    recipe = points_recipe(write_points(tmp_path), compile=True)
    with pytest.raises(PerrinError, match=r"training\.compile: .*C\+\+ compiler.*training\.compile=false"):
        perrin.train(recipe, out=tmp_path / "run")

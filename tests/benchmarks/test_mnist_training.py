import importlib.util
import json
import os
import subprocess
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPTS = REPOSITORY / "benchmarks" / "mnist_training"
PEERS = REPOSITORY / ".venv-peers"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"mnist_training_{name}", SCRIPTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_judge_measures_the_closed_form_distance_of_two_gaussians() -> None:
    generator = np.random.default_rng(0)
    rotation = np.linalg.qr(generator.normal(size=(4, 4)))[0]
    scales, other_scales = (
        np.array([1.0, 2.0, 0.5, 0.0]),
        np.array([2.0, 2.0, 1.5, 0.0]),
    )  # one flat direction
    whitened = generator.normal(size=(5000, 4))
    whitened = (whitened - whitened.mean(0)) @ np.linalg.inv(
        np.linalg.cholesky(np.cov(whitened, rowvar=False))
    ).T
    first, second = (whitened * scales) @ rotation, (whitened * other_scales) @ rotation + 3.0
    expected = 4 * 3.0**2 + ((scales - other_scales) ** 2).sum()
    assert script("judge").frechet(first, second) == pytest.approx(expected, rel=1e-6)


def test_the_learning_rate_warms_up_and_ends_at_zero() -> None:
    rate = script("contest").learning_rate
    assert [rate(1e-3, 0.0), rate(1e-3, 1.0)] == pytest.approx([0.0, 0.0])
    assert rate(1e-3, 0.04) == pytest.approx(1e-3)
    assert rate(1e-3, 0.52) == pytest.approx(5e-4)


@pytest.fixture
def noise_digits(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (200, 28, 28), dtype=np.uint8)
    np.savez(tmp_path / "digits.npz", train_images=images, train_labels=np.arange(200, dtype=np.uint8) % 10)
    return tmp_path / "digits.npz"


@pytest.mark.slow
@pytest.mark.parametrize("peer", ["peer_diffusers", "peer_ddpm_pytorch"])
def test_a_peer_stops_at_its_budget_and_leaves_class_balanced_samples(
    peer: str, noise_digits: Path, tmp_path: Path
) -> None:
    environment = script("peers_environment")
    if not (PEERS / "complete").exists():
        pytest.skip("the peers' environment is not there; benchmarks/mnist_training/run.py makes it")
    command = [str(environment.python_in(PEERS)), str(SCRIPTS / f"{peer}.py"), "--data", str(noise_digits)]
    command += ["--out", str(tmp_path / "run"), "--lr", "1e-3", "--cpu-seconds", "6", "--samples", "20"]
    command += ["--checkpoints", "2", "--guidance", "1", "2", "--option", "sampling_steps=2"]
    command += ["--option", "stochastic_steps=2"] if peer == "peer_diffusers" else []
    subprocess.run(command, check=True, env=environment.variables(PEERS), cwd=os.fspath(tmp_path))
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    half, whole = record["checkpoints"]
    assert 3 <= half["cpu_seconds"] < whole["cpu_seconds"]
    assert 6 <= whole["cpu_seconds"] < 12
    first, *others = whole["samples"]
    assert set(half["samples"]) == {first}
    assert first.endswith("w = 1")
    assert len(others) in (1, 3)
    assert others[0].endswith("w = 2")
    with np.load(tmp_path / "run" / whole["samples"][others[-1]]) as samples:
        assert samples["images"].shape == (20, 28, 28)
        assert samples["images"].dtype == np.uint8
        assert np.bincount(samples["labels"]).tolist() == [2] * 10

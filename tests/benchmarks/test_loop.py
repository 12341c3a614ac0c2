import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPTS = REPOSITORY / "benchmarks" / "loop"
PEERS = REPOSITORY / ".venv-peers"

SAME_WORK = """
import copy, json, sys, tempfile, torch
from pathlib import Path
import pictures
from contenders import CONTENDERS, network
half, name = sys.argv[1] == "bfloat16", sys.argv[2]
torch.set_num_threads(1)
net = network((8, 16), 8)
with torch.no_grad():
    for weight in net.conv_out.parameters():
        weight.mul_(3)
folder = pictures.write(Path(tempfile.mkdtemp()), 8)
images = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(1)).clamp(-1, 1)
made = CONTENDERS[name](net, folder, half)
with torch.no_grad():
    losses = [float(made.loss(images)) for _ in range(60)]
moved = [p.detach().clone() for p in net.parameters()]
for _ in range(3):
    made.step()
trained = made.net if hasattr(made, "net") else made.trainer.denoiser.net.net
far = max(float((a - b).abs().max()) for a, b in zip(trained.parameters(), moved))
print(json.dumps({"loss": sum(losses) / 60, "far": far}))
"""


SAME_PICTURES = """
import json, tempfile, torch
from pathlib import Path
import pictures
from contenders import CONTENDERS, network
folder = pictures.write(Path(tempfile.mkdtemp()), 8)
theirs = pictures.Opened(folder)
trainer = CONTENDERS["perrin"](network((8, 16), 8), folder, False).trainer
portion = trainer.batches(0)
read = torch.stack([theirs[index] for index in portion.indices])
print(json.dumps({"most": float((portion.batch.state - read).abs().max())}))
"""


def worker(*command: str) -> Any:
    """What a script prints in the peers' environment."""
    sys.path[:0] = [str(SCRIPTS), str(SCRIPTS.parent / "mnist_training")]
    try:
        import peers_environment
    finally:
        del sys.path[:2]
    if not (PEERS / "complete").exists():
        pytest.skip("the peers' environment is not there; benchmarks/loop/run.py makes it")
    environment = peers_environment.variables(PEERS)
    environment["PYTHONPATH"] = f"{REPOSITORY / 'src'}:{environment['PYTHONPATH']}"
    python = str(peers_environment.python_in(PEERS))
    done = subprocess.run(
        [python, *command], env=environment, cwd=SCRIPTS, check=True, stdout=subprocess.PIPE
    )
    return json.loads(done.stdout)


def test_the_loop_costs_a_fraction_of_the_peers_schedulers() -> None:
    """dpmpp_2m at most a third and unipc_2 at most a quarter of the same schedulers' step, one thread, least of repeats."""
    rows = worker("overhead.py", "--repeats", "15")
    assert {(r["rule"], tuple(r["shape"])) for r in rows} == {
        (rule, shape) for rule in ("ddim", "dpmpp_2m", "unipc_2") for shape in ((1, 3, 8, 8), (16, 3, 32, 32))
    }
    for row in rows:
        ratio = row["perrin"]["least"] / row["diffusers"]["least"]
        assert ratio <= {"ddim": 1.0, "dpmpp_2m": 1 / 3, "unipc_2": 1 / 4}[row["rule"]], row


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_all_contenders_train_the_same_network_on_the_same_loss(precision: str) -> None:
    """The mean of 60 losses at the same weights and pictures agrees to their own scatter; all then take steps."""
    names = ("diffusers", "diffusers, AttnProcessor", "perrin")
    found = [worker("-c", SAME_WORK, precision, name) for name in names]
    assert [f["loss"] for f in found] == pytest.approx([found[0]["loss"]] * 3, rel=0.04)
    assert all(1e-7 < f["far"] < 1e-2 for f in found)


def test_both_read_the_same_pictures() -> None:
    """The example's batch and ours hold the same numbers, picture by picture."""
    found = worker("-c", SAME_PICTURES)
    assert found["most"] == pytest.approx(0, abs=1e-6)


def test_the_report_has_a_row_for_every_measurement() -> None:
    sys.path.insert(0, str(SCRIPTS))
    try:
        import report
    finally:
        del sys.path[0]
    pair = {"least": 10.0, "median": 20.0, "most": 30.0}
    row = {"rule": "ddim", "peer": "DDIMScheduler", "shape": [1, 2], "perrin": pair, "diffusers": pair}
    assert "| (1, 2) | `ddim` | 10.0 (20.0) | 10.0 (20.0) | `DDIMScheduler` | 1.00 |" in report.overhead(
        [row]
    )
    row = {
        "network": "n",
        "precision": "float32",
        "contender": "perrin",
        "mean": 20.0,
        "most": 30.0,
        "ratio": 2.0,
        "ratio_of_the_most": 1.5,
        "quartiles": [1.25, 1.75],
        "ratio_to_float32": 2.5,
        "first_two_steps": 0.5,
    }
    assert (
        "| n | float32 | perrin | 20.0 (30.0) | 2.00 (1.50) | 1.25 to 1.75 | 2.50 | 0.5 |"
        in report.training([row])
    )
    rows = [
        {"task": "ddim", "library": n, "mebibytes": m} for n, m in (("perrin", 10.0), ("diffusers", 40.0))
    ]
    assert "| ddim | 10 | 40 | 0.25 |" in report.memory(rows)

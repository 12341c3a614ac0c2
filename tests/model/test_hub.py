"""Models go to a Hub and come back through the real client, over HTTP to a stand-in on this machine."""

import os
import subprocess

import pytest
from tests.model.hub_stand_in import stand_in
from tests.model.making import image_model
from tests.training.tiny import PERRIN

import perrin
from perrin import hub
from perrin.errors import PerrinError


@pytest.fixture
def server(tmp_path, monkeypatch):
    """The stand-in, in the place of the Hub, with an empty cache."""
    import huggingface_hub.constants as constants

    with stand_in() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.address)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        template = server.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield server


def pushed(server, folder, name="someone/digits"):
    return hub.push(folder, name, endpoint=server.address, token="hf_test")


def test_a_model_pushed_comes_back_the_same(server, tmp_path):
    model = image_model()
    address = pushed(server, model.save(tmp_path / "m", card="# card\n"))
    assert "someone/digits" in address
    again = perrin.load("someone/digits")
    assert again.hash == model.hash
    assert again.sample(2).state.equal(model.sample(2).state)


def test_what_was_loaded_before_is_not_fetched_again(server, tmp_path):
    pushed(server, image_model().save(tmp_path / "m"))
    perrin.load("someone/digits")
    server.asked.clear()
    perrin.load("someone/digits")
    assert [path for method, path in server.asked if method == "GET" and "safetensors" in path] == []


def test_only_the_model_is_pushed_not_the_state_of_its_training(server, tmp_path):
    folder = image_model().save(tmp_path / "m", card="# card\n")
    for name in (
        "state/latest.json",
        "state/step-1/state.json",
        "ema/a.safetensors",
        "log.jsonl",
        "secret.json",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    (folder / "metrics.json").write_text("{}")
    pushed(server, folder)
    assert set(server.files["someone/digits"]) == {
        "README.md",
        "model.json",
        "model.safetensors",
        "metrics.json",
    }


def test_a_pickle_on_the_hub_is_not_even_fetched(server, tmp_path):
    pushed(server, image_model().save(tmp_path / "m"))
    server.files["someone/digits"]["model.pt"] = b"\x80\x04."
    perrin.load("someone/digits")
    assert not [path for _, path in server.asked if path.endswith("model.pt")]


def test_the_command_line_takes_a_hub_id(server, tmp_path):
    pushed(server, image_model().save(tmp_path / "m"))
    environment = {**os.environ, "HF_ENDPOINT": server.address, "HF_HOME": str(tmp_path / "home")}
    environment |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "0"}
    done = subprocess.run(
        [PERRIN, "sample", "someone/digits", "-n", "2", "--out", tmp_path / "out"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out").glob("*.png"))) == 3


@pytest.mark.parametrize("name", ["nobody/nothing", "a--b/c"])
def test_an_id_without_a_model_is_one_line(server, name):
    with pytest.raises(PerrinError, match=rf"no folder '{name}', and the Hub gave no model") as caught:
        perrin.load(name)
    assert "\n" not in str(caught.value)


def test_a_hub_that_does_not_answer_is_one_line(server, monkeypatch):
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(PerrinError, match="no folder 'someone/digits', and the Hub gave no model"):
        perrin.load("someone/digits")


def test_what_cannot_be_pushed_says_why(server, tmp_path):
    with pytest.raises(PerrinError, match="is not a model folder"):
        pushed(server, tmp_path)
    folder = image_model().save(tmp_path / "m")
    with pytest.raises(PerrinError, match="is not a Hub id; write OWNER/NAME"):
        pushed(server, folder, "digits")


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("someone/digits", True),
        ("someone/digits@v1.0", True),
        ("digits", False),
        ("a/b/c", False),
        ("./runs/digits", False),
        ("/tmp/x", False),
        ("runs/", False),
    ],
)
def test_what_has_the_form_of_a_hub_id(text, is_one):
    assert hub.is_id(text) == is_one

"""From a file of text to texts by the command line: prompts, gaps, a page, a ranking of sentences, clear refusals."""

import json

import pytest
import yaml
from tests.training.tiny import text_recipe, write_text

from perrin.cli import entry


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that has seen the same sentence a few thousand times."""
    folder = tmp_path_factory.mktemp("texts")
    recipe = text_recipe(write_text(folder), steps=500, batch=32, lr=0.01, validation=4, save_every=500)
    recipe["net"] |= {"width": 48, "blocks": 2, "local": 5}
    file = folder / "cats.yaml"
    file.write_text(yaml.safe_dump(recipe))
    assert entry.main(["train", str(file), "--out", str(folder / "run")]) == 0
    return folder / "run"


def told(capsys, *words):
    """What a command line prints."""
    capsys.readouterr()
    assert entry.main([str(word) for word in words]) == 0
    return capsys.readouterr().out


def test_texts_go_on_from_a_prompt_and_are_printed_and_kept(run, tmp_path, capsys):
    words = ("sample", run, "-n", 2, "--prompt", "the cat", "--length", 40, "--out", tmp_path / "texts")
    out = told(capsys, *words)
    files = sorted((tmp_path / "texts").glob("*.txt"))
    assert len(files) == 2
    for file in files:
        text = file.read_text()
        assert text.startswith("the cat")
        assert len(text) == 40
        assert text.rstrip() in out
    assert "identical" in told(capsys, "repro", files[0])


def test_gaps_are_filled_and_the_page_shows_how(run, tmp_path, capsys):
    words = ("sample", run, "-n", 3, "--infill", "the ___ sat on", "--out", tmp_path / "gaps", "--trajectory")
    told(capsys, *words)
    texts = [file.read_text() for file in sorted((tmp_path / "gaps").glob("*.txt"))]
    assert all(text[:4] == "the " and text[7:] == " sat on" for text in texts)
    assert {text[4:7] for text in texts} & {"cat", "dog"}
    assert '"t","h","e"," "' in (tmp_path / "gaps" / "trajectory.html").read_text()


def test_a_page_alone_and_gaps_of_another_size(run, tmp_path, capsys):
    page = tmp_path / "page.html"
    told(capsys, "sample", run, "-n", 1, "--infill", "the ___ sat", "--gap", 5, "--trajectory", "--out", page)
    assert page.is_file()
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]


def test_sentences_are_ranked_the_natural_ones_first(run, tmp_path, capsys):
    sentences = tmp_path / "sentences.txt"
    sentences.write_text("the cat sat on\nteh cta ats no\nthe dog sat on")
    words = ("likelihood", run, sentences, "--data", 'separator="\\n"', "--rank", 3)
    ranking = [line for line in told(capsys, *words).splitlines() if " on" in line or " no" in line]
    assert "teh" in ranking[-1]
    facts = json.loads(told(capsys, *words, "--json"))
    assert facts["data"] == "texts"
    assert facts["items"] == 3
    held_out = json.loads(told(capsys, "likelihood", run, "--samples", 8, "--json"))
    assert held_out["methods"]["bound"]["bits_per_dimension"] < 1.5  # 18 characters of uniform noise have 4.2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--prompt", "the cæt"], "'æ' at position 5"),
        (["--prompt", "the cat sat on the mat", "--length", "8"], "22"),
        (["--infill", "the cat sat"], "no gap"),
        (["--infill", "___ the cat sat on the mat"], "context of 16"),
        (["--gap", "3"], "--infill"),
        (["--infill", "___", "--prompt", "the"], "--infill"),
        (["--solver", "ddim"], "tokens"),
        (["--temperature", "0"], "temperature"),
        (["--label", "3"], "label"),
    ],
)
def test_what_a_text_model_cannot_do_is_one_line(run, words, said, capsys):
    capsys.readouterr()
    assert entry.main(["sample", str(run), "-n", "1", *words]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("sampling: ")]
    assert len(lines) == 1
    assert lines[0].startswith("perrin: ")
    assert said in lines[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"process": {"name": "uniform"}}, "net.timed"),
        ({"process": {"name": "gaussian"}}, "masked"),
        ({"net": {"name": "mlp"}}, "transformer"),
        ({"objective": {"weight": {"name": "edm"}}}, "bound"),
        ({"sampling": {"solver": "no such"}}, "no such"),
        ({"codec": {"tokenizer": "no-such.json"}}, "no-such.json"),
        ({"codec": {"level": "word"}}, "level"),
    ],
)
def test_a_recipe_that_does_not_fit_texts_is_one_line(change, said, tmp_path, capsys):
    file = tmp_path / "bad.yaml"
    file.write_text(yaml.safe_dump({**text_recipe(write_text(tmp_path)), **change}))
    capsys.readouterr()
    assert entry.main(["train", str(file), "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert said in error
    assert not (tmp_path / "run").exists()


def test_an_empty_corpus_is_refused(tmp_path, capsys):
    (tmp_path / "cats.txt").write_text("")
    file = tmp_path / "empty.yaml"
    file.write_text(yaml.safe_dump(text_recipe(tmp_path / "cats.txt")))
    assert entry.main(["train", str(file), "--out", str(tmp_path / "run")]) == 2
    assert "empty" in capsys.readouterr().err

"""The command line: one clear line and exit code 2 on bad input, JSON for scripts, help with an example."""

import errno
import json

import pytest

from perrin.cli import entry
from perrin.cli.common import choose_device, progress
from perrin.errors import PerrinError


def failing_with(error):
    """A verb whose command raises `error`."""

    def command() -> None:
        """Fail."""
        raise error

    return command


@pytest.fixture
def models_fails(monkeypatch):
    """Makes the verb `models` raise; --json stays an option of `perrin` only through the error path."""
    from perrin.cli import models

    return lambda error: monkeypatch.setattr(models, "command", failing_with(error))


@pytest.mark.parametrize("verb", entry.VERBS)
def test_every_verb_has_help_with_an_example(verb, capsys):
    assert entry.main([verb, "--help"]) == 0
    assert f"\n    perrin {verb}" in capsys.readouterr().out.split("Example:", 1)[1]


@pytest.mark.parametrize("verb", entry.VERBS)
def test_every_verb_has_json(verb, capsys):
    entry.main([verb, "--help"])
    assert "--json" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["modles"], "did you mean 'models'"),
        (["models", "--solver"], "--solvers"),
        (["doctor", "now"], "now"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(argv, says, capsys):
    assert entry.main(argv) == 2
    line = capsys.readouterr().err
    assert line.startswith("perrin: ")
    assert line.count("\n") == 1
    assert says in line


def test_bad_input_is_one_line_and_exit_code_2(models_fails, capsys):
    models_fails(PerrinError("steps = 0\nmust be at least 1"))
    assert entry.main(["models"]) == 2
    assert capsys.readouterr().err == "perrin: steps = 0 must be at least 1\n"


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "runs/digits/model.safetensors"),
        RuntimeError('IoError(Os { code: 28, message: "No space left on device" })'),
    ],
)
def test_a_full_disk_is_one_line_and_exit_code_2(error, models_fails, capsys):
    models_fails(error)
    assert entry.main(["models"]) == 2
    assert capsys.readouterr().err.startswith("perrin: the disk is full")


def test_an_interruption_says_how_to_go_on_and_is_130(models_fails, capsys):
    models_fails(KeyboardInterrupt("stopped at step 7; to go on: perrin train --resume runs/digits"))
    assert entry.main(["models"]) == 130
    assert (
        capsys.readouterr().err == "perrin: stopped at step 7; to go on: perrin train --resume runs/digits\n"
    )


def test_a_defect_keeps_its_traceback(models_fails):
    models_fails(ZeroDivisionError("a bug"))
    with pytest.raises(ZeroDivisionError):
        entry.main(["models"])


def test_errors_are_json_for_scripts(capsys):
    assert entry.main(["modles", "--json"]) == 2
    facts = json.loads(capsys.readouterr().out)
    assert facts["exit_code"] == 2
    assert "modles" in facts["error"]


def test_doctor_reports_and_checks_itself(capsys):
    assert entry.main(["doctor", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["self_check"]["gradient_is_right"] is True
    assert facts["packages"]["torch"] == facts["torch"]["version"]
    assert set(facts["extras"]) >= {"parquet", "peers", "dev"}
    assert entry.main(["doctor"]) == 0
    assert "convolution step ms" in capsys.readouterr().out


def test_models_lists_what_the_registry_holds(capsys):
    from perrin import registry

    assert entry.main(["models", "--json"]) == 0
    tables = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in tables["solvers"]] == list(registry.rules)
    assert {row["name"] for row in tables["recipes"]} >= {"digits", "mnist", "images", "arrays"}
    assert all(row["about"] for rows in tables.values() for row in rows)
    assert entry.main(["models", "--grids"]) == 0
    shown = capsys.readouterr().out
    assert "karras" in shown
    assert "unipc_2" not in shown


def test_an_absent_device_is_refused_with_those_that_are_there():
    assert choose_device("cpu") == "cpu"
    with pytest.raises(PerrinError, match="'cuda:99' is not on this machine; it has cpu"):
        choose_device("cuda:99")


def test_progress_writes_few_lines_to_a_log(capsys):
    with progress("drawing", total=100) as advance:
        for _ in range(100):
            advance()
    assert capsys.readouterr().err.splitlines() == ["drawing: 100/100 in 0 s"]

"""The command `perrin`: finds the verb, runs it, and turns an error into one line and an exit code.

Exit codes: 0 done; 2 bad input or a full disk, with one line on standard error that says what is wrong (and
`{"error": line}` on standard output under --json); 130 interrupted; 1 with a traceback is a defect of Perrin.
"""

from __future__ import annotations

import errno
import inspect
import json
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import perrin
from perrin.errors import PerrinError
from perrin.registry import unknown

VERBS = (
    "train",
    "sample",
    "evaluate",
    "likelihood",
    "forecast",
    "impute",
    "backtest",
    "restore",
    "edit",
    "augment",
    "tune",
    "distill",
    "export",
    "import",
    "models",
    "doctor",
    "repro",
)  # in the order of --help; each is the file of that name


WIDE = {"max_content_width": 110}  # help uses the terminal up to this width, not up to 80


class Verbs(TyperGroup):
    """A group whose commands are the verb files, imported on use."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The verbs, in their order."""
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a verb; an unknown one is refused with the nearest."""
        if cmd_name not in VERBS:
            raise unknown("command", cmd_name, VERBS, "perrin --help lists all")
        return verb_command(cmd_name)


def verb_command(verb: str) -> Any:
    """The click command that `cli/<verb>.py` describes."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings=WIDE)
    function = import_module(f"perrin.cli.{verb}").command
    app.command(verb, help=help_text(function))(function)
    return typer.main.get_command(app)


def help_text(function: Callable[..., None]) -> str:
    """The docstring of a verb; its examples keep their lines (click wraps what is not marked with \\b)."""
    return (inspect.getdoc(function) or "").replace("Example:", "\b\nExample:")


def print_version(wanted: bool) -> None:
    """The action of --version."""
    if wanted:
        print(f"perrin {perrin.__version__}")
        raise typer.Exit


def top(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", callback=print_version, is_eager=True),
    ] = False,
) -> None:
    """Train, sample, steer and evaluate diffusion models for any kind of data.

    Example:
      perrin train digits --out runs/digits
      perrin sample runs/digits -n 16 --out digits
    """


def group() -> Any:
    """The click group of all verbs."""
    app = typer.Typer(cls=Verbs, add_completion=False, rich_markup_mode=None, context_settings=WIDE)
    app.callback(help=help_text(top))(top)
    return typer.main.get_command(app)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; `argv` defaults to the process's own."""
    arguments = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    command = group()
    shape, warnings.formatwarning = warnings.formatwarning, warning_line
    try:
        with command.make_context("perrin", list(arguments)) as context:  # click's own main would swallow a
            command.invoke(context)  # KeyboardInterrupt together with what it says
        sys.stdout.flush()
    except typer.Exit as leave:
        return leave.exit_code
    except BrokenPipeError:  # `perrin models | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (KeyboardInterrupt, typer.Abort) as stop:
        return _complain(str(stop) or "interrupted", 130, arguments)
    except Exception as error:
        line = explanation(error)
        if line is None:
            raise
        return _complain(line, 2, arguments)
    finally:
        warnings.formatwarning = shape
    return 0


def explanation(error: Exception) -> str | None:
    """The line that tells a person what went wrong; None for a defect, which keeps its traceback."""
    if isinstance(error, PerrinError):
        return str(error)
    if hasattr(error, "format_message"):  # click's usage errors: no such option, missing argument, ...
        context = getattr(error, "ctx", None)
        return f"{error.format_message()} ({context.command_path if context else 'perrin'} --help)"
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if full or "No space left on device" in str(error):  # safetensors reports it as an error of its own
        name = getattr(error, "filename", None)
        return "the disk is full" + (f": {name} was not written" if name else "; make room and run again")
    return None


def warning_line(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """A warning of Perrin's own is one line for the person at the terminal, without the place in the code."""
    if Path(filename).is_relative_to(Path(perrin.__file__).parent):
        return f"perrin: {message}\n"
    return f"{filename}:{lineno}: {category.__name__}: {message}\n"


def _complain(line: str, code: int, arguments: Sequence[str]) -> int:
    line = " ".join(line.split())
    if "--json" in arguments:
        print(json.dumps({"error": line, "exit_code": code}))
    print(f"perrin: {line}", file=sys.stderr)
    return code

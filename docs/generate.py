"""Writes docs/reference from the registries and the command line: `make docs`. A test compares the files."""

from __future__ import annotations

from pathlib import Path

from perrin.cli.entry import VERBS, group, verb_command
from perrin.cli.listing import SECTIONS, cell, section

REFERENCE = Path(__file__).parent / "reference"
NOTE = "<!-- Written by docs/generate.py (make docs); edit the sources, not this page. -->\n"
WIDTH = 100

TITLES = {
    "recipes": "Recipes: what `perrin train NAME` runs",
    "solvers": "Solvers: `--solver` and `make_plan(name, ...)`",
    "token_solvers": "Solvers of tokens: `--solver` of a model of texts",
    "grids": "Grids: the levels at which a solver evaluates",
    "schedules": "Schedules: `perrin.process`",
    "processes": "Processes of tokens",
    "parameterisations": "Parameterisations: what a network outputs",
    "variances": "Learned variances: what a network says of its own error",
    "guidance": "Guidance: wrappers of a denoiser, `perrin.guide`",
    "tasks": "Restoration tasks: `--task` and `Model.restore`",
    "methods": "Restoration methods: `--method`",
    "objectives": "Objectives: what training minimises",
    "weights": "Weights of the training loss",
    "level_laws": "Laws of the training levels",
    "auxiliaries": "Auxiliary objectives",
    "nets": "Networks",
    "metrics": "Metrics",
    "kinds": "Kinds of data",
}


def pages() -> dict[str, str]:
    """File name -> text of every generated page."""
    return {"commands.md": commands(), "names.md": names()}


def commands() -> str:
    """The help of `perrin` and of each verb."""
    parts = [NOTE, "# Commands\n", "```text\n" + _help("perrin", group()) + "\n```\n"]
    for verb in VERBS:
        parts.append(f"## perrin {verb}\n\n```text\n{_help(f'perrin {verb}', verb_command(verb))}\n```\n")
    return "\n".join(parts)


def names() -> str:
    """A table for every registry."""
    parts = [NOTE, "# Names\n\nEverything that a recipe, an option or the library takes by name.\n"]
    for name in SECTIONS:
        parts.append(f"## {TITLES[name]}\n\n{table(section(name))}\n")
    return "\n".join(parts)


def table(rows: list[dict[str, object]]) -> str:
    """Rows as a Markdown table."""
    lines = [[heading.replace("_", " ") for heading in rows[0]], ["---"] * len(rows[0])]
    for row in rows:
        shown = {heading: cell(value).replace("|", "\\|") for heading, value in row.items()}
        lines.append([f"`{shown['name']}`" if heading == "name" else text for heading, text in shown.items()])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _help(name: str, command: object) -> str:
    context = command.make_context(name, [], resilient_parsing=True, terminal_width=WIDTH)  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in context.get_help().splitlines())


if __name__ == "__main__":
    REFERENCE.mkdir(exist_ok=True)
    for file, text in pages().items():
        (REFERENCE / file).write_text(text, encoding="utf-8")
        print(f"wrote docs/reference/{file}")

"""The documents are true: their examples run, their commands exist, their links lead somewhere.

Python blocks of one page run in order in one namespace, in an empty folder. A block after the line
`<!-- no test -->` is left out; a page with the line `<!-- slow -->` is run by `make test-all`.
"""

import doctest
import importlib
import pkgutil
import re
import runpy
import shlex
from pathlib import Path

import pytest
import torch

import perrin
from perrin.cli.entry import VERBS, group, verb_command

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"(?P<before>[^\n]*)\n```(?P<language>\w+)\n(?P<code>.*?)\n```", re.DOTALL)

MODULES = ["perrin"] + [
    found.name for found in pkgutil.walk_packages(perrin.__path__, "perrin.") if "__main__" not in found.name
]


def blocks(page: Path, *languages: str) -> list[tuple[int, str]]:
    """(line, code) of the fenced blocks of a page that are to be tested."""
    text = "\n" + page.read_text(encoding="utf-8")
    return [
        (text.count("\n", 0, found.start("code")), found["code"])
        for found in BLOCK.finditer(text)
        if found["language"] in languages and found["before"].strip() != "<!-- no test -->"
    ]


def page_cases() -> list:
    """Every page with Python in it, marked slow where it says so."""
    cases = []
    for page in PAGES:
        marks = [pytest.mark.slow] if "<!-- slow -->" in page.read_text(encoding="utf-8") else []
        if blocks(page, "python"):
            cases.append(pytest.param(page, id=str(page.relative_to(ROOT)), marks=marks))
    return cases


@pytest.mark.parametrize("page", page_cases())
def test_the_examples_of_a_page_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    namespace = {"__name__": "__main__"}
    for line, code in blocks(page, "python"):
        # as many empty lines as stand before the block, so that a traceback names the page's line
        exec(compile("\n" * (line - 1) + code, str(page), "exec"), namespace)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_the_docstrings_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failures, _ = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert failures == 0


def command_lines() -> list:
    """Every line of a shell block that runs `perrin`."""
    cases = []
    for page in PAGES:
        for line, code in blocks(page, "bash", "sh", "console"):
            for offset, text in enumerate(code.splitlines()):
                words = shlex.split(text.removeprefix("$ "), comments=True)
                if words and words[0] == "perrin":
                    cases.append(pytest.param(words[1:], id=f"{page.name}:{line + offset}"))
    return cases


@pytest.mark.parametrize("words", command_lines())
def test_every_command_in_the_documents_exists(words):
    if words[0].startswith("-"):
        command = group()
    else:
        assert words[0] in VERBS
        command = verb_command(words[0])
    options = {"--help"} | {option for parameter in command.params for option in parameter.opts}
    asked = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    assert asked <= options


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page):
    prose = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)\s#]+)[^)]*\)", prose) + re.findall(r'src="([^"]+)"', prose)
    local = [target for target in targets if "://" not in target and not target.startswith("mailto:")]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_the_reference_is_up_to_date():
    fresh = runpy.run_path(str(ROOT / "docs" / "generate.py"))["pages"]()
    written = {page.name: page.read_text(encoding="utf-8") for page in (ROOT / "docs/reference").glob("*.md")}
    assert written == fresh, "run `make docs`"

"""Files of prompts: what a line says, and errors that name the line."""

import re

import pytest

from perrin.cli.prompt_lines import line, read
from perrin.errors import PerrinError


@pytest.mark.parametrize(
    ("text", "prompt", "flags"),
    [
        ("a red cube", "a red cube", {}),
        ("  a cat's eye, half-open -- so -x  ", "a cat's eye, half-open -- so -x", {}),
        ("a --guidance 7 --steps 30 --seed 5", "a", {"guidance": 7.0, "steps": 30, "seed": 5}),
        ("a --negative blurry, dark --solver unipc_2", "a", {"negative": "blurry, dark", "solver": "unipc_2"}),
        ("a --negative='wet \"and\" cold' --strength=0.5", "a", {"negative": 'wet "and" cold', "strength": 0.5}),
        ("a --negative it's 'wet'", "a", {"negative": "it's 'wet'"}),
        ("a --seed -3", "a", {"seed": -3}),
        ("a\t--steps\t4".replace("\t", " "), "a", {"steps": 4}),
    ],
)  # fmt: skip
def test_a_line_is_a_prompt_and_its_flags(text, prompt, flags):
    found = line(text)
    assert (found.prompt, found.flags) == (prompt, flags)


def test_comments_and_empty_lines_are_skipped_and_counted(tmp_path):
    file = tmp_path / "prompts.txt"
    file.write_text("\ufeff# prompts\n\na cube\r\n  # more\n\xfcber --seed 3\n", encoding="utf-8")
    assert [(one.number, one.prompt) for one in read(file)] == [(3, "a cube"), (5, "über")]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("--steps 3", "line 2: the prompt is empty"),
        ("a --stesp 3", "line 2: flag '--stesp' is not known; did you mean '--steps'"),
        ("a --steps 3 --steps 4", "line 2: --steps is given twice"),
        ("a --steps many", "line 2: --steps 'many': write a whole number"),
        ("a --steps 2.5", "line 2: --steps '2.5': write a whole number"),
        ("a --guidance", "line 2: --guidance '': write a number"),
        ("a --guidance nan", "line 2: --guidance 'nan': write a number"),
        ("a --seed --steps 4", "line 2: --seed '': write a whole number"),
    ],
)
def test_errors_name_the_line(text, says, tmp_path):
    file = tmp_path / "prompts.txt"
    file.write_text(f"# one\n{text}\n")
    with pytest.raises(PerrinError, match=re.escape(says)) as caught:
        read(file)
    assert str(file) in str(caught.value)


def test_a_file_without_prompts_and_none_at_all(tmp_path):
    (tmp_path / "empty.txt").write_text("# nothing\n\n")
    with pytest.raises(PerrinError, match="holds no prompts"):
        read(tmp_path / "empty.txt")
    with pytest.raises(PerrinError, match="cannot read the prompts"):
        read(tmp_path / "gone.txt")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PerrinError, match="cannot read the prompts"):
        read(tmp_path / "binary.txt")

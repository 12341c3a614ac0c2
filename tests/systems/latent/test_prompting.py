"""Weights in prompts are read as people write them."""

import pytest

from perrin.errors import PerrinError
from perrin.systems.latent.prompting import pieces


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a red cube", [("a red cube", 1.0)]),
        ("a (red:1.3) cube", [("a ", 1.0), ("red", 1.3), (" cube", 1.0)]),
        ("a (red) cube", [("a ", 1.0), ("red", 1.1), (" cube", 1.0)]),
        ("[dark] sky", [("dark", 1 / 1.1), (" sky", 1.0)]),
        ("((very)) big", [("very", 1.1 * 1.1), (" big", 1.0)]),
        ("(a (b:2):0.5)", [("a ", 0.5), ("b", 1.0)]),
        (r"a \(b\) c", [("a (b) c", 1.0)]),
        ("at 12:30 o'clock", [("at 12:30 o'clock", 1.0)]),
        ("(open", [("open", 1.1)]),
        ("", [("", 1.0)]),
    ],
)
def test_pieces(prompt, expected):
    found = pieces(prompt)
    assert [piece.text for piece in found] == [text for text, _ in expected]
    assert [piece.weight for piece in found] == pytest.approx([weight for _, weight in expected])


@pytest.mark.parametrize("prompt", ["a) b", "a] b", "(a] b"])
def test_a_bracket_that_closes_nothing_is_refused(prompt):
    with pytest.raises(PerrinError, match="closes no bracket"):
        pieces(prompt)

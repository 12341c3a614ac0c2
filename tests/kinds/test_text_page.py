"""The page of a text's making: one file that needs nothing else, safe whatever the texts say, and true to the steps."""

import json
import re
from html.parser import HTMLParser

import pytest
import torch

from perrin.errors import PerrinError
from perrin.kinds.text import TextCodec, save_page
from perrin.kinds.text.vocabularies import Characters

CODEC = TextCodec(8, None, Characters('</script>"&\n'), [8])


class Elements(HTMLParser):
    """The elements of a page with their attributes, and what its scripts hold."""

    def __init__(self, page):
        super().__init__()
        self.found, self.scripts = [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_data(self, data):
        if self.found and self.found[-1][0] == "script":
            self.scripts.append(data)


def page_of(tmp_path, states, provenance=None):
    path = CODEC.save_trajectory(states, tmp_path / "a.html", provenance or [{"seed": 0}])
    return path.read_text(encoding="utf-8")


def content_of(page):
    return json.loads(Elements(page).scripts[0])


def replayed(text):
    frames = [text["first"]]
    for changes in text["changes"]:
        frames.append(list(frames[-1]))
        for place, piece in changes:
            frames[-1][place] = piece
    return frames


def test_the_steps_of_every_text_can_be_replayed(tmp_path):
    generator = torch.Generator().manual_seed(0)
    states = [torch.randint(-1, 13, (3, 8), generator=generator) for _ in range(6)]
    content = content_of(page_of(tmp_path, states))
    assert len(content["texts"]) == 3
    for i, text in enumerate(content["texts"]):
        assert replayed(text) == [CODEC.pieces(state[i]) for state in states]


def test_only_what_changed_is_kept(tmp_path):
    full = torch.arange(8)[None]
    states = [torch.where(torch.arange(8) < n, full, 12) for n in range(9)]
    (text,) = content_of(page_of(tmp_path, states))["texts"]
    assert text["changes"] == [[[n, CODEC.vocabulary.characters[n]]] for n in range(8)]
    assert content_of(page_of(tmp_path, [full, full]))["texts"][0]["changes"] == [[]]


def test_a_text_of_markup_stays_a_text(tmp_path):
    pieces = ["</script>", "<script>alert(2)</script><!--<script>"]
    made = {"prompt": "</pre><script>alert(1)</script>"}
    page = save_page([[pieces]], tmp_path / "a.html", made, title="<script>").read_text(encoding="utf-8")
    assert [tag for tag, _ in Elements(page).found].count("script") == 2  # the content and the code
    assert content_of(page)["texts"][0]["first"] == pieces
    assert "alert(1)" not in "".join(Elements(page).scripts)


def test_the_page_is_alone(tmp_path):
    page = page_of(tmp_path, [torch.zeros(1, 8, dtype=torch.int64)])
    for _, attributes in Elements(page).found:
        assert not {"src", "href"} & attributes.keys()
    assert not re.search(r"https?:|@import|url\(|{{", page)
    assert list(tmp_path.iterdir()) == [tmp_path / "a.html"]


def test_frames_that_do_not_belong_together_are_refused(tmp_path):
    with pytest.raises(PerrinError, match="no frames for the page"):
        save_page([], tmp_path / "a.html")
    with pytest.raises(PerrinError, match="as many positions in all of them"):
        save_page([[["a", "b"]], [["a"]]], tmp_path / "a.html")
    with pytest.raises(PerrinError, match=r"is saved as \.html, not"):
        save_page([[["a"]]], tmp_path / "a.gif")

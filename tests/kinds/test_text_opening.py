"""Texts come in whole from every kind of file, and what is wrong with one is said in a line."""

import json

import numpy as np
import pytest

from perrin.errors import PerrinError
from perrin.kinds.text import Text


def one_line(error):
    text = str(error.value)
    assert "\n" not in text
    return text


def texts(dataset):
    return [item["value"] for item in dataset]


def names(dataset):
    return [item["name"] for item in dataset]


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def rows(path, *objects):
    return write(path, "\n".join(o if isinstance(o, str) else json.dumps(o) for o in objects))


def test_a_plain_file_is_one_document_named_by_the_file(tmp_path):
    dataset = Text.open(write(tmp_path / "a.txt", "Äpfel\nund mehr"))
    assert texts(dataset) == ["Äpfel\nund mehr"]
    assert names(dataset) == ["a.txt"]
    assert dataset.classes is None
    assert dataset.description["characters"] == 14


def test_the_mark_of_utf8_is_no_text_and_line_ends_become_one_character(tmp_path):
    path = write(tmp_path / "a.txt", b"\xef\xbb\xbfa\r\nb\rc\n")
    assert texts(Text.open(path)) == ["a\nb\rc\n"]
    path = write(tmp_path / "a.jsonl", b'\xef\xbb\xbf{"text": "a\\r\\nb"}\r\n{"text": "c"}\r\n')
    assert texts(Text.open(path)) == ["a\nb", "c"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a\ncafé".encode("cp1252"), r"byte 0xe9 at position 5 \(line 2\); .*iconv -f WINDOWS-1252"),
        (b"\xef\xbb\xbfa\xff", r"byte 0xff at position 4; "),
        ("abc".encode("utf-16"), r"mark of UTF-16; convert it: iconv -f UTF-16"),
        ("abc".encode("utf-32"), r"mark of UTF-32"),
        ("é\0".encode(), r"zero byte at position 2"),
        (b"", "is empty"),
    ],
)
def test_other_encodings_are_refused_with_the_place_and_the_cure(tmp_path, content, said):
    with pytest.raises(PerrinError, match=said) as error:
        Text.open(write(tmp_path / "a.txt", content))
    assert "a.txt" in one_line(error)


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_separator_cuts_a_file_into_documents(tmp_path, ends):
    path = write(tmp_path / "a.txt", "one\ntwo\n---\n\n---\nthree[x]\n---\n".replace("\n", ends))
    dataset = Text.open(path, separator="\n---\n")
    assert texts(dataset) == ["one\ntwo", "three[x]"]  # what holds nothing is no document
    assert names(dataset) == ["a.txt part 1", "a.txt part 2"]
    assert texts(Text.open(path, separator="[x]")) == [
        "one\ntwo\n---\n\n---\nthree",
        "\n---\n",
    ]  # no pattern: the very characters
    with pytest.raises(PerrinError, match="separator is empty"):
        Text.open(path, separator="")


def test_a_folder_holds_a_document_in_each_file_and_classes_in_its_sub_folders(tmp_path):
    write(tmp_path / "t" / "joy" / "b.txt", "b")
    write(tmp_path / "t" / "joy" / "a.txt", "a")
    write(tmp_path / "t" / "woe" / "c.txt", "c")
    write(tmp_path / "t" / "woe" / "c.txt.json", "{}")
    write(tmp_path / "t" / ".hidden" / "d.txt", "d")
    dataset = Text.open(tmp_path / "t")
    assert texts(dataset) == ["a", "b", "c"]
    assert names(dataset) == ["joy/a.txt", "joy/b.txt", "woe/c.txt"]
    assert dataset.classes == ["joy", "woe"]
    assert [item["label"] for item in dataset] == [0, 0, 1]
    assert Text.open(tmp_path / "t", labels=False).classes is None
    write(tmp_path / "t" / "e.txt", "e")
    with pytest.raises(PerrinError, match="1 texts beside its sub-folders and 3 inside"):
        Text.open(tmp_path / "t")
    with pytest.raises(PerrinError, match=r"no .txt file in folder .* 1 other files"):
        Text.open(write(tmp_path / "other" / "a.doc", "x").parent)


def test_lines_of_json_are_documents_with_labels(tmp_path):
    path = rows(
        tmp_path / "a.jsonl", {"text": "x", "label": "p"}, "", {"text": "y"}, {"text": "z", "label": "n"}
    )
    dataset = Text.open(path)
    assert texts(dataset) == ["x", "y", "z"]
    assert names(dataset) == ["a.jsonl line 1", "a.jsonl line 3", "a.jsonl line 4"]
    assert dataset.classes == ["n", "p"]
    assert [item["label"] for item in dataset] == [1, None, 0]
    assert Text.open(path, labels=False).classes is None
    path = rows(tmp_path / "b.jsonl", {"body": "x", "mood": 1}, {"body": "y", "mood": 0})
    assert Text.open(path, column="body", label_column="mood").classes == ["0", "1"]
    with pytest.raises(PerrinError, match=r"has no key 'text' but body, mood; write column: NAME"):
        Text.open(path)
    with pytest.raises(PerrinError, match=r"has no key 'feeling' but body, mood; write label_column"):
        Text.open(path, column="body", label_column="feeling")


def test_broken_lines_are_named_and_left_out_on_request(tmp_path):
    good, half = {"text": "good"}, '{"text": "\\ud83d"}'
    path = rows(
        tmp_path / "a.jsonl", good, '{"text": ', "[1]", {"text": 3}, {"tex": "a"}, {"text": ""}, half, good
    )
    with pytest.raises(
        PerrinError, match=r"6 of 8 documents of .* are broken: a.jsonl line 2 \(not JSON"
    ) as error:
        Text.open(path)
    said = one_line(error)
    assert "a.jsonl line 3 (a list, not an object" in said
    assert "a.jsonl line 4 (text is int, not a string)" in said
    assert "and 3 more; repair them, or leave them out with broken: skip" in said
    dataset = Text.open(path, broken="skip")
    assert texts(dataset) == ["good", "good"]
    assert names(dataset) == ["a.jsonl line 1", "a.jsonl line 8"]
    assert dataset.skipped == [f"a.jsonl line {n}" for n in range(2, 8)]
    with pytest.raises(PerrinError, match="1 of 1 documents"):
        Text.open(rows(tmp_path / "b.jsonl", "{"), broken="skip")


def test_columns_of_parquet_are_documents(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = {
        "text": ["x", "y\r\nz", None],
        "label": [1, 0, 1],
        "split": ["train", "test", "test"],
        "n": [1, 2, 3],
    }
    parquet.write_table(pa.table(table), tmp_path / "a.parquet")
    with pytest.raises(PerrinError, match=r"a.parquet row 2 \(the row is NoneType, not a string\)"):
        Text.open(tmp_path / "a.parquet")
    dataset = Text.open(tmp_path / "a.parquet", broken="skip")
    assert texts(dataset) == ["x", "y\nz"]
    assert names(dataset) == ["a.parquet row 0", "a.parquet row 1"]
    assert [item["label"] for item in dataset] == [1, 0]
    assert texts(Text.open(tmp_path / "a.parquet", subset="train")) == ["x"]
    with pytest.raises(
        PerrinError, match=r"has no column 'body' but text, label, split, n; write column: NAME"
    ):
        Text.open(tmp_path / "a.parquet", column="body")
    with pytest.raises(PerrinError, match=r"column 'n' of .* holds int64, not strings"):
        Text.open(tmp_path / "a.parquet", column="n")


def test_parquet_says_what_to_install(tmp_path, monkeypatch):
    write(tmp_path / "a.parquet", "x")
    monkeypatch.setattr("perrin.kinds.parquet.find_spec", lambda name: None)
    with pytest.raises(PerrinError, match=r"pip install 'perrin\[parquet\]'"):
        Text.open(tmp_path / "a.parquet")


def test_options_that_do_not_apply_are_refused(tmp_path):
    plain, lines = write(tmp_path / "a.txt", "x"), rows(tmp_path / "a.jsonl", {"text": "x"})
    for path, options in (
        (plain, {"subset": "a"}),
        (plain, {"label_column": "b"}),
        (lines, {"separator": "x"}),
    ):
        with pytest.raises(PerrinError, match="does not apply to"):
            Text.open(path, **options)
    with pytest.raises(PerrinError, match="write 'refuse' or 'skip'"):
        Text.open(plain, broken="ignore")
    with pytest.raises(PerrinError, match=r"no file or folder .*; text is a plain, .jsonl or .parquet file"):
        Text.open(tmp_path / "none.txt")
    with pytest.raises(PerrinError, match="holds no text"):
        Text.open(write(tmp_path / "b.txt", " \n\n"))


def test_the_content_and_not_the_path_decides_the_hash(tmp_path):
    a, b = write(tmp_path / "a.txt", "one"), write(tmp_path / "b.txt", b"\xef\xbb\xbfone")
    assert Text.open(a).description["sha256"] == Text.open(b).description["sha256"]
    assert (
        Text.open(a).description["sha256"]
        != Text.open(write(tmp_path / "c.txt", "two")).description["sha256"]
    )


@pytest.mark.parametrize("held_out", [0.1, 20])
def test_of_a_single_text_the_tail_is_held_out(tmp_path, held_out):
    content = "".join(chr(97 + i % 26) for i in range(200))
    whole = Text.open(write(tmp_path / "a.txt", content))
    train, test = whole.split(held_out, seed=3)
    assert texts(train) == [content[:180]]
    assert texts(test) == [content[180:]]
    assert names(test) == ["a.txt[180:200]"]
    rest, watched = train.split(30, seed=4)
    assert texts(rest) + texts(watched) == [content[:150], content[150:180]]
    assert names(watched) == ["a.txt[150:180]"]
    assert watched.description["characters"] == 30
    assert [texts(part) for part in watched.split(10, seed=0)] == [[content[150:170]], [content[170:180]]]
    assert json.dumps(watched.description)
    with pytest.raises(PerrinError, match="cannot hold out 200 of a text of 200 characters"):
        whole.split(200, seed=0)
    assert [len(part) for part in whole.split(0, seed=0)] == [1, 0]


def test_of_several_texts_whole_ones_are_held_out_by_class(tmp_path):
    path = rows(tmp_path / "a.jsonl", *({"text": f"text {i}", "label": i % 2} for i in range(40)))
    train, test = Text.open(path).split(0.25, seed=1)
    assert sorted(texts(train) + texts(test)) == sorted(f"text {i}" for i in range(40))
    assert np.bincount([item["label"] for item in test]).tolist() == [5, 5]

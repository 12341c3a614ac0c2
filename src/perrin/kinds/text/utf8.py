"""Bytes of a file -> text: UTF-8 alone, with or without a mark at its beginning; line ends become `\\n`.

A guess at another encoding would train a model on wrong letters, so others are refused with what to do.
"""

from __future__ import annotations

from perrin.errors import PerrinError

MARK = b"\xef\xbb\xbf"
# the longer marks first: UTF-32's begins with UTF-16's
_OTHERS = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}


def decoded(raw: bytes, where: str) -> str:
    """The text of a file's bytes, without the mark of UTF-8, `\\r\\n` as `\\n`.

    Args:
        where: the file, for messages.

    Raises:
        PerrinError: another encoding, with the byte's place and how to convert it.
    """
    refuse_other_marks(raw[:4], where)
    start = len(MARK) if raw.startswith(MARK) else 0
    try:
        text = raw[start:].decode()
    except UnicodeDecodeError as error:
        at = start + error.start
        before = raw.count(b"\n", 0, at)
        line = f" (line {1 + before:,})" if b"\n" in raw else ""
        raise PerrinError(
            f"{where} is not UTF-8: byte 0x{raw[at]:02x} at position {at:,}{line}; "
            "if it is Windows-1252 text, convert it: iconv -f WINDOWS-1252 -t UTF-8 FILE > NEW"
        ) from error
    zero = text.find("\0")
    if zero >= 0:
        raise PerrinError(
            f"{where} holds a zero byte at position {start + len(text[:zero].encode()):,}: no text file"
        )
    return unix(text)


def refuse_other_marks(beginning: bytes, where: str) -> None:
    """Refuse a file that begins (its first four bytes) with the mark of UTF-16 or UTF-32."""
    for mark, name in _OTHERS.items():
        if beginning.startswith(mark):
            raise PerrinError(
                f"{where} begins with the mark of {name}; convert it: iconv -f {name} -t UTF-8 FILE > NEW"
            )


def unix(text: str) -> str:
    """Line ends as `\\n`: a model would have to learn `\\r` as a letter of its own."""
    return text.replace("\r\n", "\n") if "\r" in text else text

r"""Text: plain files, JSON lines and parquet to tokens of a small vocabulary, and back.

dataset = Text.open("plays.txt")
codec = Text.codec.fit(dataset, level="character", context=256)
batch = codec.encode([dataset[0]])        # state int64 [1, 256]
"""

from __future__ import annotations

from perrin.kinds.provenance import read_provenance
from perrin.kinds.text.codec import TextCodec
from perrin.kinds.text.opening import open_text
from perrin.kinds.text.page import save_page
from perrin.kinds.text.saving import read_saved

__all__ = ["Text", "TextCodec", "open_text", "read_provenance", "save_page"]


class Text:
    """Documents of any length: plain text, JSON lines, parquet, folders; as characters, bytes or pieces (BPE)."""

    sources = ("path",)
    codec = TextCodec
    open = staticmethod(open_text)
    read_saved = staticmethod(read_saved)

"""Music: folk tunes in ABC notation as tokens on a grid of eighths, and back to ABC, MIDI, sound and piano rolls.

dataset = Music.open("tunes/", broken="skip")
codec = Music.codec.fit(dataset)
batch = codec.encode([dataset[0]])        # state int64 [1, 300]
"""

from __future__ import annotations

from perrin.kinds.music.codec import MusicCodec
from perrin.kinds.music.opening import open_music
from perrin.kinds.music.saving import read_saved
from perrin.kinds.provenance import read_provenance

__all__ = ["Music", "MusicCodec", "open_music", "read_provenance"]


class Music:
    """Tunes of one voice: .abc files and folders of them; out as ABC, MIDI, sound and piano rolls."""

    sources = ("path",)
    codec = MusicCodec
    open = staticmethod(open_music)
    read_saved = staticmethod(read_saved)

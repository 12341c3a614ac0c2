r"""Tunes as MIDI files (by music21) and as sound.

Sound is additive: each note is the sum of its first partials k, of amplitude 1 / k^2, that decay the faster the higher
they are, as a plucked string's do,

    y(t) = a(t) sum_k k^-2 exp(-3 sqrt(k) t) sin(2 pi k f t),   f = 440 * 2^((pitch - 69) / 12)

with a short attack and release a(t).
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from scipy.io import wavfile

from perrin.kinds.music.playing import Event, duration, events, quarter_seconds
from perrin.kinds.music.reading import Reading

RATE = 22_050  # samples a second
_ATTACK, _RELEASE = 0.008, 0.03  # seconds
_PARTIALS = 8
_LOUDNESS = {False: 1.0, True: 0.22}  # of the melody, of the chords' notes


def wave(reading: Reading) -> np.ndarray:
    """The tune as it is played, int16 at `RATE`, mono; exactly as long as its bars last."""
    quarter = quarter_seconds(reading.metre)
    sound = np.zeros(round(float(duration(reading)) * quarter * RATE))
    for event in events(reading):
        start = round(float(event.start) * quarter * RATE)
        stop = min(round(float(event.start + event.length) * quarter * RATE), len(sound))
        sound[start:stop] += _LOUDNESS[event.chord] * _plucked(event.pitch, stop - start)
    loudest = float(np.abs(sound).max(initial=0.0))
    return (sound * (0.8 * 32_767 / loudest if loudest else 0.0)).astype(np.int16)


def _plucked(pitch: int, count: int) -> np.ndarray:
    """`count` samples of one note."""
    frequency = 440 * 2 ** ((pitch - 69) / 12)
    t = np.arange(count) / RATE
    partials = [k for k in range(1, _PARTIALS + 1) if k * frequency < RATE / 2]
    y = sum(
        (np.exp(-3 * np.sqrt(k) * t) * np.sin(2 * np.pi * k * frequency * t) / k**2 for k in partials),
        np.zeros(count),
    )
    return y * np.minimum(1, t / _ATTACK) * np.minimum(1, (count / RATE - t) / _RELEASE)


def wav_bytes(reading: Reading) -> bytes:
    """A WAV file, 16 bit, mono."""
    held = io.BytesIO()
    wavfile.write(held, RATE, wave(reading))
    return held.getvalue()


def midi_bytes(reading: Reading) -> bytes:
    """A MIDI file: the melody as one track, the chords, where there are any, as another."""
    from music21 import instrument, midi, stream, tempo

    sounds = events(reading)
    score = stream.Score()
    for chord, player in ((False, instrument.Violin()), (True, instrument.Guitar())):
        chosen = [event for event in sounds if event.chord == chord]
        if chosen:
            part = _part(chosen)
            part.insert(0, player)
            part.insert(0, tempo.MetronomeMark(number=60 / quarter_seconds(reading.metre)))
            score.insert(0, part)
    return bytes(midi.translate.music21ObjectToMidiFile(score).writestr())


def _part(sounds: Sequence[Event]):  # type: ignore[no-untyped-def]  # music21 has no types
    from music21 import note, stream

    part = stream.Part()
    for event in sounds:
        sound = note.Note(event.pitch, quarterLength=_plain(event.length))
        sound.volume.velocity = 50 if event.chord else 90
        part.insert(_plain(event.start), sound)
    return part


def _plain(number: Fraction) -> float | Fraction:
    """What music21 wants: floats where they are exact."""
    return float(number) if number.denominator & (number.denominator - 1) == 0 else number

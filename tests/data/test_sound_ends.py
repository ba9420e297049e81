"""Sounds cut off: refused in every format that tells, whole ones accepted in all."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tlx.data.audio import AudioPreprocessing
from tlx.errors import UserError

RATE, SAMPLES = 16000, 48000
SPOKEN = AudioPreprocessing(RATE, 60.0)
NOT_FROM_BYTES = {"RAW", "SD2"}  # without a header, and with a second file beside it
CANNOT_TELL = {"PAF", "PVF", "IRCAM", "XI", "MAT5"}
WRITTEN = sorted(set(soundfile.available_formats()) - NOT_FROM_BYTES)


def sound(kind: str, subtype: str | None = None, channels: int = 1) -> bytes:
    rng = np.random.default_rng(0)
    wave = 0.4 * np.sin(2 * np.pi * 440 * np.arange(SAMPLES) / RATE) + 0.1 * rng.normal(size=SAMPLES)
    file = io.BytesIO()
    soundfile.write(file, np.stack([wave] * channels, 1), RATE, format=kind, subtype=subtype)
    return file.getvalue()


KINDS = [(kind, None) for kind in WRITTEN]
KINDS += [
    ("OGG", "OPUS"),
    ("NIST", "ULAW"),
    ("NIST", "PCM_24"),
    ("VOC", "PCM_U8"),
    ("WAV", "GSM610"),
    ("WAV", "IMA_ADPCM"),
]


@pytest.mark.parametrize(("kind", "subtype"), KINDS)
def test_a_whole_sound_is_read_and_a_part_refused(kind: str, subtype: str | None, tmp_path: Path) -> None:
    whole, file = sound(kind, subtype), tmp_path / "a.sound"
    file.write_bytes(whole)
    for raw in (whole, file):
        with soundfile.SoundFile(io.BytesIO(whole)) as opened:  # some formats know few rates, or one
            seconds = SAMPLES / opened.samplerate
        assert len(SPOKEN.encode(raw)) >= int(seconds * RATE)
    if kind in CANNOT_TELL:
        return
    for share in (0.5, 0.9):
        file.write_bytes(whole[: int(share * len(whole))])
        for raw in (file.read_bytes(), file):
            with pytest.raises(UserError, match=r"ends early: .* seconds\)\. Copy it again|cannot be decoded"):
                SPOKEN.encode(raw)


@pytest.mark.parametrize(
    ("kind", "subtype"), [("AVR", None), ("NIST", None), ("OGG", None), ("OGG", "OPUS"), ("MP3", None)]
)
def test_two_channels_count_as_one(kind: str, subtype: str | None) -> None:
    whole = sound(kind, subtype, channels=2)
    assert len(SPOKEN.encode(whole)) == SAMPLES
    with pytest.raises(UserError, match="ends early"):
        SPOKEN.encode(whole[: len(whole) // 2])


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_the_last_page_of_ogg_is_looked_at(subtype: str) -> None:
    whole = sound("OGG", subtype)
    for missing in (
        1,
        10,
        len(whole) // 50,
        len(whole) - whole.rindex(b"OggS"),
        len(whole) - whole.rindex(b"OggS") - 20,
    ):
        with pytest.raises(UserError, match=r"ends early: the page that ends the stream is missing|cannot be decoded"):
            SPOKEN.encode(whole[:-missing])
    for appended in (b"TAG" + bytes(125), bytes(200_000)):
        assert len(SPOKEN.encode(whole + appended)) == SAMPLES


def test_mp3_is_believed_only_where_its_header_counts() -> None:
    whole = sound("MP3")
    tag = b"ID3\x04\0\0" + bytes([0, 0, 40, 0]) + bytes(40 << 7)  # of 5120 bytes, as a cover has
    assert len(SPOKEN.encode(tag + whole)) == SAMPLES
    for cut in (whole[: len(whole) // 2], (tag + whole)[: len(tag) + len(whole) // 2]):
        with pytest.raises(UserError, match=f"ends early: its header promises {SAMPLES} samples, and"):
            SPOKEN.encode(cut)
        assert len(AudioPreprocessing(RATE, 0.5).encode(cut)) == 8000, "what is read of it is there"
    # Without the first frame, which counts them.
    bare = whole[whole.index(whole[:2], 4) :]
    for sounding in (bare, bare[: len(bare) // 2]):
        assert len(SPOKEN.encode(sounding)) > 0

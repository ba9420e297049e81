"""Sounds that end before what they promise: libsndfile reads what is there and raises nothing.

What cannot be told: PAF of 16 bits, PVF, IRCAM, XI and MAT5 state no length, nor does MP3 (or MP2) without a Xing or
Info header, so that of these a part is taken for the whole.
"""

import io
import re
from pathlib import Path
from typing import Any

# libsndfile's words for a chunk that ends with the file, and the sizes of which nothing is to be said: with the length
# of a header counted in, and what those write who do not know the size yet.
SHORT = re.compile(
    r"^\s*(?:(?:data|SSND|BODY|Data Size|riff|Riff size)\s*:|Data length) (\d+) \(?should be (\d+)", re.MULTILINE
)
TOLERATED, UNKNOWN = 44, 2**31 - 2**16  # bytes; as many samples are tolerated
TRUNCATED = re.compile(r"[Ss]eems to be (?:a )?truncated")  # VOC, PAF of 24 bits, MAT4
FRAMES = re.compile(r"^\s*Frames\s*: (\d+)", re.MULTILINE)  # of the formats where it is what the header says
STATED = ("AVR", "MPC2K")
COUNT = re.compile(rb"sample_count -i (\d+)")  # in the header of a NIST SPHERE file
LONGEST_PAGE = 27 + 255 + 255 * 255  # bytes of Ogg
SLACK = 2 * 1152  # samples that encoders of MP3 count differently: the frame of the header, and the padding


def missing_end(raw: Any, file: Any, read: int, wanted: int) -> str | None:
    """What of a sound is not there, in words; None where all is, where nobody can tell, or where `wanted` was there.

    `raw`: the path or the bytes of the open soundfile.SoundFile `file`, of which `read` samples were read.
    """
    if file.format == "MP3":
        promised = min(wanted, file.frames)
        return _counted(promised, read) if read + SLACK < promised and _counts_frames(raw) else None
    if read != file.frames:  # what is read of a long clip is there
        return None
    info = file.extra_info
    for promised, there in ((int(a), int(b)) for a, b in SHORT.findall(info)):
        if there + TOLERATED < promised < UNKNOWN:
            return f"its header promises {promised} bytes of sound, and {there} are there"
    if TRUNCATED.search(info):
        return "its header promises more than is there"
    if (promised := _stated(raw, file.format, info)) and read + TOLERATED < promised:
        return _counted(promised, read)
    if _part(raw, 0, 4) == b"OggS" and not _ogg_ends(_part(raw, -2 * LONGEST_PAGE, 2 * LONGEST_PAGE)):
        return "the page that ends the stream is missing"
    return None


def _counted(promised: int, there: int) -> str:
    return f"its header promises {promised} samples, and {there} are there"


def _stated(raw: Any, kind: str, info: str) -> int | None:
    """How many samples (of each channel) the header states, in the formats where libsndfile does not look at it."""
    if kind == "NIST":
        found = COUNT.search(_part(raw, 0, 1024))
        return int(found[1]) if found else None
    stated = FRAMES.search(info) if kind in STATED else None
    return int(stated[1]) if stated else None


def _counts_frames(raw: Any) -> bool:
    """Whether the first frame of an MP3 states how many there are; else libsndfile guesses."""
    start, tag = 0, _part(raw, 0, 10)
    if tag[:3] == b"ID3":  # its length: four times seven bits
        start = 10 + sum((byte & 127) << shift for byte, shift in zip(tag[6:], (21, 14, 7, 0), strict=True))
    found = re.search(rb"(?:Xing|Info)\0\0\0(.)", _part(raw, start, 2048), re.DOTALL)
    return bool(found and found[1][0] & 1)


def _ogg_ends(tail: bytes) -> bool:
    """Whether the last page in the last bytes of an Ogg file is whole and says that it is the last one."""
    place = tail.rfind(b"OggS")
    if place < 0:  # something else was appended, and longer than a page
        return True
    page = tail[place:]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return False
    return bool(page[5] & 4) and len(page) >= 27 + page[26] + sum(page[27 : 27 + page[26]])


def _part(raw: Any, start: int, length: int) -> bytes:
    """At most `length` bytes of a file or of bytes, from `start`; a negative one counts from the end."""
    if not isinstance(raw, (str, Path)):
        return bytes(memoryview(raw)[start:][:length])
    with Path(raw).open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(max(0, size + start) if start < 0 else start)
        return file.read(length)

"""Where the sounds in a file begin and end, where libsndfile would not look: recordings that were joined byte by byte,
and WAVs and MP3s whose header does not say how long they are.
"""

import dataclasses
import io
import re
import struct

OPEN = 2**32 - 1  # bytes of a chunk that has more than can be said, or of a recording that was broken off
MOST_BEFORE = 1 << 20  # bytes of a chunk before a WAV's samples
ENDLESS = 1 << 40  # samples; a header that says so many, years of sound at any rate, does not know
LEAST_LEFT = 4096  # bytes behind a sound of which something is said; tags are fewer
FLAC = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")  # how a stream begins
OGG = re.compile(rb"OggS\x00(.)", re.DOTALL)  # a page, and what kind of page
CHUNK = re.compile(rb"[ \w]{4}")  # the name of a part of a WAV
SYNC = re.compile(rb"\xff[\xe2-\xff]|ID3")  # how an MP3 begins


@dataclasses.dataclass
class Contents:
    """The recordings in a file."""

    recordings: list  # binary files, one or more; the file itself where there is one that says what it is
    left: int = 0  # bytes behind them that are of no known kind


def contents_of(raw):
    """Find the recordings in a file that is open.

    Parameters
    ----------
    raw : binary file

    Returns
    -------
    Contents
    """
    size = raw.seek(0, io.SEEK_END)
    head = _at(raw, 0, 16)
    if _is_wav(head):
        return _in_wav(raw, size)
    begin = _behind_id3(raw, 0)
    kind = _at(raw, begin, 16)
    if kind[:4] == b"OggS":
        starts = _of_ogg(raw)
    elif kind[:4] == b"fLaC":
        starts = [place for place, _ in _found(raw, FLAC)]
    elif SYNC.match(kind):
        starts = _of_mp3(raw, size)
        last, head = _head_of_mp3(raw, starts[-1])
        if head:
            return Contents([*map(View, [raw] * len(starts), starts, starts[1:]), View(raw, last, size, head)])
    else:
        return Contents([raw])
    if len(starts) < 2:
        return Contents([raw])
    return Contents([View(raw, start, end) for start, end in zip([0, *starts[1:]], [*starts[1:], size])])


class View(io.RawIOBase):
    """A stretch of a file, behind a head that it does not have."""

    def __init__(self, raw, begin, end, head=b""):
        self.raw, self.begin, self.end, self.head = raw, begin, end, head
        self.place = 0

    def readable(self):
        return True

    def seekable(self):
        return True

    def seek(self, place, whence=io.SEEK_SET):
        self.place = place + {io.SEEK_SET: 0, io.SEEK_CUR: self.place,
                              io.SEEK_END: len(self.head) + self.end - self.begin}[whence]
        return self.place

    def tell(self):
        return self.place

    def readinto(self, buffer):
        buffer = memoryview(buffer).cast("B")
        if part := self.head[self.place:self.place + len(buffer)]:
            buffer[:len(part)] = part
            count = len(part)
        else:
            place = self.begin + self.place - len(self.head)
            self.raw.seek(place)
            count = self.raw.readinto(buffer[:max(0, self.end - place)])
        self.place += count
        return count


def _at(raw, place, count):
    raw.seek(place)
    return raw.read(count)


def _found(raw, pattern, block=1 << 20, longest=8):
    """Where matches of a pattern are in a file, and what they are, in order."""
    before, rest = 0, b""
    raw.seek(0)
    while new := raw.read(block):
        for match in pattern.finditer(rest + new):
            if match.end() > len(rest):  # else it has been found
                yield before - len(rest) + match.start(), match
        before += len(new)
        rest = (rest + new)[1 - longest:]


def _of_ogg(raw):
    """Where a stream's first page comes after another's later ones: those of one recording begin together."""
    starts, begun = [0], False
    for place, page in _found(raw, OGG):
        if page[1][0] & 2 and begun:
            starts.append(place)
        begun = not page[1][0] & 2
    return starts


def _behind_id3(raw, place):
    """Where a sound begins that may have an ID3 tag before it."""
    head = _at(raw, place, 10)
    if head[:3] != b"ID3" or len(head) < 10:
        return place
    size = sum((byte & 127) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0)))
    return place + 10 + size + 10 * bool(head[5] & 16)


def _of_mp3(raw, size):
    """Where MP3s begin of which each but the last says how long it is: one that does not is read to the end."""
    starts, place = [0], 0
    while True:
        place = _behind_id3(raw, place)
        length = _length_of_mp3(_at(raw, place, 64))
        place += length
        if _at(raw, place, 3) == b"TAG":  # ID3's first version
            place += 128
        if not length or place >= size or not SYNC.match(_at(raw, place, 3)):
            return starts
        starts.append(place)


def _word_of_mp3(head):
    """Where in an MP3's first frame the encoder says how long it is; -1 if it does not."""
    return max(head.find(b"Xing", 4, 46), head.find(b"Info", 4, 46))


def _head_of_mp3(raw, place):
    """Where an MP3's frames begin, and one to have before them if they do not say how many there are.

    libsndfile would guess by the first one's length, and read no further.
    """
    place = _behind_id3(raw, place)
    head = _at(raw, place, 64)
    if _word_of_mp3(head) >= 0 or len(head) < 4 or head[0] != 255 or head[1] & 0xE6 != 0xE2 or head[2] & 12 == 12:
        return place, b""  # it says so, or is no MPEG audio of layer III
    version = (head[1] >> 3) & 3  # 3: MPEG 1, 2: 2, of half the sample rates and samples a frame, 0: 2.5, of a quarter
    rate = (44100, 48000, 32000)[head[2] >> 2 & 3] >> {3: 0, 2: 1, 0: 2}.get(version, 0)
    kbits, samples, (mono, stereo) = (128, 1152, (17, 32)) if version == 3 else (64, 576, (9, 17))
    head = bytes([255, head[1] | 1, (0x90 if version == 3 else 0x80) | head[2] & 12, head[3]])
    head += bytes(mono if head[3] >> 6 == 3 else stereo) + b"Xing" + struct.pack(">2I", 1, 2**31 - 1)
    return place, head.ljust(kbits * 1000 * samples // 8 // rate, b"\0")


def _length_of_mp3(head):
    """Bytes by the encoder's word in an MP3's first frame (Xing, Info); 0 if there is none."""
    place = _word_of_mp3(head)
    if place < 0 or len(head) < place + 16:
        return 0
    said, *numbers = struct.unpack_from(">3I", head, place + 4)
    return numbers[said & 1] if said & 2 else 0


def _is_wav(head):
    return head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE"


def _chunk(raw, place, size):
    """Name and length of a chunk that fits into the file; None if there is none."""
    head = _at(raw, place, 8)
    if len(head) < 8 or not CHUNK.match(head):
        return None
    name, length = struct.unpack("<4sI", head)
    return (name, length) if place + 8 + length <= size else None


def _in_wav(raw, size):
    recordings, begin, end = [], 0, 0
    while not begin or _is_wav(_at(raw, begin, 12)):
        found = _data_of_wav(raw, begin, size)
        if found is None:  # libsndfile judges it
            recordings.append(View(raw, begin, size))
            end = size
            break
        start, length, head = found
        end = _behind_chunks(raw, start, length, size)
        recordings.append(View(raw, start, start + length, head) if head else View(raw, begin, end))
        begin = end
    left = size - end if size - end >= LEAST_LEFT else 0
    return Contents(recordings if len(recordings) > 1 or recordings[0].head else [raw], left)


def _data_of_wav(raw, begin, size):
    """Where the samples of a WAV begin, how many bytes they are, and its head if its own is wrong in that."""
    place, chunks, long = begin + 12, b"", 0
    while place + 8 < size:
        name, said = struct.unpack("<4sI", _at(raw, place, 8))
        start = place + 8
        if name == b"data":
            break
        content = _at(raw, place, 8 + min(said, MOST_BEFORE))
        if name == b"ds64" and len(content) >= 24:
            long, = struct.unpack_from("<Q", content, 16)
        else:
            chunks += content + b"\0" * (said % 2)
        place = start + said + said % 2
    else:
        return None
    is_long, there = _at(raw, begin, 4) != b"RIFF", size - start
    said, length = long if is_long and said == OPEN else said, there
    if said and (is_long or said != OPEN):
        length = min(said, there)
        if there - said > OPEN and _behind_chunks(raw, start, said, size) == start + said:
            length = said + ((there - said) >> 32 << 32)  # its upper half had no room
    elif not said and _chunk(raw, start, size):  # an empty sound before another chunk is what it says
        length = 0
    return start, length, b"" if length <= said else _head(chunks, length)


def _head(chunks, length):
    if length + len(chunks) + 64 < OPEN:
        return (struct.pack("<4sI4s", b"RIFF", 4 + len(chunks) + 8 + length, b"WAVE") + chunks
                + struct.pack("<4sI", b"data", length))
    return (struct.pack("<4sI4s4sIQQQI", b"RF64", OPEN, b"WAVE", b"ds64", 28, 48 + len(chunks) + length, length, 0, 0)
            + chunks + struct.pack("<4sI", b"data", OPEN))


def _behind_chunks(raw, start, length, size):
    """Where a WAV ends whose samples are followed by other chunks, with or without the byte that makes them even."""
    end = start + length
    for place in (end + length % 2, end):
        while (chunk := _chunk(raw, place, size)) and not _is_wav(_at(raw, place, 12)):
            place += 8 + chunk[1] + chunk[1] % 2
        if place > end + length % 2 or place >= size or _is_wav(_at(raw, place, 12)):
            return min(place, size)
    return end

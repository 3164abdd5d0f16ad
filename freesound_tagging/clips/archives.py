"""Zip archives, in one part or several, read as they are."""

import bisect
import contextlib
import io
import itertools
import struct
import zipfile

LOCATOR = struct.Struct("<4sLQL")  # of large archives: where their last record is, by its part and place there


class _Joined(io.RawIOBase):
    """Files one after the other as one, with another end."""

    def __init__(self, files):
        self.files = files
        self.starts = [0, *itertools.accumulate(file.seek(0, io.SEEK_END) for file in files)]
        self.place, self.end = 0, b""

    def readable(self):
        return True

    def seekable(self):
        return True

    def seek(self, place, whence=io.SEEK_SET):
        self.place = place + {io.SEEK_SET: 0, io.SEEK_CUR: self.place, io.SEEK_END: self.starts[-1]}[whence]
        return self.place

    def tell(self):
        return self.place

    def readinto(self, buffer):
        buffer = memoryview(buffer).cast("B")
        before = self.starts[-1] - len(self.end) - self.place  # bytes before the end that is another
        if before <= 0:
            part = self.end[-before:len(buffer) - before]
            buffer[:len(part)] = part
            count = len(part)
        else:
            number = self.part_of(self.place)
            file = self.files[number]
            file.seek(self.place - self.starts[number])
            count = file.readinto(buffer[:before])
        self.place += count
        return count

    def part_of(self, place):
        """The number of the file that a place is in."""
        return bisect.bisect_right(self.starts[:-1], place) - 1


@contextlib.contextmanager
def opened_archive(paths):
    """Open an archive that `zip -s` may have split, without joining its parts on the disk.

    Parameters
    ----------
    paths : sequence of path
        All of its parts in order, the ``.zip`` last.

    Yields
    ------
    zipfile.ZipFile

    Raises
    ------
    zipfile.BadZipFile
        If it is none.
    """
    with contextlib.ExitStack() as stack:
        joined = _Joined([stack.enter_context(open(path, "rb")) for path in paths])
        joined.seek(-min(42, joined.starts[-1]), io.SEEK_END)
        end = joined.read()
        if end[:4] == b"PK\6\7" and len(paths) > 1:
            name, part, place, _ = LOCATOR.unpack(end[:20])
            joined.end = LOCATOR.pack(name, 0, joined.starts[part] + place, 1) + end[20:]
        archive = stack.enter_context(zipfile.ZipFile(joined))
        # An entry says where it begins by its part and the place there; Python has counted from the part that its list
        # of entries begins in.
        counted_from = joined.starts[joined.part_of(archive.start_dir)]
        for entry in archive.infolist() if len(paths) > 1 else ():
            entry.header_offset += joined.starts[entry.volume] - counted_from
            with contextlib.suppress(AttributeError):  # some Pythons compare with it, in their own count
                entry._end_offset = None
        yield archive

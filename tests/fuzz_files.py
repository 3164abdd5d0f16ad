"""Read mutated files for a while: run by test_fuzz.py, which sees how it ends. Prints how many files were read.

``python fuzz_files.py audio|export|network SECONDS FOLDER SEED_FILE...``. The file in hand is in FOLDER, so that it is
there when this process crashes. Every file ends in a result or in an error that names it; a minute a file and 4 GiB are
the limits.
"""

import json
import random
import resource
import signal
import struct
import sys
import time
import warnings
from pathlib import Path

from freesound_tagging.images.mel import load_clip, log_mel, to_image
from freesound_tagging.machine.processes import peak_memory

EXTREMES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def mutated(content, rng, head, pieces=()):
    """One to a few changes, most of them where headers are: in the first `head` bytes. `pieces` may be put in."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        if not data:
            break
        at = rng.randrange(min(len(data), head if rng.random() < 0.8 else len(data)))
        kind = rng.randrange(7 if pieces else 6)
        if kind == 0:
            data[at:at + 1] = bytes([rng.randrange(256)])
        elif kind == 1:
            data[at:at + 4] = struct.pack("<I", rng.choice(EXTREMES))
        elif kind == 2:
            data[at:at + 4] = struct.pack(">I", rng.choice(EXTREMES))
        elif kind == 3:
            del data[at:at + rng.randrange(1, 64)]
        elif kind == 4:
            data[at:at] = data[at:at + rng.randrange(1, 64)]
        elif kind == 5:
            del data[at + rng.randrange(len(data)):]
        else:
            data[at:at] = rng.choice(pieces)
    return bytes(data)


def read_audio_file(path):
    """What the store does with a file."""
    image = to_image(log_mel(load_clip(path)))
    assert image.shape[0] == 128, image.shape


def read_network_file(path):
    """What inference does with a file of the author's or ours."""
    from freesound_tagging.networks.weights import load_tagger

    load_tagger(path)


def hostile_pieces(kind):
    """What small files that ask for much are made of."""
    if kind == "audio":
        return ()
    from hostile_files import PICKLES

    if kind == "export":
        return [opcodes[:200_000] for opcodes in PICKLES.values()]
    return [b"[" * 100_000, b"-1", b"1e999", b"1" * 5000, b"true", b"null", b'"5"', b"{}", b"[[]]", b'"dtype":"F64",']


def main(kind, seconds, folder, *seeds):
    """Mutate and read until the time is up."""
    read, allowed, head = {"audio": (read_audio_file, OSError, 120), "export": (read_network_file, ValueError, 80_000),
                           "network": (read_network_file, ValueError, 8_000)}[kind]
    pieces = hostile_pieces(kind)
    contents = [(Path(seed).suffix, Path(seed).read_bytes()) for seed in seeds]
    warnings.simplefilter("error")
    warnings.simplefilter("default", DeprecationWarning)  # libraries' own, as pyproject.toml has it for the tests
    warnings.filterwarnings("ignore", "(?s).* which exported learners do not usually name", UserWarning)
    for suffix, content in contents:  # the whole files can be read, and import what reading needs
        path = Path(folder) / f"whole{suffix}"
        path.write_bytes(content)
        read(path)
    before = peak_memory()
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + (4 << 30), resource.RLIM_INFINITY))
    rng, end = random.Random(0), time.monotonic() + float(seconds)
    found = {"files": 0, "results": 0, "errors": 0, "longest, s": 0.0}
    while time.monotonic() < end:
        suffix, content = rng.choice(contents)
        path = Path(folder) / f"mutated{suffix}"
        path.write_bytes(mutated(content, rng, head, pieces))
        begun = time.monotonic()
        signal.alarm(60)
        try:
            read(path)
            found["results"] += 1
        except allowed as error:
            assert str(path) in str(error), f"an error that does not name the file: {error!r}"
            found["errors"] += 1
        signal.alarm(0)
        found["files"] += 1
        found["longest, s"] = max(found["longest, s"], time.monotonic() - begun)
    found["peak, MiB"] = peak_memory() >> 20
    found["more than the whole files, MiB"] = (peak_memory() - before) >> 20
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])

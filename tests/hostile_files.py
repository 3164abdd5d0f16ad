"""Small files that ask for much, by which two seconds of sound are tagged. Run by test_hostile_files.py.

``python hostile_files.py FOLDER`` writes the files and tags with each in a process of its own; prints, by the file's
name, its size, how much memory the process took more than it had before, the seconds, and what was said.
"""

import dataclasses
import json
import os
import pickle
import resource
import signal
import struct
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import soundfile as sf
import torch
from exports import as_fastai, save_like_torch_1_0
from torch import nn

from freesound_tagging.images.mel import MelConfig
from freesound_tagging.machine.processes import peak_memory
from freesound_tagging.networks.models import cnn_model_1
from freesound_tagging.networks.tagger import NetworkSpec, Tagger
from freesound_tagging.networks.weights import save_tagger
from freesound_tagging.prediction.tagging import tag

HEAD = b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))
FUNCTION = b"ctorch._utils\n_rebuild_tensor_v2\n"
SPEC = NetworkSpec("cnn-model-1", {"width": 2}, ("Bark", "Meow"), MelConfig(), (0.4,) * 3, (0.2,) * 3)


def text(content):
    """The opcode of a text."""
    return b"X" + struct.pack("<I", len(content)) + content


def number(value):
    """The opcode of a large number."""
    return b"\x8a\x14" + value.to_bytes(20, "little")


# How images are to be made, in whole networks of which two seconds of sound are tagged.
DESCRIBED = {
    "silence of a year": {"min_seconds": 3e7},
    "a million bands": {"n_mels": 1_000_000},
    "a window of 400 million samples": {"n_fft": 400_000_000},
    "a thousand million samples a second": {"sample_rate": 10**9},
    "a frame each sample": {"hop_length": 1, "n_mels": 1024},
    "an excerpt of a million frames": {"min_seconds": 60, "hop_length": 1, "excerpt_frames": 1_000_000},
    "the longest window that is allowed": {"sample_rate": 384_000, "min_seconds": 6, "n_mels": 1024, "n_fft": 1 << 15,
                                           "hop_length": 1500, "excerpt_frames": 256},
    "the shortest hop that is allowed": {"n_mels": 32, "hop_length": 6},
}
PICKLES = {
    "a million nested tuples": b")" + b"\x85" * 1_000_000,
    "nested tuples": b")" + b"\x85" * 290_000,
    "nested lists": b"]" * 140_000 + b"a" * 139_999,
    "nested dictionaries": b"}" + text(b"k") + b"q\0" + b"}h\0" * 70_000 + b"N" + b"s" * 70_000,
    "nested calls": b"ca\nb\nq\0" + b"h\0" * 95_000 + b")" + b"\x85R" * 95_000,
    "nested states": b"ca\nb\nq\0" + b")\x81" * 100_000 + b"N" + b"b" * 90_000,
    "dictionaries": b"}" * 290_000,
    "dictionaries of one": text(b"k") + b"q\0" + b"}h\0Ns" * 70_000,
    "marks": b"(" * 290_000,
    "one list added to itself": b"]q\0(" + b"h\0" * 280_000 + b"e",
    "a list that holds itself twice over": b"]q\0" + b"h\0h\0\x86" * 90_000 + b"e",
    "bytearray of 500 MB": b"\x96" + struct.pack("<Q", 500 << 20),
    "bytes of 500 MB": b"\x8e" + struct.pack("<Q", 500 << 20),
    "text of 4 GB": b"X\xff\xff\xff\xff",
    "text of 500 MB": b"X" + struct.pack("<I", 500 << 20),
    "number of 2 GB": b"\x8b\xff\xff\xff\x7f",
    "frame of an exabyte": b"\x95" + struct.pack("<Q", 1 << 60),
    "number of a million digits": b"I" + b"9" * 1_000_000 + b"\n",
    "long number of a million digits": b"L" + b"9" * 1_000_000 + b"L\n",
    "memo of four thousand million": b"Nr\xff\xff\xff\xff",
    "memo of any number": b"Np99999999999999999999\n",
    "wide text": text(("a" * 1_000_000 + "\N{DOG FACE}").encode()),
    "keys that collide": b"}(" + b"".join(number(n * (2**61 - 1)) + b"N" for n in range(90_000)) + b"u",
    "lists as keys": b"}(" + b"]N" * 90_000 + b"u",
    "tuples of one tuple twice as keys": b"}()q\0" + b"".join(
        b"h%ch%c\x86q%c" % (n, n, n + 1) for n in range(60)) + b"Nu",
    "persistent name": b"Pa\n", "persistent text": text(b"a") + b"Q", "extension": b"\x82\1", "buffer": b"\x97",
    "call by name with keywords": FUNCTION + b")}\x92", "name from the stack": text(b"os") + text(b"system") + b"\x93",
    "name without end": b"c" + b"a" * 1_000_000,
    "attributes of a function": FUNCTION + b"N}" + text(b"array") + text(b"x") + b"s\x86b",
    "attributes of a number": b"K\1}b", "item of a number": b"K\1K\1K\1s", "nothing to take": b"0", "no mark": b"t",
    "end": b"",
}


class Scalar:
    """Written as a numpy text; the bytes that it is decoded from can be those of others."""

    def __init__(self, content):
        self.content = content

    def __reduce__(self):
        function, _ = np.str_("a").__reduce__()
        return function, (np.dtype(f"<U{len(self.content) // 4}"), self.content)


def hostile_files(folder):
    """Content and suffix of each file, by name."""
    files = {name: (HEAD + opcodes + b"." + b"].", ".pkl") for name, opcodes in PICKLES.items()}
    files["nested in the storages"] = HEAD + b"}." + b")" + b"\x85" * 290_000 + b".", ".pkl"

    def exported(name, model, **more):
        files[name] = save_like_torch_1_0(folder / "made", model, **more).read_bytes(), ".pkl"
    exported("a whole export", as_fastai(cnn_model_1(2, width=2)))
    shared = nn.Identity()
    for _ in range(60):
        shared = nn.Sequential(shared, shared)
    exported("modules that are shared", shared)
    cyclic = nn.Sequential()
    cyclic._modules["0"] = cyclic
    exported("a module in itself", cyclic)
    numbers = nn.Parameter(torch.zeros(512 * 512 * 9))
    exported("one storage of 300 names", nn.Sequential(*[_named(numbers) for _ in range(300)]))
    exported("a network of one storage", as_fastai(_with_parameters(
        cnn_model_1(2), lambda shape: numbers.detach()[:shape.numel()].view(shape))))
    exported("a network of one number", as_fastai(_with_parameters(
        cnn_model_1(2), lambda shape: torch.zeros(1).expand(shape))))
    content = "a".encode("utf-32-le") * 125_000
    exported("one text for 5,000 labels", as_fastai(cnn_model_1(2, width=2)),
             classes=[Scalar(content) for _ in range(5_000)])
    files |= hostile_safetensors(folder)
    return files


def _with_parameters(network, make):
    for layer in network.modules():
        for name, tensor in layer._parameters.items():
            layer._parameters[name] = nn.Parameter(make(tensor.shape), requires_grad=False)
    return network


def _named(parameter):
    layer = nn.Identity()
    layer.weight = parameter
    return layer


def _safetensors(tensors, spec, data=b""):
    """A file with any header."""
    header = json.dumps({"__metadata__": {"freesound-tagging-2": spec}, **tensors}).encode()
    return struct.pack("<Q", len(header)) + header + data, ".safetensors"


def _described(**changes):
    return json.dumps({"version": "0", **dataclasses.asdict(SPEC), "options": {"width": 2}, **changes})


def _with_description(content, **mel):
    """A network's file with other settings of its images."""
    length, = struct.unpack_from("<Q", content)
    header = json.loads(content[8:8 + length])
    header["__metadata__"] = {"freesound-tagging-2": _described(mel=mel)}
    header = json.dumps(header).encode()
    return struct.pack("<Q", len(header)) + header + content[8 + length:]


def hostile_safetensors(folder):
    """The same for our own kind of file."""
    files = {f"{width} channels": _safetensors({}, _described(options={"width": width}))
             for width in (400, 4096, 10**9)}
    files["nested description"] = _safetensors({}, "[" * 400_000)
    nested = "[" * 900 + "]" * 900
    files["nested labels"] = _safetensors({}, _described(vocabulary=[]).replace("[]", nested))
    files["nested header"] = struct.pack("<Q", 1_000_000) + b'{"a":' + b"[" * 999_995, ".safetensors"
    files["header of an exabyte"] = struct.pack("<Q", 1 << 60) + b"{}", ".safetensors"
    save_tagger(Tagger(SPEC), folder / "made.safetensors")
    files["a whole network"] = whole, _ = (folder / "made.safetensors").read_bytes(), ".safetensors"
    for name, changes in DESCRIBED.items():
        files[name] = _with_description(whole, **dataclasses.asdict(SPEC.mel) | changes), ".safetensors"
    state = dataclasses.replace(SPEC, options={}).outline().state_dict()
    same = {name: {"dtype": "F32" if tensor.dtype == torch.float32 else "I64", "shape": list(tensor.shape),
                   "data_offsets": [0, tensor.numel() * tensor.itemsize]} for name, tensor in state.items()}
    files["tensors that share their numbers"] = _safetensors(same, _described(options={}), bytes(512 * 512 * 9 * 4))
    return files


def _read(path):
    signal.alarm(60)
    pages = [int(n) * resource.getpagesize() for n in Path("/proc/self/statm").read_text().split()[:2]]
    resource.setrlimit(resource.RLIMIT_AS, (pages[0] + (1 << 30),) * 2)  # also of what is asked for and never used
    begun = time.process_time()
    try:
        tag(path.with_name("two seconds.wav"), path, "cpu")
        said = "a network"
    except ValueError as error:
        said = str(error)
    return {"said": said, "seconds": time.process_time() - begun,
            "memory": peak_memory() - pages[1]}


def measured(path):
    """Read a file in a process of its own."""
    read, write = os.pipe()
    if not (pid := os.fork()):
        try:
            os.write(write, json.dumps(_read(path)).encode())
            os._exit(0)
        finally:
            os._exit(1)
    os.close(write)
    _, status = os.waitpid(pid, 0)
    with open(read, "rb") as pipe:
        told = pipe.read()
    return {"status": os.waitstatus_to_exitcode(status), "size": path.stat().st_size, **json.loads(told or b"{}")}


def main(folder):
    """Write and read all."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)  # as the processes are forks
    found, folder = {}, Path(folder)
    sound = folder / "two seconds.wav"
    sf.write(sound, np.random.default_rng(0).standard_normal(88_200) / 10, 44_100)
    save_tagger(Tagger(SPEC), folder / "made.safetensors")
    tag(sound, folder / "made.safetensors", "cpu")  # so that what is loaded for the first sound does not count
    for name, (content, suffix) in hostile_files(folder).items():
        path = folder / f"hostile{suffix}"
        path.write_bytes(content)
        found[name] = measured(path)
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])

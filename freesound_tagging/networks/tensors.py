"""Tensors in files: where each lies, whether they are a network's, and how they come into memory, once."""

import contextlib
import json
import math
import os
import reprlib
from typing import NamedTuple

import torch

from ..machine.files import as_path

HEADER_AT_MOST = 1 << 20  # bytes of a safetensors file's header; a network's has 20 thousand
DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64, "I64": torch.int64,
          "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool}
NOT_WHOLE = "it is not a whole safetensors file; copy or train it again"
UNFIT = "its weights do not fit the network that it describes"
MARKUP = "it is a web page and not the file itself; download it again, signed in where that is asked"
OTHERS = {  # what comes under a network's name, by its first bytes in lower case
    b"pk\3\4": "it is a zip archive, as torch 1.6 and later (and fastai 2) write; save it there again with "
               "torch.save(..., _use_new_zipfile_serialization=False)",
    b"<!doctype": MARKUP, b"<html": MARKUP, b"<?xml": MARKUP,
    b"version https://git-lfs": "it is the pointer that Git LFS keeps in the file's place; run git lfs pull",
    b"\x1f\x8b\x08": "it is compressed by gzip; unpack it first",
}


class Place(NamedTuple):
    """Where a tensor lies in a file, in C order."""

    dtype: torch.dtype
    shape: tuple
    offset: int  # bytes from the start of the file

    @property
    def end(self):
        """The first byte behind it."""
        return self.offset + math.prod(self.shape) * self.dtype.itemsize


@contextlib.contextmanager
def network_file(path, failure):
    """Open a file that should hold a network; every error is a ValueError that says which file it was.

    `failure` stands between its name and the reason, as "cannot be imported".
    """
    path = as_path(path)
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} {failure}: it is {'a folder' if path.is_dir() else 'no regular file'}; give a file")
    with open(path, "rb") as file:
        head = file.read(64)
        file.seek(0)
        try:
            if not head:
                raise ValueError("it is empty; download or copy it again")
            for start, reason in OTHERS.items():
                if head.lstrip().lower().startswith(start):
                    raise ValueError(reason)
            really = ".safetensors" if head[8:9] == b"{" else ".pkl" if head[:1] == b"\x80" else path.suffix
            if {really, path.suffix} == {".safetensors", ".pkl"}:
                raise ValueError(f"it is a {really} file by its content; name it so")
            yield file
        except (ImportError, ValueError) as error:
            raise ValueError(f"{path} {failure}: {str(error)[:1000]}") from error
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError) as error:
            # what nonsense makes of the steps of reading
            raise ValueError(f"{path} {failure}: it is damaged or of another kind ({repr(error)[:200]})") from error


def read_header(file):
    """The head of a safetensors file: its metadata, and the place of each tensor by name."""
    size, length = os.fstat(file.fileno()).st_size, int.from_bytes(file.read(8), "little")
    if not 2 <= length <= min(size - 8, HEADER_AT_MOST):
        raise ValueError(f"{NOT_WHOLE} (a header of {length} bytes in {size})")
    try:
        header = json.loads(file.read(length))
    except (RecursionError, ValueError) as error:
        raise ValueError(f"{NOT_WHOLE} (its header is no JSON: {error})") from error
    metadata, places = header.pop("__metadata__", {}), {}
    for name, entry in header.items():
        (begin, end), shape, dtype = entry["data_offsets"], tuple(entry["shape"]), DTYPES.get(entry["dtype"])
        if dtype is None or not all(type(n) is int and n >= 0 for n in (begin, end, *shape)):
            raise ValueError(f"its tensor {name!r} of type {reprlib.repr(entry['dtype'])} is none of a network")
        places[name] = Place(dtype, shape, 8 + length + begin)
        if places[name].end != 8 + length + end or places[name].end > size:
            raise ValueError(f"{NOT_WHOLE} ({name!r} is not in its {size} bytes)")
    if not all(type(value) is str for value in metadata.values()):
        raise ValueError("its metadata are no texts")
    return metadata, places


def check_fit(spec, places):
    """Raise a ValueError unless tensors are those that the network of a spec has, in name, shape and type.

    That is before any is read.
    """
    wanted = spec.outline().state_dict()
    for name in (*wanted, *places):
        if name not in places or name not in wanted:
            raise ValueError(f"{UNFIT}: {name!r} is {'missing' if name in wanted else 'one too many'}")
        (dtype, shape, _), tensor = places[name], wanted[name]
        if shape != tensor.shape:
            raise ValueError(f"{UNFIT}: {name} is of shape {reprlib.repr(shape)}, expected {tuple(tensor.shape)}")
        if dtype != tensor.dtype and (dtype, tensor.dtype) != (torch.float16, torch.float32):
            raise ValueError(f"{UNFIT}: {name} is of {dtype}, expected {tensor.dtype}")


def read_tensors(file, places):
    """Read tensors, each into memory of its own; those of float16 become float32.

    If they have more bytes than the file, some would be read many times: a ValueError.
    """
    size = os.fstat(file.fileno()).st_size
    if sum(place.end - place.offset for place in places.values()) > size:
        raise ValueError(f"its tensors share their numbers: they have more than the {size} bytes of the file")
    tensors = {}
    for name, place in places.items():
        tensor = torch.empty(math.prod(place.shape), dtype=place.dtype, device="cpu")
        file.seek(place.offset)
        if len(tensor) and file.readinto(tensor.view(torch.uint8).numpy()) < place.end - place.offset:
            raise ValueError("it ends too early")
        tensor = tensor.float() if place.dtype == torch.float16 else tensor
        tensors[name] = tensor.reshape(place.shape)
    return tensors

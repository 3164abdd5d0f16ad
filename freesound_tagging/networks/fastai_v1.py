"""Reading learners that fastai 1 exported, without fastai 1 and without running anything that is in the file.

Such a file is a pickle in torch's old format, and unpickling a stranger's file runs its code. Here only what holds
weights is rebuilt (`torch` storages and tensors, dictionaries); every other name of the libraries that such files name
becomes a placeholder that does nothing, and any name outside of those libraries refuses the file.
"""

import collections
import io
import math
import pickle  # only its opcodes, in Python: see _Unpickler
from pathlib import Path

import numpy as np

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of torch.save before version 1.6
DTYPES = {"FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "LongStorage": "<i8",
          "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "<i1", "ByteStorage": "<u1"}
# Whose names may stand in such a file, as placeholders.
LIBRARIES = {"__main__", "fastai", "fastprogress", "torch", "torchvision", "numpy", "PIL", "pathlib", "functools",
             "collections"}
BUILTINS = {"set", "frozenset", "list", "dict", "tuple", "object", "slice", "unicode", "str", "bytes", "int", "float",
            "bool", "long"}


class UnsafePickle(ValueError):
    """A file names something that no exported learner names."""


class Placeholder:
    """Stands for an object of a library: takes what a pickle does to it, and does nothing."""

    def __init__(self, *arguments, **keywords):
        self.state = {}

    def __setstate__(self, state):
        self.state = state if isinstance(state, dict) else {}

    def __setitem__(self, key, value):
        pass

    def append(self, value):
        pass

    extend = add = append


def read_export(path):
    """Read what a network is made of out of a learner that fastai 1's ``Learner.export`` wrote.

    Parameters
    ----------
    path : path

    Returns
    -------
    layers : list of dict of str to numpy.ndarray
        Parameters and buffers by name, of each layer that has any, in the order of the network.
    classes : list of str
        The label of each output.
    mean, std : numpy.ndarray (3,)
        The normalization of the input, in [0, 1].

    Raises
    ------
    UnsafePickle
        If the file names anything outside of `LIBRARIES`. Nothing of it has been run.
    ValueError
        If the file is truncated, is no such export, or holds no model. The message names it.
    """
    path = Path(path)
    stream = io.BytesIO(path.read_bytes())
    try:
        if _Unpickler(stream).load() != MAGIC or _Unpickler(stream).load() != PROTOCOL:
            raise ValueError("it is not in the format that torch wrote before version 1.6")
        if not _Unpickler(stream).load().get("little_endian", True):
            raise ValueError("its numbers are big-endian")
        unpickler = _Unpickler(stream)
        export = unpickler.load()
        storages = _read_storages(stream, _Unpickler(stream).load(), unpickler.dtypes)
        if not isinstance(export, dict) or not isinstance(export.get("model"), Placeholder):
            raise ValueError("it holds no model; expected what Learner.export writes")
        layers = [{name: tensor.array(storages) for name, tensor in tensors.items()}
                  for tensors in _layers(export["model"])]
        return layers, *_classes_and_normalization(export.get("data"), storages)
    except UnsafePickle as error:
        raise UnsafePickle(f"{path} was not loaded: {error}") from None
    except (EOFError, ValueError) as error:
        raise ValueError(f"{path} cannot be imported: {error or 'it ends too early'}") from error
    except Exception as error:  # whatever else a broken pickle makes of the opcodes
        raise ValueError(f"{path} cannot be imported: it is damaged or no learner ({error!r})") from error


class _Unpickler(pickle._Unpickler):
    """Python's unpickler in Python, as the one in C can be made to ask for any amount of memory. Looks up no name."""

    def __init__(self, stream):
        super().__init__(stream)
        self.dtypes = {}  # of the numbers in each storage

    def find_class(self, module, name):
        library = module.split(".")[0]
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _Tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return _parameter
        if module in ("torch", "torch.cuda") and name in DTYPES:
            return DTYPES[name]
        if library in LIBRARIES or (library in ("builtins", "__builtin__") and name in BUILTINS):
            return type(name, (Placeholder,), {"__module__": module})
        raise UnsafePickle(f"it names {module}.{name}, which no exported learner does")

    def get_extension(self, code):
        raise UnsafePickle(f"it uses the pickle extension {code}, which no exported learner does")

    def persistent_load(self, saved):
        if isinstance(saved, tuple) and len(saved) == 4 and saved[0] == "module":
            return saved[1]  # a class with its source code, which is left where it is
        if isinstance(saved, tuple) and len(saved) == 6 and saved[0] == "storage" and saved[5] is None:
            _, dtype, key, *_ = saved
            if dtype in DTYPES.values() and self.dtypes.setdefault(key, dtype) == dtype:
                return dtype, key
        raise ValueError("it holds tensors in a way that torch 1.0 did not write")


class _Tensor:
    """Where a tensor lies in which storage; `array` reads it once the storages are known."""

    def __init__(self, storage, offset, size, stride, *_):
        self.storage, self.offset, self.size, self.stride = storage, offset, size, stride

    def array(self, storages):
        (dtype, key), size, stride = self.storage, tuple(self.size), tuple(self.stride)
        data = np.frombuffer(storages[key], dtype)
        numbers = [self.offset, *size, *stride]
        if not all(isinstance(n, int) and n >= 0 for n in numbers) or len(size) != len(stride):
            raise ValueError(f"a tensor of size {size} and stride {stride} at {self.offset}")
        last = self.offset + sum((n - 1) * step for n, step in zip(size, stride))
        if math.prod(size) > len(data) or last >= len(data):
            raise ValueError(f"a tensor of size {size} lies outside of its {len(data)} numbers")
        steps = [step * data.itemsize for step in stride]
        return np.lib.stride_tricks.as_strided(data[self.offset:], size, steps).copy()


def _parameter(tensor, *_):
    return tensor


def _read_storages(stream, keys, dtypes):
    """The numbers behind the pickles: for each key a count, then as many numbers of the key's type."""
    storages, data = {}, stream.getbuffer()
    for key in keys:
        first = stream.tell() + 8
        count = int.from_bytes(data[first - 8:first], "little", signed=True)
        end = first + count * np.dtype(dtypes[key]).itemsize
        if count < 0 or end > len(data):
            raise EOFError
        storages[key] = data[first:end]
        stream.seek(end)
    return storages


def _layers(module, depth=0):
    """The tensors by name of each layer that has any, in order."""
    if depth > 20:
        raise ValueError("its modules are nested without end")
    tensors = {name: tensor for group in ("_parameters", "_buffers")
               for name, tensor in module.state.get(group, {}).items() if isinstance(tensor, _Tensor)}
    if tensors:
        yield tensors
    for child in module.state.get("_modules", {}).values():
        if isinstance(child, Placeholder):
            yield from _layers(child, depth + 1)


def _classes_and_normalization(data, storages):
    data = data if isinstance(data, dict) else {}
    classes = next((list(step.state["classes"]) for step in data.get("y_proc") or []
                    if isinstance(step, Placeholder) and "classes" in step.state), None)
    if not classes or not all(isinstance(label, str) for label in classes):
        raise ValueError("it holds no list of classes")
    normalize = data.get("normalize")
    if not isinstance(normalize, dict) or not all(isinstance(normalize.get(k), _Tensor) for k in ("mean", "std")):
        raise ValueError("it holds no normalization of the input")
    mean, std = (normalize[name].array(storages).astype(float) for name in ("mean", "std"))
    if mean.shape != (3,) or std.shape != (3,):
        raise ValueError(f"its normalization is of {mean.shape} and {std.shape} channels; expected 3")
    return classes, mean, std

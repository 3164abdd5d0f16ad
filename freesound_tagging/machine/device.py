"""What networks compute on: which device, in which number format, and what is done where it is too small."""

import contextlib
import ctypes
import platform
import re
import warnings

import torch

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def default_device():
    """The first CUDA GPU if there is one that this torch was built for, which a warning says if not; else the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    built, capability = torch.cuda.get_arch_list(), torch.cuda.get_device_capability()
    if runs_on(capability, built):
        return torch.device("cuda")
    warnings.warn(f"{torch.cuda.get_device_name()} is of compute capability {'.'.join(map(str, capability))}, which "
                  f"torch {torch.__version__} was not built for ({', '.join(built)}): the CPU is used. Take another "
                  "GPU, on Kaggle a T4, or install a torch that was built for this one", stacklevel=2)
    return torch.device("cpu")


def runs_on(capability, architectures):
    """Whether a torch runs on a GPU.

    Parameters
    ----------
    capability : (int, int)
        The GPU's, as `torch.cuda.get_device_capability` gives it.
    architectures : list of str
        What torch was built for, as `torch.cuda.get_arch_list` gives it: ``"sm_60"`` runs on all GPUs of compute
        capability 6, and the intermediate code of ``"compute_60"`` on all from 6.0 on.

    Returns
    -------
    bool
        True as well where they are not NVIDIA's.
    """
    found = [(kind, (int(number[:-1]), int(number[-1]))) for kind, number in
             re.findall(r"(sm|compute)_(\d+)", " ".join(architectures))]
    return not found or any(capability >= built and (kind == "compute" or capability[0] == built[0])
                            for kind, built in found)


def gpus():
    """The CUDA GPUs that this torch runs on, by its numbers: list of int."""
    if not torch.cuda.is_available():
        return []
    built = torch.cuda.get_arch_list()
    return [number for number in range(torch.cuda.device_count())
            if runs_on(torch.cuda.get_device_capability(number), built)]


def device_named(name=None):
    """A device, if it is there.

    Parameters
    ----------
    name : str or torch.device, optional
        Such as ``"cpu"``, ``"cuda"`` or ``"cuda:1"``; `default_device` if not given.

    Returns
    -------
    torch.device

    Raises
    ------
    ValueError
        If there is none of the name here. The message says which there are.
    """
    if name is None:
        return default_device()
    try:
        device = torch.device(name)
        (torch.ones(1, device=device) + 1).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        here = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
        raise ValueError(f"device={str(name)!r} cannot be used ({str(error).splitlines()[0]}); expected one of "
                         f"{', '.join(here)}") from None
    return device


def training_precision(device):
    """The fastest number format that trains well on a device.

    Parameters
    ----------
    device : torch.device

    Returns
    -------
    torch.dtype
        bfloat16 on GPUs from Ampere on and on CPUs with the instructions that oneDNN needs for it (AVX-512); float16
        on older GPUs, with loss scaling; float32 on other CPUs.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16
    return torch.bfloat16 if _has_bfloat16() else torch.float32


def _has_bfloat16():
    """Whether oneDNN computes in it on this CPU; some torch, as that for macOS, has no oneDNN."""
    return getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", bool)()


def inference_precision(device):
    """The quick number format to predict in, where that changes probabilities little (`choose_precision`).

    Parameters
    ----------
    device : torch.device

    Returns
    -------
    torch.dtype
        float16 on GPUs, where it is quick from Pascal on and eight times as exact as bfloat16; bfloat16 on CPUs with
        instructions for its products (AVX-512 BF16, AMX); float32 on all else.
    """
    if device.type == "cuda":
        return torch.float16
    said = (getattr(torch.cpu, name, bool)() for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return torch.bfloat16 if device.type == "cpu" and any(said) and _has_bfloat16() else torch.float32


def precision_named(name=None):
    """A number format to predict in.

    Parameters
    ----------
    name : str or torch.dtype, optional
        ``"float32"``, ``"bfloat16"`` or ``"float16"``.

    Returns
    -------
    torch.dtype or None
        None if not given, for what `choose_precision` finds.

    Raises
    ------
    ValueError
        If it is another.
    """
    if name is not None and name not in (*PRECISIONS, *PRECISIONS.values()):
        raise ValueError(f"precision={name!r}: expected one of {', '.join(PRECISIONS)}, or none, for the quickest that "
                         "changes little")
    return PRECISIONS.get(name, name)


def prepare_device(device):
    """Set this process up to compute on a device, for good: what commands, notebooks and training do.

    A GPU chooses its fastest convolutions for the one shape that comes, and rounds products to TF32. On a CPU with
    glibc, the memory of a step is kept for the next one, in place of giving it back to the system and zeroing it anew.

    Parameters
    ----------
    device : torch.device
    """
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = torch.backends.cudnn.allow_tf32 = True
        torch.set_float32_matmul_precision("high")
    elif platform.libc_ver()[0] == "glibc":
        M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 32 << 20)  # the most that it takes
        ctypes.CDLL(None).mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


@contextlib.contextmanager
def as_prepared(device):
    """Compute on a GPU as `prepare_device` would have it, and leave the process's settings as they were.

    On a CPU nothing is changed: what `prepare_device` does there cannot be taken back.

    Parameters
    ----------
    device : torch.device
    """
    if device.type != "cuda":
        yield
        return
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    with contextlib.ExitStack() as stack:
        stack.enter_context(_switched(cudnn, "benchmark", True))
        if hasattr(cudnn, "conv"):  # from torch 2.9 on, where the former names cannot be read if a program sets these
            for place in (matmul, cudnn.conv):
                stack.enter_context(_switched(place, "fp32_precision", "tf32", "none"))
        else:
            stack.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
            torch.set_float32_matmul_precision("high")
            stack.enter_context(_switched(cudnn, "allow_tf32", True))
        yield


@contextlib.contextmanager
def _switched(place, name, value, inherited=None):
    """A setting of torch's, changed if need be, and set back: to `inherited` where that comes to the same."""
    before = getattr(place, name)
    if before == value:
        yield
        return
    try:
        setattr(place, name, value)
        yield
    finally:
        if inherited is not None:
            setattr(place, name, inherited)
        if getattr(place, name) != before:
            setattr(place, name, before)


@contextlib.contextmanager
def autocast_as_before():
    """Leave autocast as it was, whatever an interrupt at the edge of a ``with torch.autocast`` has left on."""
    before = {kind: torch.is_autocast_enabled(kind) for kind in ("cpu", "cuda")}
    nesting = torch.autocast_increment_nesting()
    torch.autocast_decrement_nesting()
    try:
        yield
    finally:
        for kind, enabled in before.items():
            torch.set_autocast_enabled(kind, enabled)
        torch.autocast_increment_nesting()
        while torch.autocast_decrement_nesting() >= nesting:
            torch.clear_autocast_cache()


class OutOfMemory(RuntimeError):
    """A batch does not fit on the GPU; the message has its size, the memory, and what to change."""


@contextlib.contextmanager
def enough_memory(batch_size, device):
    """Turn torch's word of a full GPU into an `OutOfMemory` that says what to do.

    Parameters
    ----------
    batch_size : int
    device : torch.device
    """
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        free, total = torch.cuda.mem_get_info(device) if device.type == "cuda" else (0, 0)
        raise OutOfMemory(f"a batch of {batch_size} does not fit on the GPU: {free / 2**30:.1f} of {total / 2**30:.1f} "
                          "GiB are free. Stop what else uses it (such as other notebooks), or give a smaller "
                          "batch_size or width") from error

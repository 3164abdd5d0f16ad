import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile as sf
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from freesound_tagging.images.excerpts import (
    AHEAD,
    HostPixels,
    gather,
    images_of,
    pixels_on,
    to_images,
    window_starts,
    windows_of,
)
from freesound_tagging.images.mel import MelConfig
from freesound_tagging.images.store import SpectrogramStore


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Two stores of images of 8 mel bands: of three short sounds and of two."""
    folder, config = tmp_path_factory.mktemp("stores"), MelConfig(n_mels=8, excerpt_frames=16)
    rng, built = np.random.default_rng(0), []
    for name, lengths in (("a", (90_000, 150_000, 120_000)), ("b", (100_000, 130_000))):
        paths = [folder / f"{name}{i}.wav" for i in range(len(lengths))]
        for path, samples in zip(paths, lengths):
            sf.write(path, 0.1 * rng.standard_normal(samples), 44_100)
        built.append(SpectrogramStore.build(paths, folder / name, config, n_jobs=1, progress=False))
    return built


@pytest.fixture(scope="module")
def joined(stores):
    """All frames of both stores, as numbers to cut from by hand."""
    return np.concatenate([np.array(store.pixels) for store in stores])


@pytest.mark.parametrize(("n_frames", "starts"), [
    (128, [0]),
    (129, [0, 1]),
    (176, [0, 48]),
    (177, [0, 24, 49]),  # round(24.5) is 24
    (1000, [0, 46, 92, 138, 184, 230, 276, 322, 367, 413, 459, 505, 551, 597, 642, 688, 734, 780, 826, 872]),
])
def test_window_starts_are_the_specified_ones(n_frames, starts):
    if n_frames == 1000:  # s = ceil(872 / 48) + 1 = 20
        starts = [round(872 * k / 19) for k in range(20)]
    assert window_starts(n_frames).tolist() == starts
    assert window_starts(n_frames).dtype == np.int64


@given(st.integers(128, 5000), st.integers(1, 200))
def test_windows_cover_the_clip_from_its_start_to_its_end(n_frames, hop):
    starts = window_starts(n_frames, 128, hop)
    assert starts[0] == 0
    assert starts[-1] == n_frames - 128
    assert (np.diff(starts) <= hop).all()
    assert (np.diff(starts) > 0).all()


@pytest.mark.parametrize("window", [1, 24, 47, 48, 49, 64])
def test_windows_of_any_length_leave_nothing_out(window):
    """By hand of 24 frames: as far apart as they are long."""
    for n_frames in range(window, 400, 7):
        starts = window_starts(n_frames, window)
        assert (np.diff(starts) <= min(48, window)).all() and starts[-1] == n_frames - window
    assert window_starts(72, 24).tolist() == [0, 24, 48]
    assert windows_of([10], [50], 24)[0].tolist() == [10, 23, 36]
    mel = MelConfig(excerpt_frames=window)
    assert mel.hop_seconds == min(48, window) * 694 / 44_100


def test_a_clip_shorter_than_a_window_is_refused():
    with pytest.raises(ValueError, match="127 frames is shorter"):
        window_starts(127)


def test_windows_of_many_clips_by_hand():
    """Clips of 6, 10 and 4 frames that begin at frames 0, 6 and 16; windows of 4 frames, at most 3 apart."""
    first, clip = windows_of([0, 6, 16], [6, 10, 4], window=4, hop=3)
    assert first.tolist() == [0, 2, 6, 9, 12, 16]
    assert clip.tolist() == [0, 0, 1, 1, 1, 2]
    first, clip = windows_of([], [])
    assert len(first) == len(clip) == 0 and first.dtype == clip.dtype == np.int64
    assert windows_of([5], [128 + 48])[0].tolist() == [5, 53], "windows of 128 frames, 48 apart"


def test_excerpts_as_images_by_hand():
    images = to_images(torch.tensor([[[0, 51], [102, 153], [204, 255]]], dtype=torch.uint8))  # 3 frames of 2 bands
    torch.testing.assert_close(images, torch.tensor([[[[0, 0.4, 0.8], [0.2, 0.6, 1]]]]))
    assert images.dtype == torch.float32


def test_on_a_cpu_one_store_is_its_memory_map_and_several_stay_where_they_are(stores, joined):
    alone = pixels_on("cpu", stores[0])
    assert np.shares_memory(alone.numpy(), stores[0].pixels)
    assert isinstance(pixels_on("cpu", *stores), HostPixels)
    assert isinstance(pixels_on("cpu", stores[0], stream=True), HostPixels)
    copied = pixels_on("cpu", *stores, stream=False)
    assert copied.dtype == torch.uint8
    np.testing.assert_array_equal(copied.numpy(), joined)


def test_images_that_were_made_otherwise_are_not_joined(stores, tmp_path):
    sf.write(tmp_path / "c.wav", np.ones(90_000), 44_100)
    config = MelConfig(n_mels=8, excerpt_frames=16, hop_length=500)
    other = SpectrogramStore.build([tmp_path / "c.wav"], tmp_path, config, n_jobs=1, progress=False)
    with pytest.raises(ValueError, match=r"hop_length=500.*hop_length=694.*; build the stores with the same settings"):
        pixels_on("cpu", stores[0], other)


def test_pixels_that_cannot_be_written_are_taken_without_a_word(stores):
    """As those are that come through Ray's memory; torch would warn of them, and a warning is an error here."""
    pixels = np.array(stores[0].pixels)
    pixels.flags.writeable = False
    np.testing.assert_array_equal(pixels_on("cpu", SimpleNamespace(pixels=pixels)).numpy(), pixels)
    assert pixels_on("meta", stores[0]).shape == pixels.shape


@pytest.mark.parametrize("stream", [False, True])
def test_excerpts_are_the_frames_from_the_first_on_in_whichever_store(stores, joined, stream):
    pixels, length, end = pixels_on("cpu", *stores, stream=stream), len(stores[0].pixels), len(joined)
    first = [0, 7, length - 16, length, length + 3, end - 16]  # the last of a store, the first of the next
    cut = gather(pixels, torch.tensor(first), 16)
    assert cut.dtype == torch.uint8 and cut.device.type == "cpu" and not cut.is_pinned()
    np.testing.assert_array_equal(cut.numpy(), [joined[start:start + 16] for start in first])
    alone = gather(pixels_on("cpu", stores[0], stream=stream), torch.tensor([5]), 3)
    np.testing.assert_array_equal(alone.numpy(), [joined[5:8]])


@pytest.mark.parametrize("stream", [False, True])
def test_batches_of_excerpts_come_one_by_one_in_their_order(stores, joined, stream):
    pixels = pixels_on("cpu", *stores, stream=stream)
    first = torch.arange(0, len(stores[0].pixels) - 16, 9)
    batches = list(images_of(pixels, first.split(7), 16))
    assert [len(images) for images in batches] == [len(part) for part in first.split(7)]
    np.testing.assert_allclose(torch.cat(batches)[:, 0], [joined[i:i + 16].T / 255 for i in first], atol=1e-7)
    assert list(images_of(pixels, [], 16)) == []


class Watched(HostPixels):
    """Pixels that remember what was cut, and by which thread."""

    def __init__(self, stores, device):
        super().__init__(stores, torch.device(device))
        self.seen = []

    def cut(self, first, frames):
        self.seen.append((threading.current_thread(), super().cut(first, frames)))
        return self.seen[-1][1]


FIRST = [np.array([i, i + 1]) for i in range(6)]


def test_for_a_device_excerpts_are_cut_ahead_by_another_thread_and_come_in_order(stores, joined):
    """To `meta`, which is no CPU and keeps of a tensor its shape; what was cut is looked at on its way there."""
    pixels = Watched(stores, "meta")
    batches = pixels.ahead(FIRST, 16)
    assert next(batches).shape == (2, 16, 8)
    waited_until = time.monotonic() + 10
    while len(pixels.seen) < AHEAD and time.monotonic() < waited_until:
        time.sleep(0.01)
    assert len(pixels.seen) == AHEAD, "the one that came, and those that are to come next"
    assert [images.device.type for images in batches] == ["meta"] * 5
    assert {thread for thread, _ in pixels.seen}.isdisjoint({threading.current_thread()})
    for i, (_, excerpts) in enumerate(pixels.seen):
        np.testing.assert_array_equal(excerpts.numpy(), [joined[i:i + 16], joined[i + 1:i + 17]])


class Sent(TorchDispatchMode):
    """Remembers of each copy to a device whether it is waited for."""

    def __init__(self):
        super().__init__()
        self.waits = []

    def __torch_dispatch__(self, function, types, arguments=(), settings=None):
        if function is torch.ops.aten._to_copy.default:
            self.waits.append(not settings.get("non_blocking"))
        return function(*arguments, **settings or {})


def test_excerpts_are_sent_without_a_wait(stores):
    with Sent() as sent:
        list(HostPixels(stores, torch.device("meta")).ahead(FIRST, 16))
    assert sent.waits == [False] * 6


def test_what_is_sent_to_a_gpu_is_cut_into_pinned_memory(stores):
    """Which torch refuses without a driver."""
    pixels = HostPixels(stores, torch.device("cuda"))
    if torch.cuda.is_available():
        assert pixels.cut(FIRST[0], 16).is_pinned()
    else:
        with pytest.raises(RuntimeError):
            pixels.cut(FIRST[0], 16)


def test_whatever_a_programs_default_device_is_the_host_cuts(stores, joined):
    with torch.device("meta"):
        cut = HostPixels(stores, torch.device("cpu")).cut(FIRST[0], 16)
    np.testing.assert_array_equal(cut.numpy(), [joined[:16], joined[1:17]])


def test_on_a_cpu_no_thread_cuts_ahead(stores):
    pixels = Watched(stores, "cpu")
    next(pixels.ahead(FIRST, 16))
    assert [thread for thread, _ in pixels.seen] == [threading.current_thread()]


def test_excerpts_are_cut_on_the_device_or_sent_to_it(stores):
    first = torch.tensor([0, 3])
    assert gather(pixels_on("meta", *stores), first.to("meta"), 16).device.type == "meta"
    assert gather(HostPixels(stores, torch.device("meta")), first, 16).device.type == "meta"


def test_what_takes_more_than_half_of_a_gpus_free_memory_stays_on_the_host(stores, monkeypatch):
    """On a GPU that is not there: torch's fake tensors, and the driver's word on its memory said by hand."""
    taken = sum(store.pixels.nbytes for store in stores)
    for free, stays in ((2 * taken, False), (2 * taken - 1, True)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: ({"cuda": free}[device.type], 0))
        with FakeTensorMode(allow_non_fake_inputs=True):
            pixels = pixels_on("cuda", *stores)
        assert isinstance(pixels, HostPixels) == stays
        assert pixels.device.type == "cuda"
        assert stays or pixels.shape == (sum(len(store.pixels) for store in stores), 8)

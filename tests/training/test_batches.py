"""Which frames a batch's excerpts are, on clips whose pixels count their frames."""

import numpy as np
import pytest
import torch

from freesound_tagging.training.batches import MiddleExcerpts, RandomExcerpts
from freesound_tagging.training.pool import ClipPool

FRAMES = 4
LENGTHS = (4, 9, 6, 8)  # frames of four clips


@pytest.fixture
def counted():
    """A pool whose pixels are, of two mel bands, the clip and the frame within it."""
    pixels = [(clip, frame) for clip, length in enumerate(LENGTHS) for frame in range(length)]
    return ClipPool(torch.tensor(pixels, dtype=torch.uint8), torch.tensor([0, 4, 13, 19]), torch.tensor(LENGTHS),
                    torch.eye(4), FRAMES, list("abcd"))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def read(batch):
    """Of each sample of a batch its clip, and its excerpt's first frame."""
    images, targets = batch
    clips, frames = (255 * images[:, 0]).round().long().unbind(1)
    assert torch.equal(clips, targets.argmax(1)[:, None].expand(-1, FRAMES)), "the targets of the clip itself"
    assert (frames.diff(dim=1) == 1).all(), "frames that follow each other"
    return list(zip(clips[:, 0].tolist(), frames[:, 0].tolist()))


def test_a_random_excerpt_begins_at_every_place_from_the_first_to_the_last_alike(counted):
    batches = RandomExcerpts(counted, np.arange(4), 400, 30, generator())
    drawn = [sample for batch in batches for sample in read(batch)]
    for clip, length in enumerate(LENGTHS):  # 3,000 draws of each
        places = np.bincount([first for of, first in drawn if of == clip], minlength=length - FRAMES + 1)
        assert len(places) == length - FRAMES + 1
        np.testing.assert_allclose(places / 3000, 1 / len(places), atol=0.04)


def test_a_middle_excerpt_has_as_many_frames_before_as_behind_or_one_fewer(counted):
    batches = list(MiddleExcerpts(counted, [3, 0, 1, 2], 3))
    assert [len(targets) for _, targets in batches] == [3, 1]
    assert [sample for batch in batches for sample in read(batch)] == [(3, 2), (0, 0), (1, 2), (2, 1)]


def test_epochs_are_what_torch_draws_in_one_order_of_the_clips_after_another(counted):
    """Of clips 1, 3 and 0: 4 samples an epoch, by hand from the same generator."""
    clips = np.array([1, 3, 0])
    batches, drawn, queue = RandomExcerpts(counted, clips, 2, 2, generator()), generator(), []
    assert len(batches) == 2
    for _ in range(5):
        while len(queue) < 4:
            queue += clips[torch.randperm(3, generator=drawn)].tolist()
        places = torch.rand(4, generator=drawn, dtype=torch.float64).tolist()
        expected = [(clip, int(place * (LENGTHS[clip] - FRAMES + 1))) for clip, place in zip(queue, places)]
        found = [read(batch) for batch in batches]
        assert found == [expected[:2], expected[2:]]
        assert [batches.fnames(step) for step in range(2)] == [
            ["abcd"[clip] for clip, _ in batch] for batch in (expected[:2], expected[2:])]
        queue = queue[4:]


def test_batches_are_full_of_as_few_clips_as_there_are(counted):
    first, second = RandomExcerpts(counted, [2], 3, 2, generator())
    assert [clip for clip, _ in read(first) + read(second)] == [2] * 6
    with pytest.raises(ValueError, match="no clips to train on: expected at least one"):
        RandomExcerpts(counted, [], 3, 2, generator())


def test_256_clips_are_validated_on_at_a_time_and_none_is_no_batch(counted):
    batches = MiddleExcerpts(counted, np.zeros(300, int))
    assert [len(targets) for _, targets in batches] == [256, 44] and len(batches) == 2
    assert list(MiddleExcerpts(counted, [])) == [] and len(MiddleExcerpts(counted, [])) == 0


def test_batches_stay_where_they_are_cut(counted):
    for batches in (RandomExcerpts(counted, [0], 1, 1, generator()), MiddleExcerpts(counted, [0])):
        assert batches.device == torch.device("cpu")
        assert batches.to("cpu") is None and batches.new(1, more=2) is batches
        with pytest.raises(ValueError, match="batches on cpu cannot be had on meta; build the ClipPool there"):
            batches.to("meta")


def test_where_there_are_no_numbers_batches_are_drawn_on_that_device(counted):
    """Clips, order and places are all on the device of the pixels; the generator is that device's own."""
    on_meta = ClipPool(*(tensor.to("meta") for tensor in (counted.pixels, counted.starts, counted.lengths,
                                                          counted.targets)), FRAMES, counted.fnames)
    batches = RandomExcerpts(on_meta, [0, 1], 1, 2, None)
    assert {tensor.device.type for batch in batches for tensor in (*batch, batches.clips, batches.queue)} == {"meta"}
    middle = MiddleExcerpts(on_meta, [0, 1])
    assert {tensor.device.type for batch in middle for tensor in (*batch, *middle.batches)} == {"meta"}
    assert batches.device.type == "meta"


def test_a_programs_default_device_changes_nothing(counted):
    expected = [read(batch) for batch in RandomExcerpts(counted, [1, 3, 0], 2, 2, generator())]
    with torch.device("meta"):
        assert [read(batch) for batch in RandomExcerpts(counted, [1, 3, 0], 2, 2, generator())] == expected
        assert [read(batch) for batch in MiddleExcerpts(counted, [3, 1])] == [[(3, 2), (1, 2)]]

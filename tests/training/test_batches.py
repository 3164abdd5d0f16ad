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


def read(batch):
    """Of each sample of a batch its clip, and its excerpt's first frame."""
    images, targets = batch
    clips, frames = (255 * images[:, 0]).round().long().unbind(1)
    assert torch.equal(clips, targets.argmax(1)[:, None].expand(-1, FRAMES)), "the targets of the clip itself"
    assert (frames.diff(dim=1) == 1).all(), "frames that follow each other"
    return list(zip(clips[:, 0].tolist(), frames[:, 0].tolist()))


def test_a_random_excerpt_begins_at_every_place_from_the_first_to_the_last_alike(counted):
    batches = RandomExcerpts(counted, np.arange(4), 400, 30, torch.Generator().manual_seed(0))
    drawn = [sample for batch in batches for sample in read(batch)]
    for clip, length in enumerate(LENGTHS):  # 3,000 draws of each
        places = np.bincount([first for of, first in drawn if of == clip], minlength=length - FRAMES + 1)
        assert len(places) == length - FRAMES + 1
        np.testing.assert_allclose(places / 3000, 1 / len(places), atol=0.04)


def test_a_middle_excerpt_has_as_many_frames_before_as_behind_or_one_fewer(counted):
    batches = list(MiddleExcerpts(counted, [3, 0, 1, 2], 3))
    assert [len(targets) for _, targets in batches] == [3, 1]
    assert [sample for batch in batches for sample in read(batch)] == [(3, 2), (0, 0), (1, 2), (2, 1)]

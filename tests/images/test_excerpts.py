import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freesound_tagging.images.excerpts import window_starts


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


@given(st.integers(128, 5000), st.integers(1, 200))
def test_windows_cover_the_clip_from_its_start_to_its_end(n_frames, hop):
    starts = window_starts(n_frames, 128, hop)
    assert starts[0] == 0
    assert starts[-1] == n_frames - 128
    assert (np.diff(starts) <= hop).all()
    assert (np.diff(starts) > 0).all()


def test_a_clip_shorter_than_a_window_is_refused():
    with pytest.raises(ValueError, match="127 frames is shorter"):
        window_starts(127)

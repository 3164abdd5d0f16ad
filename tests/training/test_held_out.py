import numpy as np

from freesound_tagging.clips.clips import Clips
from freesound_tagging.training.held_out import deal_folds


def test_clips_of_one_recording_are_held_out_together_whatever_their_set(demo, training_store):
    clips = demo.clips()
    without, _ = deal_folds(clips, training_store, 3, seed=0)
    names = [f"recording {number % 20}" if number % 4 else "" for number in range(len(clips))]
    grouped = Clips(clips.table.assign(group=names), clips.vocabulary)
    folds, twins = deal_folds(grouped, training_store, 3, seed=0)
    assert twins == 0
    for name in set(names) - {""}:
        mine = np.array(names) == name
        assert len(set(clips.table["set"][mine])) == 2, "a recording has clips of both sets"
        assert len(set(folds[mine])) == 1
        assert len(set(without[mine])) > 1, "else it would be so by chance"
    assert set(folds) == {0, 1, 2}
    ungrouped = Clips(clips.table.assign(group=""), clips.vocabulary)
    assert np.array_equal(deal_folds(ungrouped, training_store, 3, seed=0)[0], without)

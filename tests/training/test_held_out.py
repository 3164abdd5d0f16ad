"""Which fold holds each clip out, of a few short sounds."""

import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile as sf

from freesound_tagging.clips.clips import Clips
from freesound_tagging.clips.folds import stratified_folds
from freesound_tagging.images.mel import MelConfig
from freesound_tagging.images.store import SpectrogramStore
from freesound_tagging.training.held_out import deal_folds

SMALL = MelConfig(sample_rate=8000, f_max=4000.0, n_fft=256, hop_length=100, n_mels=16, min_seconds=0.5,
                  excerpt_frames=32)
SETS, LABELS = ("curated", "noisy"), ("a", "b")
EACH = 8  # clips of each set


@pytest.fixture
def folder(tmp_path):
    """Eight sounds of each set, each of a length and a name of its own."""
    rng = np.random.default_rng(0)
    for number, name in enumerate(SETS):
        (tmp_path / name).mkdir()
        for clip in range(EACH):
            sf.write(tmp_path / name / f"{name}{clip}.wav", rng.standard_normal(2000 + 100 * clip + number) / 10, 8000)
    return tmp_path


def paths_of(folder):
    return [folder / name / f"{name}{clip}.wav" for name in SETS for clip in range(EACH)]


def deal(folder, n_folds=4, seed=1, test=(), **columns):
    """The folds of all sounds, which carry the two labels by turns."""
    table = pd.DataFrame({"path": paths_of(folder), "set": np.repeat(SETS, EACH),
                          "labels": [(LABELS[clip % 2],) for clip in range(2 * EACH)], **columns})
    clips = Clips(table, LABELS)
    store = SpectrogramStore.build(clips.paths, folder / "store", SMALL, n_jobs=1, progress=False)
    return deal_folds(clips, store, n_folds, seed, test)


def alone(n_folds=4, seed=1, groups=None):
    """Each set dealt by itself."""
    targets = np.eye(2)[np.arange(EACH) % 2]
    return [stratified_folds(targets, n_folds, seed, None if groups is None else groups[EACH * n:EACH * (n + 1)])
            for n in range(2)]


@pytest.mark.parametrize(("n_folds", "seed"), [(4, 1), (2, 7)])
def test_each_set_is_dealt_by_itself(folder, n_folds, seed):
    folds, twins = deal(folder, n_folds, seed)
    np.testing.assert_array_equal(folds, np.concatenate(alone(n_folds, seed)))
    assert folds.dtype == np.int64 and twins == 0
    assert (np.concatenate(alone(n_folds, seed)) != np.concatenate(alone(n_folds, seed + 1))).any()


def test_sounds_of_the_same_bytes_are_held_out_by_the_fold_of_the_first_and_named(folder):
    shutil.copy(folder / "curated/curated2.wav", folder / "noisy/noisy5.wav")
    shutil.copy(folder / "curated/curated2.wav", folder / "noisy/noisy6.wav")
    shutil.copy(folder / "curated/curated3.wav", folder / "curated/curated4.wav")
    curated, noisy = alone()
    assert curated[2] != noisy[5] and curated[3] != curated[4], "else it would be so by chance"
    said = ("2 clips are there more than once.*: curated curated2.wav = noisy noisy5.wav = noisy noisy6.wav, curated "
            "curated3.wav = curated curated4.wav. Those to train on are held out by the same fold$")
    with pytest.warns(UserWarning, match=said):
        folds, twins = deal(folder)
    noisy[[5, 6]], curated[4] = curated[2], curated[3]
    np.testing.assert_array_equal(folds, np.concatenate([curated, noisy]))
    assert twins == 2


def test_files_that_are_no_sounds_are_not_the_same_sound(folder):
    for clip in (1, 2):
        (folder / f"noisy/noisy{clip}.wav").write_text("no sound")
    with pytest.warns(UserWarning, match="2 of 16 clips cannot be read"):
        folds, twins = deal(folder)
    np.testing.assert_array_equal(folds, np.concatenate(alone()))
    assert twins == 0


def test_of_a_test_clip_that_is_trained_on_it_is_said_what_its_score_is_worth(folder):
    for clip, name in ((3, "other.wav"), (0, "longer.wav")):
        shutil.copy(folder / f"noisy/noisy{clip}.wav", folder / name)
    with (folder / "longer.wav").open("ab") as file:
        file.write(bytes(2))
    sf.write(folder / "curated5.wav", np.zeros(10), 8000)
    tests = [folder / "missing.wav", folder, folder / "longer.wav", folder / "other.wav", folder / "curated5.wav"]
    said = ("2 clips are there more than once.*: curated curated5.wav = test curated5.wav, noisy noisy3.wav = test "
            "other.wav. Those to train on are held out by the same fold; a score on test clips that are trained on "
            "says nothing: delete them from one of the tables$")
    with pytest.warns(UserWarning, match=said):
        folds, twins = deal(folder, test=tests)
    np.testing.assert_array_equal(folds, np.concatenate(alone()))
    assert twins == 0, "none that is trained on twice"


def test_test_clips_that_are_the_same_as_each_other_are_named_without_that(folder):
    for name in ("one.wav", "two.wav"):
        shutil.copy(folder / "noisy/noisy0.wav", folder / name)
    sf.write(folder / "noisy/noisy0.wav", np.ones(2001) / 3, 8000)  # of the size that it had
    with pytest.warns(UserWarning, match=r"test one\.wav = test two\.wav\. Those.* held out by the same fold$"):
        folds, twins = deal(folder, test=[folder / "one.wav", folder / "two.wav"])
    np.testing.assert_array_equal(folds, np.concatenate(alone()))
    assert twins == 0


def test_clips_of_one_recording_are_held_out_together_in_either_set_and_in_both(folder):
    groups = ["x", "x", None, "v", "y", "y", "y", "z", "z", "w", "w", "", None, "v", "u", "z"]
    alone = {number for number, name in enumerate(groups) if groups.count(name) == 1 or not name}
    seen = set()
    for seed in range(6):
        folds, twins = deal(folder, 3, seed, group=groups)
        assert twins == 0
        for name in "xyzwv":
            assert len(set(folds[np.array(groups) == name])) == 1
        assert set(folds[:EACH]) == {0, 1, 2}, "four recordings and a clip alone, dealt to three folds"
        seen |= {(one, other) for one in alone for other in range(2 * EACH) if folds[one] != folds[other]}
    assert len(seen) == len(alone) * (2 * EACH - 1), "no others have to be together"


def test_more_folds_than_recordings_are_refused_by_set(folder):
    groups = [f"r{clip}" for clip in range(EACH)]
    with pytest.raises(ValueError, match=r"^n_folds=9: expected at most 8, the number of curated clips$"):
        deal(folder, 9)
    with pytest.raises(ValueError, match=r"^n_folds=3: expected at most 2, the number of recordings that the 8 noisy "
                                          "clips are of, each of which is held out whole$"):
        deal(folder, 3, group=groups + ["n1"] * 6 + ["n2"] * 2)
    with pytest.raises(ValueError, match=r"^n_folds=2: expected at most 1, .*; there have to be two or more$"):
        deal(folder, 2, group=["one"] * EACH + groups)


def test_recordings_may_be_called_by_numbers_of_which_0_is_one(folder):
    folds, _ = deal(folder, group=np.arange(2 * EACH) % EACH // 2)
    for recording in range(EACH // 2):
        assert len(set(folds[np.arange(2 * EACH) % EACH // 2 == recording])) == 1
    assert set(folds) == {0, 1, 2, 3}


def test_the_recordings_of_clips_that_are_the_same_are_held_out_together(folder):
    """And with them all that is linked to one of them: a chain over two recordings."""
    shutil.copy(folder / "curated/curated1.wav", folder / "noisy/noisy2.wav")
    groups = ["x", "x", *[""] * 6, "", "y", "y", "y", *[""] * 4]
    with pytest.warns(UserWarning, match="curated1.wav = noisy noisy2.wav"):
        folds, twins = deal(folder, group=groups)
    assert twins == 1
    linked = [0, 1, EACH + 1, EACH + 2, EACH + 3]
    assert len(set(folds[linked])) == 1
    assert len(set(np.delete(folds, linked))) == 4


@pytest.mark.parametrize("groups", [None, ""])
def test_a_table_that_names_no_recording_is_dealt_as_one_without_the_column(folder, groups):
    np.testing.assert_array_equal(deal(folder, group=groups)[0], np.concatenate(alone()))

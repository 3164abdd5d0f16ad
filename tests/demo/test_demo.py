import hashlib

import numpy as np
import pandas as pd
import pytest
import soundfile as sf

from freesound_tagging.clips.dataset import FSDKaggle2019
from freesound_tagging.clips.tables import label_matrix, read_table
from freesound_tagging.demo.__main__ import main
from freesound_tagging.demo.data import write_demo
from freesound_tagging.demo.sounds import SOUNDS


def fingerprint(root):
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in root.rglob("*") if path.is_file()}


def test_it_has_the_competitions_layout(demo):
    assert demo.layout == "Kaggle"
    assert len(demo.vocabulary) == len(SOUNDS) >= 12
    assert (len(demo.curated), len(demo.noisy), len(demo.test)) == (36, 72, 36)
    assert set(demo.test["usage"]) == {"Public", "Private"}


def test_its_labels_are_of_the_real_vocabulary(shared):
    assert set(SOUNDS) <= set((shared / "reference/vocabulary.txt").read_text().split())


def test_its_audio_is_pcm_16_bit_mono_at_44100_of_0_3_to_15_seconds(demo):
    seconds = []
    for path in [*demo.curated["path"], *demo.noisy["path"], *demo.test["path"]]:
        info = sf.info(path)
        assert (info.samplerate, info.channels, info.subtype, info.format) == (44_100, 1, "PCM_16", "WAV")
        seconds.append(info.duration)
    assert min(seconds) >= 0.29
    assert max(seconds) <= 15
    assert np.std(seconds) > 1


def test_same_seed_same_bytes(tmp_path):
    size = {"curated": 1, "noisy": 1, "test": 1}
    one, two, other = (fingerprint(write_demo(tmp_path / name, seed=seed, **size))
                       for name, seed in (("a", 5), ("b", 5), ("c", 6)))
    assert one == two
    assert sum(one[name] == other.get(name) for name in one if name.endswith(".wav")) == 0


def test_the_test_set_is_the_same_however_large_the_others(tmp_path):
    small, large = (fingerprint(write_demo(tmp_path / str(n), curated=1, noisy=n, test=1)) for n in (1, 2))
    assert {k: v for k, v in small.items() if k.startswith("test/")} == {
        k: v for k, v in large.items() if k.startswith("test/")}


def test_forty_percent_of_the_noisy_labels_are_wrong_and_some_clips_have_two(demo):
    true = label_matrix(read_table(demo.root / "truth/train_noisy.csv", ["fname", "labels"]), demo.vocabulary)
    given = demo.targets(demo.noisy)
    wrong = (given * true).sum(1) == 0
    assert wrong.mean() == pytest.approx(0.4, abs=0.01)
    np.testing.assert_array_equal(demo.rightly_labelled(), ~wrong)
    np.testing.assert_array_equal(given[~wrong], true[~wrong])
    assert 0.05 < (true.sum(1) == 2).mean() < 0.4


def test_a_data_set_is_never_overwritten(demo):
    with pytest.raises(FileExistsError, match="is not empty"):
        write_demo(demo.root)


def test_a_link_to_an_empty_folder_will_do_and_the_folder_that_one_is_in_will_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("freesound_tagging.demo.data.SOUNDS", {"Bark": lambda rng, seconds: np.ones(44_100)})
    monkeypatch.setattr("freesound_tagging.demo.data.TWO_LABELS", 0)
    monkeypatch.setattr("freesound_tagging.demo.data.WRONG_LABELS", 0)
    with pytest.raises(ValueError, match=r"\. is the folder that you are in; give the name of one to make"):
        write_demo(".", curated=1, noisy=1, test=1)
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    write_demo("link", curated=1, noisy=1, test=1)
    assert len(FSDKaggle2019("empty").test) == 1


def test_the_command_writes_it(tmp_path, capsys):
    main([str(tmp_path / "input"), "--curated", "1", "--noisy", "1", "--test", "1"])
    assert "demo data in" in capsys.readouterr().out
    assert len(FSDKaggle2019(tmp_path / "input").test) == len(SOUNDS)
    assert list(pd.read_csv(tmp_path / "input/sample_submission.csv").columns) == ["fname", *sorted(SOUNDS)]

"""Recordings from their labels to a model: what is held out, what background is to a training, both ways back."""

import numpy as np
import pytest
import soundfile as sf

from freesound_tagging.clips.clips import Clips
from freesound_tagging.clips.dataset import FSDKaggle2019
from freesound_tagging.clips.prepare import Options, prepare
from freesound_tagging.images.mel import MelConfig
from freesound_tagging.images.store import SpectrogramStore
from freesound_tagging.lwlrap import lwlrap
from freesound_tagging.training.profile import Profile
from freesound_tagging.training.stages import StageConfig
from freesound_tagging.training.warmup import WarmupPipeline

RATE = 8000
SMALL = MelConfig(sample_rate=RATE, f_max=4000, n_fft=512, hop_length=126, n_mels=32, excerpt_frames=64,
                  min_seconds=1.1)
ONE = Profile(3, (StageConfig(1, ("curated",), 1, 3e-3, least_steps=1),), options={"width": 2}, batch_size=16,
              mel=SMALL)


def tones(root):
    """Fifteen recordings of six clips: each has a tone of its own, and a label that no sound in it says."""
    rng, second = np.random.default_rng(0), np.arange(RATE) / RATE
    for number in range(15):
        for clip in range(6):
            path = root / f"label {number % 3}/rec{number:02d}_take{clip}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            tone = 0.3 * np.sin(2 * np.pi * 500 * 1.14 ** number * second)
            sf.write(path, tone + 0.01 * rng.standard_normal(RATE), RATE)


def score_of_neighbours(data, folder):
    """lwlrap of each clip's nearest image among those that its fold trains on: a network's that learns by heart."""
    clips = data.clips("curated")
    store = SpectrogramStore.build(clips.paths, folder / "store", SMALL, n_jobs=1, progress=False)
    run = WarmupPipeline(clips, store, ONE, folder / "work", folder / "weights", device="cpu", progress=False,
                         executor="in-process")
    images = np.stack([store[clip].mean(1, dtype=float) for clip in range(len(store))])
    scores = np.zeros(run.targets.shape)
    for fold in range(3):
        train, held = run.training_clips(1, fold), np.flatnonzero(run.folds == fold)
        nearest = train[((images[held, None] - images[None, train]) ** 2).sum(2).argmin(1)]
        scores[held] = run.targets[nearest]
    scores += 1e-3 * np.random.default_rng(1).random(scores.shape)  # of equals in a random order
    return lwlrap(run.targets, scores)


def test_a_score_is_of_recordings_that_were_never_heard(tmp_path):
    tones(tmp_path / "in")
    prepare(tmp_path / "in", tmp_path / "leaky", Options(group="none"), test=0)
    assert score_of_neighbours(FSDKaggle2019(tmp_path / "leaky"), tmp_path / "one") > 0.98, "the tone gives it away"
    prepare(tmp_path / "in", tmp_path / "fair", Options(recording=r"(rec\d+)_"), test=0)
    # Of three labels in any order: (1 + 1/2 + 1/3) / 3 = 0.61, or less where the nearest tone has another label.
    assert score_of_neighbours(FSDKaggle2019(tmp_path / "fair"), tmp_path / "two") < 0.7


@pytest.fixture(scope="module")
def nights(tmp_path_factory):
    """Five recordings over noise: a high tone is "whistle", a low one "hum", each some times, with tracks of labels."""
    root, rng = tmp_path_factory.mktemp("nights"), np.random.default_rng(3)
    for number in range(5):
        signal, rows, place = 0.003 * rng.standard_normal(40 * RATE), [], 2.0
        for event in range(6):
            length = rng.uniform(0.8, 1.6)
            first, last = round(place * RATE), round((place + length) * RATE)
            pitch = 2000 if event % 2 else 300
            signal[first:last] += 0.3 * np.sin(2 * np.pi * pitch * np.arange(last - first) / RATE)
            rows.append((place, place + length, "whistle" if event % 2 else "hum"))
            place += length + rng.uniform(3.5, 5)
        sf.write(root / f"night{number}.flac", signal, RATE)
        (root / f"night{number}.txt").write_text("".join(f"{a:.6f}\t{b:.6f}\t{label}\n" for a, b, label in rows))
    return root


def run_on(data, folder, profile=ONE, **settings):
    clips = data.clips("curated")
    store = SpectrogramStore.build(clips.paths, folder / "store", profile.mel, n_jobs=1, progress=False,
                                   spans=clips.spans)
    return WarmupPipeline(clips, store, profile, folder / "work", folder / "weights", device="cpu", progress=False,
                          executor="in-process", **settings)


def test_background_is_trained_on_with_no_label_held_out_and_not_counted(nights, tmp_path):
    prepare(nights, tmp_path / "made", test=0)
    run = run_on(FSDKaggle2019(tmp_path / "made"), tmp_path)
    quiet = run.clips.table["background"].to_numpy()
    assert quiet.sum() >= 10 and (~quiet).sum() == 30
    assert not run.targets[quiet].any() and (run.targets[~quiet].sum(1) == 1).all()
    groups = run.clips.table["group"].to_numpy()
    for fold in range(3):
        trained = run.training_clips(1, fold)
        assert quiet[trained].any() and quiet[run.folds == fold].any()
        assert not set(groups[trained]) & set(groups[run.folds == fold])
    table = run.run()
    predictions = run.out_of_fold(1)
    assert table["lwlrap curated"].iloc[0] == pytest.approx(lwlrap(run.targets[~quiet], predictions[~quiet]), abs=1e-12)


def test_background_among_the_noisy_clips_is_never_selected(demo, training_store, make_pipeline, tmp_path):
    clips = demo.clips()
    table = clips.table.copy()
    last = np.flatnonzero(clips.is_of("noisy"))[-3:]
    for row in last:
        table.at[row, "labels"] = ()
    run = make_pipeline(tmp_path, clips=Clips(table, clips.vocabulary))
    run.run()
    assert not run.selected(3)[last].any() and not run.selected(4)[last].any()
    assert np.isin(last, run.trained_on(1).nonzero()[0]).all()


def test_a_run_tells_stretches_of_other_times_apart(nights, tmp_path):
    prepare(nights, tmp_path / "made", test=0)
    data = FSDKaggle2019(tmp_path / "made")
    run_on(data, tmp_path)
    data.curated.loc[0, "end"] += 0.5
    with pytest.raises(ValueError, match="clips and labels"):
        run_on(data, tmp_path)
    clips = data.clips("curated")
    files = list(dict.fromkeys(clips.paths))
    whole = SpectrogramStore.build(files, tmp_path / "whole", SMALL, progress=False, n_jobs=1)
    with pytest.raises(ValueError, match="of these"):
        WarmupPipeline(clips, whole, ONE, tmp_path / "w", tmp_path / "v", device="cpu")
    uncut = SpectrogramStore.build(clips.paths, tmp_path / "uncut", SMALL, progress=False, n_jobs=1)
    with pytest.raises(ValueError, match="has not been cut at the clips' times"):
        WarmupPipeline(clips, uncut, ONE, tmp_path / "w", tmp_path / "v", device="cpu")

"""A run whose folds are trained by hand, in no time: who is trained on, held out, validated, selected and scored."""

import hashlib
import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import torch
from sklearn.metrics import label_ranking_average_precision_score

from freesound_tagging.augment import mixup
from freesound_tagging.clips.clips import Clips
from freesound_tagging.images.mel import MelConfig
from freesound_tagging.images.store import SpectrogramStore
from freesound_tagging.machine.executors import InProcess
from freesound_tagging.networks.tagger import Tagger
from freesound_tagging.training.batches import MiddleExcerpts, RandomExcerpts
from freesound_tagging.training.fold import train_fold
from freesound_tagging.training.held_out import deal_folds
from freesound_tagging.training.pool import ClipPool
from freesound_tagging.training.profile import Profile
from freesound_tagging.training.stages import StageConfig
from freesound_tagging.training.warmup import WarmupPipeline, run_together

SMALL = MelConfig(sample_rate=8000, f_max=4000.0, n_fft=256, hop_length=100, n_mels=16, min_seconds=0.5,
                  excerpt_frames=32)
LABELS, NOISY, CURATED, FOLDS = ("a", "b", "c"), 14, 9, 3
UNREADABLE = (4, NOISY + 2)  # a noisy clip, and a curated one
STAGES = (
    StageConfig(1, ("noisy",), 3, 0.02, least_steps=1, votes=False),
    StageConfig(2, ("curated",), 5, 0.01, starts_from=1, least_steps=1),
    StageConfig(3, ("curated",), 2, 0.01, starts_from=2, least_steps=60, selects_from="noisy", scored_by=(1, 2),
                threshold=0.5, cap=1),
    StageConfig(4, ("curated",), 1, 0.0, starts_from=3, least_steps=1, selects_from="noisy", scored_by=(3,),
                threshold=1.0))


def clips_of(folder):
    """The noisy clips, then the curated ones, of one label or two."""
    names = [f"{name}{clip}.wav" for name, count in (("noisy", NOISY), ("curated", CURATED)) for clip in range(count)]
    labels = [(LABELS[clip % 3], *LABELS[:clip % 5 == 0 and clip % 3]) for clip in range(len(names))]
    return Clips(pd.DataFrame({"path": [folder / name for name in names], "labels": labels,
                               "set": ["noisy"] * NOISY + ["curated"] * CURATED}), LABELS)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Their files, of which two are no sounds, and the store of them."""
    folder, rng = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0)
    clips = clips_of(folder)
    for clip, path in enumerate(clips.paths):
        if clip in UNREADABLE:
            path.write_text(f"no sound {clip}")
        else:
            sf.write(path, rng.standard_normal(4000 + 50 * clip) / 10, 8000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return clips, SpectrogramStore.build(clips.paths, folder / "store", SMALL, n_jobs=1, progress=False)


@pytest.fixture
def make(sounds, tmp_path):
    def make(name="run", stages=STAGES, profile=None, **changes):
        profile = {"n_folds": FOLDS, "stages": stages, "options": {"width": 2}, "mel": SMALL} | (profile or {})
        settings = {"clips": sounds[0], "store": sounds[1], "profile": Profile(**profile),
                    "work": tmp_path / name / "work", "weights": tmp_path / name / "weights", "device": "cpu",
                    "progress": False, "executor": "in-process"}
        return WarmupPipeline(**settings | changes)
    return make


TARGETS = clips_of(Path()).targets.astype(bool)
RNG = np.random.default_rng(0)
# What the model of each stage predicts of all clips; that of stage 3 ranks the labels of most clips first.
PREDICTED = {stage: (RNG.random(TARGETS.shape) + (stage == 3) * TARGETS * (RNG.random((len(TARGETS), 1)) < 0.7)
                     ).astype(np.float32) for stage in (1, 2, 3, 4)}


def by_hand(training, clips, report):
    """In place of `train_fold`."""
    stage, fold = training.spec.stage, training.spec.fold
    return Tagger(training.spec), {"loss": np.arange(stage + fold), "lwlrap": np.array([fold / 10]),
                                   "held_out": PREDICTED[stage][np.concatenate(training.held_out)]}


@pytest.fixture
def finished(make):
    pipeline = make()
    run_together(pipeline, train=by_hand)
    return pipeline


def lwlraps(stage, clip):
    """scikit-learn's of one clip."""
    return label_ranking_average_precision_score(TARGETS[[clip]], PREDICTED[stage][[clip]])


def numbers(of, fold=None, pipeline=None, held_out=False):
    """Clips of a set that could be read; of those that a fold holds out, or does not."""
    return [clip for clip in of if clip not in UNREADABLE
            and (fold is None or (pipeline.folds[clip] == fold) == held_out)]


def chosen_by_hand(pipeline, stage):
    """Stage 3: the best by both models, one a fold and label, from 1/2 on. Stage 4: where model 3 is right."""
    if stage < 3:
        return []
    if stage == 4:
        return [clip for clip in numbers(OF["noisy"]) if lwlraps(3, clip) == 1]
    means = {clip: round((lwlraps(1, clip) * lwlraps(2, clip)) ** 0.5, 12) for clip in numbers(OF["noisy"])}
    taken, chosen = set(), []
    for clip in sorted(means, key=lambda clip: -means[clip]):
        its = {(pipeline.folds[clip], label) for label in np.flatnonzero(TARGETS[clip])}
        if means[clip] >= 0.5 and not its & taken:
            chosen.append(clip)
            taken |= its
    return sorted(chosen)


OF = {"noisy": range(NOISY), "curated": range(NOISY, NOISY + CURATED)}


def test_what_a_stage_selects_and_trains_on_is_what_is_worked_out_by_hand(finished):
    for stage, first in ((1, "noisy"), (2, "curated"), (3, "curated"), (4, "curated")):
        chosen = chosen_by_hand(finished, stage)
        if stage > 2:
            assert np.flatnonzero(finished.selected(stage)).tolist() == chosen != []
            finished.selected(stage)[:] = False
            assert np.flatnonzero(finished.selected(stage)).tolist() == chosen, "what is given may be changed"
        assert np.flatnonzero(finished.trained_on(stage)).tolist() == sorted([*chosen, *numbers(OF[first])])
        for fold in range(FOLDS):
            mine = sorted([*numbers(chosen, fold, finished), *numbers(OF[first], fold, finished)])
            training = finished.training(stage, fold)
            assert finished.training_clips(stage, fold).tolist() == training.trained.tolist() == mine
            assert training.validated.tolist() == numbers(OF[first], fold, finished, held_out=True)
            assert [part.tolist() for part in training.held_out] == [
                [clip for clip in OF[name] if finished.folds[clip] == fold] for name in ("noisy", "curated")]
    assert finished.known.tolist() == [clip not in UNREADABLE for clip in range(NOISY + CURATED)]


def test_a_fold_is_trained_as_its_stage_says(finished, sounds):
    pixels = np.array(sounds[1].pixels) / 255
    for config in STAGES:
        for fold in range(FOLDS):
            training, spec = finished.training(config.stage, fold), finished.training(config.stage, fold).spec
            assert (spec.network, spec.options, spec.vocabulary, spec.mel) == (
                "cnn-model-1", (("width", 2),), LABELS, SMALL)
            assert (spec.stage, spec.fold, spec.seed, spec.voting) == (config.stage, fold, 0, (2, 3, 4))
            assert spec.mean == pytest.approx((pixels.mean(),) * 3) and spec.std == pytest.approx((pixels.std(),) * 3)
            if config.stage == 1:
                assert training.start is None
            else:
                assert training.start.path == finished.weights / f"stage-{config.stage - 1}_fold-{fold}.safetensors"
                assert (training.start.spec.stage, training.start.spec.fold) == (config.stage - 1, fold)
            batches = -(-len(training.trained) // 4)
            assert (training.batch_size, training.epochs, training.steps) == (4, *(
                (2, 30) if config.stage == 3 else (1, {1: 3, 2: 5, 4: 1}[config.stage] * batches)))
            assert (training.lr, training.weight_decay, training.compiled) == (config.lr, 0.01, False)
            assert training.augmentation == finished.profile.augmentation and training.change is None
            assert training.seed == np.random.SeedSequence((0, config.stage, fold)).generate_state(1)[0]
            assert type(training.seed) is int and training.device == torch.device("cpu")
        steps = [finished.training(config.stage, fold) for fold in range(FOLDS)]
        assert finished.n_steps(config.stage) == [fold.epochs * fold.steps for fold in steps]


def change(learner):
    learner.add_cb(None)


def test_what_is_said_otherwise_reaches_each_fold(make):
    pipeline = make(profile={"weight_decay": 0.5, "batch_size": 3, "augmentation": [mixup]}, seed=np.int64(7),
                    change=change, device=torch.device("cpu"))
    training = pipeline.training(1, 2)
    assert (training.batch_size, training.weight_decay, training.augmentation) == (3, 0.5, (mixup,))
    assert training.spec.seed == 7 and training.change is change
    assert training.seed == np.random.SeedSequence((7, 1, 2)).generate_state(1)[0]
    assert repr(pipeline) == "cnn-model-1: 3 folds, 4 stages, batches of 3, on cpu, in this process"
    assert pipeline.seed == 7 and type(pipeline.seed) is int and pipeline.tensorboard is None
    with pytest.raises(TypeError):
        make(seed=1.5)


def test_the_batch_size_follows_from_the_stage_of_fewest_clips(make):
    """Of nine curated ones two thirds, 6, and of both sets 15: the largest power of two that they fill."""
    assert make().profile.batch_size == 4
    both = StageConfig(1, ("noisy", "curated"), 1, 0.01)
    assert make("other", (both,)).profile.batch_size == 8
    assert make("third", (both, StageConfig(2, ("noisy",), 1, 0.01)), {"n_folds": 2}).profile.batch_size == 4


def test_a_run_of_which_nothing_is_known_trains_in_the_order_of_what_it_builds_on(make):
    pipeline, order = make(), []

    def watch(training, *rest):
        order.append((training.spec.stage, training.spec.fold))
        assert training.spec.stage == 1 or pipeline.folder.is_finished(training.spec.stage - 1, training.spec.fold)
        return by_hand(training, *rest)
    everything = [(stage, fold) for stage in (1, 2, 3, 4) for fold in range(FOLDS)]
    assert pipeline.unfinished() == everything and pipeline.unfinished([3, 1]) == [*everything[6:9], *everything[:3]]
    assert pipeline.todo() == everything[:3] and pipeline.todo([2, 3]) == [] and pipeline.finished() == []
    pipeline.check_ready(1, 0)
    for stage, said in ((2, "fold 1 of stage 1 is not finished"), (3, "fold 0 of stage 1"), (4, "fold 0 of stage 3")):
        with pytest.raises(RuntimeError, match=said):
            pipeline.check_ready(stage, 1)
    with pytest.raises(RuntimeError, match=r"stage 1 is not finished: run_stage\(1\) first"):
        pipeline.run_stage(2)
    table, = run_together(pipeline, train=watch)
    assert order == everything
    assert pipeline.unfinished() == pipeline.todo() == [] and pipeline.finished() == [1, 2, 3, 4]
    (pipeline.work / "stage-2_fold-1.npz").unlink()
    assert pipeline.unfinished() == [(2, 1)] == pipeline.todo() and pipeline.finished() == [1, 3, 4]
    with pytest.raises(RuntimeError, match=r"fold 1 of stage 2 is not finished"):
        pipeline.out_of_fold(2)
    assert pipeline.table().equals(table.drop(["model 2", "ensemble"])), "of which model 2 is a member"


def test_the_table_is_scikit_learns_score_of_the_clips_that_could_be_read(finished):
    def score(predicted, of):
        clips = numbers(of)
        return label_ranking_average_precision_score(TARGETS[clips], predicted[clips],
                                                     sample_weight=TARGETS[clips].sum(1))
    models = {f"model {stage}": PREDICTED[stage] for stage in (1, 2, 3, 4)}
    models["ensemble"] = np.mean([PREDICTED[stage] for stage in (2, 3, 4)], 0)
    expected = pd.DataFrame({f"lwlrap {name}": [score(predicted, OF[name]) for predicted in models.values()]
                             for name in ("noisy", "curated")}, list(models))
    pd.testing.assert_frame_equal(finished.table(), expected)
    pd.testing.assert_frame_equal(finished.run(), expected)
    with pytest.raises(ValueError, match="hours=-1: expected a number, at least 0"):
        finished.run(hours=-1)


def test_the_columns_of_a_table_are_in_the_order_in_which_stages_use_the_sets(make, sounds):
    """And then those of sets that no stage uses."""
    pipeline = make(stages=(StageConfig(1, ("curated",), 1, 0.01),))
    table, = run_together(pipeline, train=by_hand)
    assert list(table) == ["lwlrap curated", "lwlrap noisy"] and list(table.index) == ["model 1"]


def test_what_was_kept_of_a_stage_is_what_its_folds_gave(finished):
    for stage in (1, 2, 3, 4):
        np.testing.assert_array_equal(finished.out_of_fold(stage), PREDICTED[stage])
        assert finished.out_of_fold(stage).dtype == np.float32
        for history in (finished.history(stage), finished.run_stage(stage)):
            assert [list(fold) for fold in history] == [["loss", "lwlrap"]] * FOLDS
            assert [fold["loss"].tolist() for fold in history] == [list(range(stage + fold)) for fold in range(FOLDS)]
            assert [fold["lwlrap"].tolist() for fold in history] == [[0], [0.1], [0.2]]


def test_a_card_is_written_once_all_is_finished(make):
    first, second = make(), make("other")
    tables = run_together(first, second, hours=0, train=by_hand)
    assert [len(table) for table in tables] == [0, 0] and not list(first.weights.glob("*.md"))
    tables = run_together(first, second, train=by_hand)
    assert [len(table) for table in tables] == [5, 5], "four models and the ensemble"
    for pipeline in (first, second):
        assert (pipeline.weights / "README.md").read_text().startswith("# cnn-model-1: 3 labels")


def test_a_run_says_what_it_is(make, sounds, tmp_path):
    pipeline = make(seed=5, change=change)
    said = json.loads((tmp_path / "run/work/run.json").read_text())
    folds, twins = deal_folds(*sounds, FOLDS, 5)
    np.testing.assert_array_equal(pipeline.folds, folds)
    assert twins == 0 and "held out together" not in said
    assert said["folds"] == hashlib.sha256(folds.astype("<i8").tobytes()).hexdigest()[:16]
    assert (said["seed"], said["vocabulary"], said["n_folds"], said["batch_size"]) == (5, list(LABELS), FOLDS, 4)
    assert said["clips and labels"] == pipeline.shared.identity and said["first weights"]
    assert said["change"][0] == "change()" and len(said["change"][1]) == 16
    make("other")
    other = json.loads((tmp_path / "other/work/run.json").read_text())
    assert "change" not in other and other["folds"] != said["folds"] and other["seed"] == 0


def test_targets_of_ones_own_are_trained_on_and_the_clips_own_are_scored(make, sounds, tmp_path):
    own = 1 - sounds[0].targets
    pipeline = make(trained_targets=own)
    np.testing.assert_array_equal(pipeline.shared.targets, own)
    np.testing.assert_array_equal(pipeline.targets, TARGETS)
    np.testing.assert_array_equal(make("other").shared.targets, TARGETS)
    assert pipeline.shared.identity != make("other").shared.identity
    for wrong, said in ((own[:-1], r"of shape \(22, 3\): expected \(clips, labels\), \(23, 3\)"),
                        (own * 2, r"expected numbers in \[0, 1\]"), (own * np.nan, r"expected numbers in \[0, 1\]")):
        with pytest.raises(ValueError, match=f"trained_targets.*{said}"):
            make("wrong", trained_targets=wrong)


def test_soft_targets_are_trained_on_and_validated_by_the_clips_own_labels(make):
    """Smoothed ones, and by a learning rate of nothing, where the lwlrap of an epoch is that of the first network."""
    smoothed = 0.9 * TARGETS + 0.05
    run = make(trained_targets=smoothed, stages=[StageConfig(1, ("curated",), 1, 0.0, least_steps=2)])
    plain = make("plain", stages=[StageConfig(1, ("curated",), 1, 0.0, least_steps=2)])
    (_, soft), (_, hard) = (train_fold(one.training(1, 0), one.shared, lambda *_: None) for one in (run, plain))
    assert soft["lwlrap"] == hard["lwlrap"] and soft["loss"] != hard["loss"]
    pool = ClipPool.of(run.store, smoothed, "cpu", truth=TARGETS)
    (_, trained), (_, validated) = (next(iter(batches)) for batches in (
        RandomExcerpts(pool, [3], 1, 1, torch.Generator()), MiddleExcerpts(pool, [3])))
    np.testing.assert_allclose(trained, smoothed[[3]])
    np.testing.assert_array_equal(validated, TARGETS[[3]])


def test_clips_of_one_file_are_held_out_together(sounds, tmp_path):
    """Of two sets, or twice in one; stretches without a group too."""
    clips, store = sounds
    usable = [clip for clip in range(len(clips)) if clip not in UNREADABLE]
    table = clips.table.iloc[usable * 2].reset_index(drop=True)
    for one in (table, table.assign(set=["noisy"] * len(usable) + ["more"] * len(usable))):
        twice = Clips(one, LABELS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            folds, _ = deal_folds(twice, store.take(usable * 2), FOLDS, 0)
        np.testing.assert_array_equal(folds[:len(usable)], folds[len(usable):])
        assert len(set(folds)) == FOLDS


def test_test_clips_and_clips_that_are_the_same_are_named_and_counted(sounds, make, tmp_path):
    shutil.copy(sounds[0].paths[1], tmp_path / "test.wav")
    with pytest.warns(UserWarning, match=r"noisy noisy1\.wav = test test\.wav"):
        make(test=[tmp_path / "test.wav"])
    assert "held out together" not in json.loads((tmp_path / "run/work/run.json").read_text())
    clips = clips_of(tmp_path)
    for own, path in zip(sounds[0].paths, clips.paths):
        shutil.copy(own if own.name != "noisy3.wav" else sounds[0].paths[-1], path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        store = SpectrogramStore.build(clips.paths, tmp_path / "store", SMALL, n_jobs=1, progress=False)
    with pytest.warns(UserWarning, match=r"noisy noisy3\.wav = curated curated8\.wav"):
        pipeline = make("twins", clips=clips, store=store)
    assert json.loads((tmp_path / "twins/work/run.json").read_text())["held out together"] == 1
    assert pipeline.folds[3] == pipeline.folds[-1]


def test_what_an_earlier_session_finished_is_taken_up(make, finished):
    pipeline = make("next", earlier=[(finished.work, finished.weights)])
    assert pipeline.finished() == [1, 2, 3, 4] and pipeline.work != finished.work
    pd.testing.assert_frame_equal(pipeline.table(), finished.table())


class On(InProcess):
    """An executor whose tasks get a device of some kind."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind

    def device(self):
        return self.kind


def test_folds_are_trained_on_the_device_of_the_executor(make):
    assert make("cpu", executor=On("cpu"), device=None).device == torch.device("cpu")
    cuda = make("cuda", executor=On("cuda"), device=None, compiled=True)
    assert cuda.device == torch.device("cuda") and cuda.training(1, 0).compiled
    assert make("cuda:1", executor=On("cuda"), device="cuda:1").device == torch.device("cuda:1")
    with pytest.raises(ValueError, match="device='meta', and the executor's folds get 'cpu': leave device out"):
        make("meta", executor=On("cpu"), device="meta")
    with pytest.raises(ValueError, match="executor 'x': expected one of auto"):
        make("x", executor="x")


@pytest.mark.parametrize("executor", ["auto", "processes"])
def test_as_many_folds_as_there_are_cores_are_trained_side_by_side(make, monkeypatch, executor):
    monkeypatch.setattr("freesound_tagging.machine.processes.cores", lambda: 8)
    assert (make(executor=executor).executor.workers, make("two", profile={"n_folds": 2}, executor=executor
                                                           ).executor.workers) == (3, 2)


def test_clips_images_and_profile_that_do_not_go_together_are_refused(make, sounds):
    clips, store = sounds
    fewer = Clips(clips.table[:5], LABELS)
    with pytest.raises(ValueError, match=r"a store of 23 clips in .* is not of these 5: expected that of Spec"):
        make(clips=fewer)
    with pytest.raises(ValueError, match=r"were made otherwise: n_mels is 16 and the profile has 32; hop_length is 100 "
                       r"and the profile has 99\. Build the store"):
        make(profile={"mel": MelConfig(**vars(SMALL) | {"n_mels": 32, "hop_length": 99})})
    with pytest.raises(ValueError, match=r"no curated clips, and the profile's stages train .*: there are noisy$"):
        make(clips=Clips(clips.table[:NOISY], LABELS), store=store.take(range(NOISY)))
    with pytest.raises(ValueError, match=r"no noisy and no curated clips, .*there are none$"):
        make(clips=Clips(clips.table[:0], LABELS), store=store.take([]))


def test_a_network_of_ones_own_is_tried_before_its_run_begins_and_not_when_it_is_finished(make, monkeypatch):
    own = {"network": "own_networks:wrong", "options": {"way": "right"}}
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "networks")
    with pytest.raises(ValueError, match=r"failed in a training step on images of .*nothing here"):
        make("raises", profile=own | {"options": {"way": "raises"}})
    pipeline = make(profile=own)
    run_together(pipeline, train=by_hand)
    monkeypatch.setattr("freesound_tagging.training.warmup.check_network", None)  # would fail
    assert make(profile=own).finished() == [1, 2, 3, 4]

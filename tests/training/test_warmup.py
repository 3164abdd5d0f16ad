import copy
import dataclasses
import json
import re
import shutil
import time
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

import freesound_tagging
from freesound_tagging.augment import PUBLISHED, compose, mixup, specmix
from freesound_tagging.clips.clips import Clips
from freesound_tagging.images.mel import MelConfig
from freesound_tagging.images.store import SpectrogramStore
from freesound_tagging.lwlrap import clip_lwlrap, lwlrap
from freesound_tagging.machine.device import OutOfMemory, training_precision
from freesound_tagging.networks.tagger import Tagger
from freesound_tagging.networks.weights import load_tagger, save_tagger, weights_path
from freesound_tagging.prediction.ensemble import Ensemble
from freesound_tagging.training import fold as fold_training
from freesound_tagging.training import learner
from freesound_tagging.training.functions import name_of
from freesound_tagging.training.pool import ClipPool
from freesound_tagging.training.profile import Profile, load_profile, published_stages
from freesound_tagging.training.progress import Progress
from freesound_tagging.training.queue import Key
from freesound_tagging.training.stages import batch_size_for

STAGES, FOLDS = (1, 2, 3, 4), (0, 1, 2)


def test_the_stages_are_the_published_ones():
    first, second, third, fourth = published_stages()
    assert (first.starts_from, first.trains_on, first.selects_from, first.votes) == (None, ("noisy",), None, False)
    assert (second.starts_from, second.trains_on, second.selects_from) == (1, ("curated",), None)
    assert (third.starts_from, third.trains_on, third.selects_from) == (2, ("curated",), "noisy")
    assert (third.scored_by, third.threshold, third.cap) == ((1, 2), 0.5, 5)
    assert (fourth.starts_from, fourth.trains_on, fourth.selects_from) == (3, ("curated",), "noisy")
    assert (fourth.scored_by, fourth.threshold, fourth.cap) == ((3,), 1.0, None)
    assert second.votes and third.votes and fourth.votes


def test_the_full_profile_is_the_published_system():
    full = load_profile("full")
    assert (full.network, full.n_folds, full.options, full.weight_decay) == ("cnn-model-1", 10, {"width": 64}, 0.01)
    assert batch_size_for(4964 * 9 // 10) == 128
    assert full.mel == MelConfig()
    *alone, last = full.augmentation
    assert tuple(alone) == PUBLISHED[:3]
    assert (last.func, last.keywords) == (specmix, {"max_width": 0.25, "stripes": (1, 1)}), "32 of 128, one an axis"


def test_a_held_out_clip_is_never_trained_on(finished_run):
    for stage in STAGES:
        for fold in FOLDS:
            clips = finished_run.training_clips(stage, fold)
            assert not (finished_run.folds[clips] == fold).any()
            assert finished_run.clips.is_of("curated")[clips].any() == (stage > 1)


def test_batches_hold_only_the_clips_of_training_clips(make_pipeline, tmp_path, monkeypatch):
    """What reaches the network, seen at the batches themselves, in every stage and fold."""
    drawn = []
    real = fold_training.RandomExcerpts
    monkeypatch.setattr(fold_training, "RandomExcerpts", lambda pool, clips, *rest: drawn.append(set(clips)) or
                        real(pool, clips, *rest))
    pipeline = make_pipeline(tmp_path)
    pipeline.run()
    folds, noisy = pipeline.folds, pipeline.clips.is_of("noisy")
    assert len(drawn) == len(STAGES) * len(FOLDS)
    for clips, (stage, fold) in zip(drawn, [(stage, fold) for stage in STAGES for fold in FOLDS]):
        assert not (folds[list(clips)] == fold).any()
        if stage == 1:
            assert clips == set(np.flatnonzero(noisy & (folds != fold)))
        if stage == 2:
            assert clips == set(np.flatnonzero(~noisy & (folds != fold)))


def test_selection_is_by_the_models_that_hold_the_clip_out(finished_run):
    noisy, targets = finished_run.clips.is_of("noisy"), finished_run.targets
    scores = {stage: clip_lwlrap(targets, finished_run.out_of_fold(stage)) for stage in (1, 2, 3)}
    third = finished_run.selected(3)
    assert third.any() and not third[~noisy].any()
    assert (np.sqrt(scores[1] * scores[2])[third] >= 0.5 - 1e-12).all()
    for fold in FOLDS:
        assert (targets[third & (finished_run.folds == fold)].sum(0) <= 5).all()
    np.testing.assert_array_equal(finished_run.selected(4), noisy & (scores[3] == 1))


def test_a_stage_is_validated_on_the_clips_held_out_of_the_set_it_is_about(finished_run):
    """The noisy ones in stage 1, the curated ones from then on."""
    for stage in STAGES:
        for fold in FOLDS:
            validated = finished_run.training(stage, fold).validated
            mine = finished_run.clips.is_of("noisy" if stage == 1 else "curated") & (finished_run.folds == fold)
            np.testing.assert_array_equal(validated, np.flatnonzero(mine))


def test_out_of_fold_predictions_are_what_inference_makes_of_the_folds_own_network(finished_run):
    for stage, fold in ((1, 0), (2, 1), (4, 2)):
        mine = finished_run.folds == fold
        ensemble = Ensemble.load(weights_path(finished_run.weights, stage, fold))
        expected, = ensemble.predict(finished_run.store, progress=False)
        np.testing.assert_allclose(finished_run.out_of_fold(stage)[mine], expected[mine], atol=1e-6)


@pytest.mark.parametrize("stage", [2, 3, 4])
def test_each_model_starts_from_the_one_before(make_pipeline, finished_run, stage, tmp_path):
    """With a learning rate of nothing a stage returns the weights that it began with."""
    frozen = tuple(dataclasses.replace(config, lr=0.0) if config.stage >= 2 else config
                   for config in finished_run.profile.stages)
    pipeline = make_pipeline(tmp_path, profile=dataclasses.replace(finished_run.profile, stages=frozen))
    for earlier in range(1, stage + 1):
        pipeline.run_stage(earlier)
    for fold in FOLDS:
        before, after = (load_tagger(weights_path(pipeline.weights, s, fold)) for s in (stage - 1, stage))
        for (name, old), (_, new) in zip(before.named_parameters(), after.named_parameters()):
            assert torch.equal(old, new), name
        assert after.spec.stage == stage
        assert after.spec.fold == fold


def test_stage_1_starts_anew_in_each_fold(finished_run):
    first, second = (load_tagger(weights_path(finished_run.weights, 1, fold)) for fold in (0, 1))
    assert not torch.equal(first.network[0][0].weight, second.network[0][0].weight)


def test_a_second_run_trains_nothing(make_pipeline, finished_run, monkeypatch):
    monkeypatch.setattr(learner, "fit", None)  # training would fail
    again = make_pipeline(finished_run.work.parent)
    assert again.run().equals(finished_run.table())


def test_what_was_finished_before_is_said_and_has_no_speed(make_pipeline, finished_run, capsys):
    make_pipeline(finished_run.work.parent, progress=True).run()
    assert capsys.readouterr().out == "work, stage 1, 2, 3, 4: finished before\n"
    keys = [Key(finished_run.work, 1, fold) for fold in (0, 1)]
    with Progress(True) as progress:
        progress.add(keys[0], 100_000, finished=True)
        progress.add(keys[1], 10, finished=False)
        progress.begin(keys[1])
        time.sleep(0.5)
        progress.end(keys[1], {})
    last = capsys.readouterr().out.split("\r")[-1]
    assert "100010/100010" in last
    assert float(re.search(r"([\d.]+)step/s", last)[1]) <= 10 / 0.5


def test_an_interrupted_run_goes_on_and_ends_the_same_to_the_bit(make_pipeline, finished_run, tmp_path, monkeypatch):
    fitted = []

    def interrupt(*arguments, **settings):
        fitted.append(1)
        if len(fitted) == 6:
            raise KeyboardInterrupt
        return fit(*arguments, **settings)
    fit = learner.fit
    monkeypatch.setattr(learner, "fit", interrupt)
    with pytest.raises(KeyboardInterrupt):
        make_pipeline(tmp_path).run()
    pipeline = make_pipeline(tmp_path)
    pipeline.run()
    assert len(fitted) == 1 + len(STAGES) * len(FOLDS)
    for stage in STAGES:
        for fold in FOLDS:
            name = weights_path("", stage, fold).name
            assert (pipeline.weights / name).read_bytes() == (finished_run.weights / name).read_bytes()
        np.testing.assert_array_equal(pipeline.out_of_fold(stage), finished_run.out_of_fold(stage))


@pytest.mark.parametrize("left_over", [torch.no_grad, torch.inference_mode])
def test_gradients_are_on_in_training_whatever_was_before(make_pipeline, finished_run, tmp_path, left_over):
    """Such as what an interrupted cell left behind; the weights are those of any other run."""
    pipeline = make_pipeline(tmp_path)
    with left_over():
        pipeline.run_stage(1)
    for fold in FOLDS:
        name = weights_path("", 1, fold).name
        assert (pipeline.weights / name).read_bytes() == (finished_run.weights / name).read_bytes()


@pytest.mark.parametrize("moment", [1, 5, 20, 40])
def test_an_interrupt_in_training_leaves_gradients_on(make_pipeline, tmp_path, interrupted, moment):
    """Even right after a library turned them off, before its own `with` would turn them on again."""
    def turned_off(frame, event):
        return event == "return" and frame.f_code is torch.no_grad.__enter__.__code__
    pipeline = make_pipeline(tmp_path)
    try:
        with interrupted(turned_off, moment):
            pipeline.run_stage(1)
        assert torch.is_grad_enabled()
    finally:
        torch.set_grad_enabled(True)  # for the tests that follow


def gain(images, targets, generator=None):
    return images, targets


one_gain = gain


def gain(images, targets, generator=None, by=1):
    return images * by, targets


@pytest.mark.parametrize(("changes", "message"), [
    ({"network": "vgg16"}, "network was 'cnn-model-1' and is 'vgg16'"),
    ({"n_folds": 2}, "n_folds was 3 and is 2"),
    ({"options": {"width": 4}}, r"options\.width was 2 and is 4"),
    ({"augmentation": (mixup,)}, "augmentation was"),
    ({"weight_decay": 0.1}, r"weight_decay was 0\.01 and is 0\.1"),
])
def test_a_run_of_another_profile_is_not_continued(make_pipeline, finished_run, changes, message):
    with pytest.raises(ValueError, match=message):
        make_pipeline(finished_run.work.parent, profile=dataclasses.replace(finished_run.profile, **changes))


def test_a_run_of_another_stage_or_seed_is_not_continued(make_pipeline, finished_run):
    with pytest.raises(ValueError, match="seed was 0 and is 1"):
        make_pipeline(finished_run.work.parent, seed=1)
    *stages, last = finished_run.profile.stages
    changed = dataclasses.replace(finished_run.profile, stages=[*stages, dataclasses.replace(last, threshold=0.9)])
    with pytest.raises(ValueError, match=r"stages\[4\]\.threshold was 1\.0 and is 0\.9\. Give another folder"):
        make_pipeline(finished_run.work.parent, profile=changed)


def test_an_augmentation_of_the_same_name_that_computes_otherwise_is_another(make_pipeline, finished_run, tmp_path):
    profiles = [dataclasses.replace(finished_run.profile, augmentation=(step,)) for step in (one_gain, gain)]
    make_pipeline(tmp_path, profile=profiles[0])
    make_pipeline(tmp_path, profile=profiles[0])
    with pytest.raises(ValueError, match=r"code\.gain\(\) was '\w{16}' and is '\w{16}'"):
        make_pipeline(tmp_path, profile=profiles[1])


def test_other_folds_are_not_continued(make_pipeline, tmp_path):
    """As another version of what deals them would give: training and held-out clips would be mixed."""
    run = make_pipeline(tmp_path).work / "run.json"
    run.write_text(run.read_text().replace(json.loads(run.read_text())["folds"], "0" * 16))
    with pytest.raises(ValueError, match=r"folds was '0{16}' and is"):
        make_pipeline(tmp_path)


def test_names_of_augmentations_are_the_same_in_every_process():
    assert [name_of(step) for step in PUBLISHED] == ["zoom_crop()", "lighting()", "mixup()", "specmix()"]
    assert name_of(partial(specmix, stripes=(1, 2))) == "specmix(stripes=(1, 2))"
    assert name_of(partial(specmix, stripes=[3])) == "specmix(stripes=(3,))"
    both, one = (name_of(compose(steps)) for steps in ((mixup, partial(specmix, stripes=2)), (mixup,)))
    assert "mixup(), specmix(stripes=2)" in both
    assert "mixup()" in one and "specmix" not in one

    assert name_of(torch.no_grad()(mixup)) == "mixup()"

    class Gain:
        def __init__(self, gain=2):
            self.apply = partial(gained, self)

        def __call__(self, images, targets, generator=None):
            return images, targets

    def gained(gain, images, targets, generator=None):
        return images, targets

    def made_with(gain):
        def step(images, targets, generator=None):
            return images * gain, targets
        return step
    assert name_of(made_with(2)) == "step(gain=2)"
    for step in (lambda images, targets, generator: (images, targets), Gain(), Gain().__call__, Gain().apply,
                 partial(specmix, stripes=np.arange(2000))):
        with pytest.raises(ValueError, match=r"^the function .* has no name by which a run would know it: give one"):
            name_of(step)


def test_a_seed_of_numpys_is_a_number_too(make_pipeline, tmp_path):
    assert make_pipeline(tmp_path, seed=np.int64(3)).seed == 3
    assert make_pipeline(tmp_path, seed=3).seed == 3, "the same run"
    with pytest.raises(TypeError, match="integer"):
        make_pipeline(tmp_path / "other", seed=0.5)


def test_changed_labels_are_not_continued(make_pipeline, finished_run):
    clips = copy.copy(finished_run.clips)
    clips.targets = 1 - clips.targets
    with pytest.raises(ValueError, match="clips and labels was"):
        make_pipeline(finished_run.work.parent, clips=clips)


def test_a_run_of_another_version_is_not_continued(make_pipeline, tmp_path):
    pipeline = make_pipeline(tmp_path)
    run = json.loads((pipeline.work / "run.json").read_text())
    assert run["version"] == freesound_tagging.__version__
    (pipeline.work / "run.json").write_text(json.dumps(run | {"version": "0.0.9"}))
    with pytest.raises(ValueError, match=r"version was '0\.0\.9' and is .*delete this one .* to start anew"):
        make_pipeline(tmp_path)


def test_a_run_whose_networks_began_otherwise_is_not_continued(make_pipeline, tmp_path):
    """Until heads began as the author's do, runs said nothing of it."""
    pipeline = make_pipeline(tmp_path)
    run = json.loads((pipeline.work / "run.json").read_text())
    del run["first weights"]
    (pipeline.work / "run.json").write_text(json.dumps(run))
    with pytest.raises(ValueError, match=r"first weights was None and is 'Kaiming-normal; .* of heads U\(0, 1\)'"):
        make_pipeline(tmp_path)


def test_other_images_are_not_continued(make_pipeline, finished_run, tmp_path):
    mel = MelConfig(hop_length=600)
    store = SpectrogramStore.build(finished_run.clips.paths, tmp_path, mel, 1, False)
    with pytest.raises(ValueError, match=r"hop_length is 600 and the profile has 694\. Build the store with"):
        make_pipeline(finished_run.work.parent, store=store)
    with pytest.raises(ValueError, match=r"mel\.hop_length was 694 and is 600"):
        make_pipeline(finished_run.work.parent, store=store, profile=dataclasses.replace(finished_run.profile, mel=mel))


def test_images_of_other_clips_are_refused(make_pipeline, demo, demo_stores, tmp_path):
    with pytest.raises(ValueError, match=r"a store of 36 clips in .* is not of these 108"):
        make_pipeline(tmp_path, store=demo_stores["curated"])
    with pytest.raises(ValueError, match="no noisy clips, and the profile's stages train on them: there are curated"):
        make_pipeline(tmp_path, store=demo_stores["curated"], clips=demo.clips("curated"))


def test_weights_of_a_run_elsewhere_are_not_overwritten(make_pipeline, finished_run, tmp_path):
    with pytest.raises(ValueError, match=r"holds networks of another run \(stage-1_fold-0\.safetensors\)"):
        make_pipeline(tmp_path, weights=finished_run.weights)


def test_two_runs_have_no_folder_of_weights_in_common(make_pipeline, tmp_path):
    """Neither while it is empty, nor when a folder comes to be another's under a run that goes on."""
    one = make_pipeline(tmp_path / "one", weights=tmp_path / "weights")
    with pytest.raises(ValueError, match=r"the weights in .* are those of the run in .*one.work, and not .*two"):
        make_pipeline(tmp_path / "two", weights=tmp_path / "weights")
    shutil.rmtree(one.work)
    two = make_pipeline(tmp_path / "two", weights=tmp_path / "weights")  # the first is gone
    two.run_stage(1)
    with pytest.raises(ValueError, match=r"the weights in .* are those of the run in .*two.work, and not .*one"):
        one.run_stage(1)


@pytest.mark.parametrize(("change", "message"), [
    ({"options": {"width": 4}}, "width is 4, expected 2"),
    ({"network": "vgg16"}, "network is 'vgg16', expected 'cnn-model-1'"),
    ({"fold": 2}, "fold is 2, expected 0"),
    ({"vocabulary": ("Woof", "Miaow")}, "vocabulary is"),
    ({"mel": MelConfig(hop_length=347)}, "mel is"),
])
def test_a_stage_does_not_start_from_another_network(make_pipeline, finished_run, tmp_path, change, message):
    shutil.copytree(finished_run.work.parent, tmp_path / "run")
    pipeline = make_pipeline(tmp_path / "run")
    path = weights_path(pipeline.weights, 1, 0)
    save_tagger(Tagger(dataclasses.replace(load_tagger(path).spec, **change)), path)
    weights_path(pipeline.weights, 2, 0).unlink()
    with pytest.raises(ValueError, match=message) as caught:
        pipeline.run_stage(2)
    assert str(path) in str(caught.value)


def test_a_broken_fold_keeps_the_finished_ones_and_is_taken_up_again(make_pipeline, finished_run, tmp_path):
    calls = []

    def spoil(images, targets, generator=None):
        calls.append(1)
        return images, targets * (float("nan") if len(calls) == 5 else 1)
    profile = dataclasses.replace(finished_run.profile, augmentation=(*PUBLISHED, spoil))
    with pytest.raises(FloatingPointError, match=r"stage 1, fold 1: the loss is not finite.*kept; running again"):
        make_pipeline(tmp_path, profile=profile).run()
    kept = weights_path(tmp_path / "weights", 1, 0).read_bytes()
    again = make_pipeline(tmp_path, profile=profile)
    again.run()
    assert weights_path(again.weights, 1, 0).read_bytes() == kept
    for fold in FOLDS:
        name = weights_path("", 4, fold).name
        assert (again.weights / name).read_bytes() == (finished_run.weights / name).read_bytes()


def out_of_memory(*_, **__):
    """Torch's own error, raised by hand: there is no GPU to fill in a test."""
    raise torch.cuda.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize(("where", "what"), [
    (ClipPool, "of"), (Tagger, "to"), (fold_training, "predict")])
def test_a_full_gpu_is_said_with_stage_and_fold_wherever_it_is_full(make_pipeline, tmp_path, monkeypatch, where, what):
    pipeline = make_pipeline(tmp_path)
    monkeypatch.setattr(where, what, out_of_memory)
    with pytest.raises(OutOfMemory, match=r"stage 1, fold 0: a batch of 16 does not fit on the GPU.*running again"):
        pipeline.run_stage(1)


def test_autocast_is_as_before_whatever_an_interrupt_left(make_pipeline, tmp_path, interrupted):
    """An interrupt right after autocast was turned on, before its `with` would turn it off again."""
    def turned_on(frame, event):
        return event == "return" and frame.f_code is torch.autocast.__enter__.__code__
    pipeline = make_pipeline(tmp_path)
    assert training_precision(torch.device("cpu")) != torch.float32 or pytest.skip("a CPU that computes in float32")
    with interrupted(turned_on, 2):
        pipeline.run_stage(1)
    assert not torch.is_autocast_enabled("cpu")
    assert torch.autocast_increment_nesting() == 1
    torch.autocast_decrement_nesting()


def test_clips_that_are_the_same_are_held_out_together(make_pipeline, finished_run, demo, tmp_path):
    """A noisy clip of a curated one's bytes, one of its name, and two noisy ones of the same bytes."""
    curated, noisy = (list(getattr(demo, name)["path"]) for name in ("curated", "noisy"))
    (tmp_path / "noisy").mkdir()
    for clip, source in ((5, curated[3]), (6, noisy[6]), (9, noisy[8])):
        copied = tmp_path / "noisy" / (curated[4].name if clip == 6 else f"copy{clip}.wav")
        noisy[clip] = shutil.copy(source, copied)
    clips = Clips.of({"curated": demo.curated.assign(path=curated), "noisy": demo.noisy.assign(path=noisy)},
                     demo.vocabulary)
    store = SpectrogramStore.build(clips.paths, tmp_path, n_jobs=1, progress=False)
    test = [*demo.test["path"][:3], shutil.copy(curated[7], tmp_path / "t.wav")]
    with pytest.warns(UserWarning, match=r"4 clips are there more than once.* = noisy copy5\.wav.* = test t\.wav.*"
                                         r"a score on test clips"):
        pipeline = make_pipeline(tmp_path, clips=clips, store=store, test=test)
    n, folds = len(curated), pipeline.folds
    assert (folds[n + 5], folds[n + 6], folds[n + 9]) == (folds[3], folds[4], folds[n + 8])
    others = np.delete(np.arange(len(folds)), [n + 5, n + 6, n + 9])
    np.testing.assert_array_equal(folds[others], finished_run.folds[others])
    assert n + 5 not in pipeline.training_clips(1, folds[3]), "stage 1 too learns nothing of what is held out"


@pytest.mark.parametrize("left", [b"", b"PK", b"[]"])
def test_a_damaged_file_of_a_run_is_named(make_pipeline, finished_run, tmp_path, left):
    for name in ("work", "weights"):
        shutil.copytree(getattr(finished_run, name), tmp_path / name)
    record = tmp_path / "work/stage-2_fold-1.npz"
    record.write_bytes(left)
    with pytest.raises(ValueError, match=r"stage-2_fold-1\.npz is damaged .*; delete it, and the fold is"):
        make_pipeline(tmp_path).run_stage(2)
    record.unlink()
    make_pipeline(tmp_path).run_stage(2)
    weights = weights_path("", 2, 1).name
    assert (tmp_path / "weights" / weights).read_bytes() == (finished_run.weights / weights).read_bytes()
    (tmp_path / "work/run.json").write_bytes(left if left != b"[]" else b"[1]")
    with pytest.raises(ValueError, match=r"run\.json is damaged"):
        make_pipeline(tmp_path)


def test_compiling_is_refused_where_a_cpu_trains_in_bfloat16(make_pipeline, tmp_path, monkeypatch):
    monkeypatch.setattr("freesound_tagging.training.fold.training_precision", lambda device: torch.bfloat16)
    with pytest.raises(ValueError, match="expected False on a CPU that trains in bfloat16"):
        make_pipeline(tmp_path, compiled=True)
    monkeypatch.setattr("freesound_tagging.training.fold.training_precision", lambda device: torch.float32)
    run = make_pipeline(tmp_path, compiled=True)
    assert run.training(1, 0).compiled
    monkeypatch.setattr("freesound_tagging.training.fold.training_precision", lambda device: torch.bfloat16)
    with pytest.raises(ValueError, match="expected False on a CPU that trains in bfloat16"):  # as a worker of Ray's
        fold_training.train_fold(run.training(1, 0), run.shared, lambda *_: None)


def edge_case(make_pipeline, finished_run, folder, n_curated, n_noisy, n_folds, **stages):
    """A run on the first clips of the demo set."""
    table = finished_run.clips.table
    clips = Clips(pd.concat([table[table["set"] == "curated"][:n_curated], table[table["set"] == "noisy"][:n_noisy]]),
                  finished_run.clips.vocabulary)
    store = SpectrogramStore.build(clips.paths, folder / "store", n_jobs=1, progress=False)
    config = [dataclasses.replace(config, **stages.get(f"stage_{config.stage}", {}))
              for config in published_stages((1,) * 4, (1e-3,) * 4, 1)]
    pipeline = make_pipeline(folder, clips=clips, store=store, profile=Profile(n_folds, config, options={"width": 2}))
    pipeline.run()
    return pipeline


def test_a_fold_of_one_clip(make_pipeline, finished_run, tmp_path):
    pipeline = edge_case(make_pipeline, finished_run, tmp_path, 3, 3, 3)
    assert [np.bincount(pipeline.folds[pipeline.clips.is_of(name)]).tolist() for name in ("curated", "noisy")] == [
        [1, 1, 1]] * 2
    assert pipeline.table().notna().all().all()
    assert all(np.isfinite(record["lwlrap"]).all() for record in pipeline.history(4))


def test_a_stage_for_which_no_noisy_clip_qualifies_trains_on_the_curated_ones(make_pipeline, finished_run, tmp_path,
                                                                              monkeypatch):
    monkeypatch.setattr("freesound_tagging.training.warmup.select_noisy",
                        lambda scores, carried, folds, *rule: np.zeros(len(folds), bool))
    pipeline = edge_case(make_pipeline, finished_run, tmp_path, 12, 12, 2)
    for stage, fold in ((3, 0), (4, 1)):
        np.testing.assert_array_equal(pipeline.training_clips(stage, fold), pipeline.training_clips(2, fold))
    assert [line for line in pipeline.report().splitlines() if "selected" in line] == [
        "Stage 3 has selected no noisy clip, as the models agree with none by its threshold of 0.5.",
        "Stage 4 has selected no noisy clip, as the models agree with none by its threshold of 1."]


def test_labels_without_a_clip_in_a_fold_do_no_harm(make_pipeline, finished_run, tmp_path):
    """Of 12 labels most have no clip at all here, and none has one in every fold."""
    pipeline = edge_case(make_pipeline, finished_run, tmp_path, 5, 5, 5)
    assert (pipeline.targets[pipeline.clips.is_of("curated")].sum(0) == 0).any()
    assert pipeline.table().notna().all().all()


def test_a_stage_needs_the_ones_before(make_pipeline, tmp_path):
    with pytest.raises(RuntimeError, match=r"fold 0 of stage 1 is not finished: run_stage\(1\) first"):
        make_pipeline(tmp_path).run_stage(3)
    with pytest.raises(ValueError, match="stage=5: expected one of the profile's, 1, 2, 3, 4"):
        make_pipeline(tmp_path).run_stage(5)


def test_the_table_is_cross_validated_lwlrap_of_each_model(finished_run):
    table = finished_run.table()
    assert list(table.index) == [*(f"model {stage}" for stage in STAGES), "ensemble"]
    assert list(table.columns) == ["lwlrap noisy", "lwlrap curated"]
    curated = finished_run.clips.is_of("curated")
    assert table.loc["model 2", "lwlrap curated"] == lwlrap(finished_run.targets[curated],
                                                            finished_run.out_of_fold(2)[curated])


def test_the_table_does_not_count_clips_that_cannot_be_read(make_pipeline, finished_run, demo, tmp_path):
    """Whatever a network makes of their silence."""
    clips = copy.copy(finished_run.clips)
    clips.table = clips.table.copy()
    (tmp_path / "broken.wav").write_bytes(b"RIFF and no more")
    clips.table["path"] = [tmp_path / "broken.wav", *clips.table["path"][1:]]
    with pytest.warns(UserWarning, match=r"broken\.wav cannot be read"):
        store = SpectrogramStore.build(clips.paths, tmp_path, n_jobs=1, progress=False)
    pipeline = make_pipeline(tmp_path, clips=clips, store=store)
    pipeline.run_stage(1)
    curated = np.flatnonzero(clips.is_of("curated"))
    scores = pipeline.out_of_fold(1)
    assert pipeline.table().loc["model 1", "lwlrap curated"] == lwlrap(pipeline.targets[curated[1:]],
                                                                       scores[curated[1:]])
    assert 0 not in pipeline.training_clips(2, 0) and 0 not in pipeline.training_clips(2, 1)


def test_the_history_has_every_step_and_epoch(finished_run):
    for stage in STAGES:
        for record, steps in zip(finished_run.history(stage), finished_run.n_steps(stage)):
            assert len(record["loss"]) == steps
            assert len(record["lwlrap"]) == 1


def test_no_stage_has_fewer_steps_than_the_least(make_pipeline, tmp_path):
    pipeline = make_pipeline(tmp_path, profile=Profile(
        3, published_stages((3, 1, 1, 1), (1e-3,) * 4, 12), options={"width": 2}, batch_size=16))
    assert pipeline.n_steps(1) == [12, 12, 12]
    pipeline = make_pipeline(tmp_path / "b")  # about 48 clips in batches of 16
    counts = [len(pipeline.training_clips(1, fold)) for fold in FOLDS]
    assert sum(counts) == 2 * 72
    assert pipeline.n_steps(1) == [-(-count // 16) for count in counts]


def test_normalization_is_that_of_all_training_pixels(finished_run):
    spec = load_tagger(weights_path(finished_run.weights, 4, 0)).spec
    pixels = finished_run.store.pixels / 255
    assert spec.mean == pytest.approx((pixels.mean(),) * 3)
    assert spec.std == pytest.approx((pixels.std(),) * 3)


def test_dropout_and_excerpts_are_drawn_from_streams_of_their_own(make_pipeline, finished_run, tmp_path):
    seeds = set()

    def watch(images, targets, generator=None):
        seeds.add((torch.initial_seed(), generator.initial_seed()))
        return images, targets
    make_pipeline(tmp_path, profile=dataclasses.replace(finished_run.profile, augmentation=(watch,))).run_stage(1)
    assert len(seeds) == len(FOLDS)
    assert len({seed for pair in seeds for seed in pair}) == 2 * len(FOLDS)

import copy
import sys
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from fastai.callback.core import Callback
from fastai.data.core import DataLoaders
from fastai.data.load import DataLoader
from fastai.learner import Learner
from torch import nn

from freesound_tagging.augment import compose, specmix
from freesound_tagging.images.excerpts import HostPixels, gather
from freesound_tagging.images.mel import MelConfig
from freesound_tagging.machine.device import OutOfMemory
from freesound_tagging.networks.tagger import NetworkSpec, Tagger
from freesound_tagging.prediction.inference import predict
from freesound_tagging.training.batches import MiddleExcerpts, RandomExcerpts
from freesound_tagging.training.learner import AugmentBatch, History, fit, fit_one_cycle, make_learner
from freesound_tagging.training.pool import ClipPool
from freesound_tagging.training.progress import EpochLogs


@pytest.fixture(scope="module")
def pool(demo, training_store):
    return ClipPool.of(training_store, demo.clips().targets, "cpu")


def tagger_for(demo, **changes):
    torch.manual_seed(0)
    spec = NetworkSpec("cnn-model-1", {"width": 2}, tuple(demo.vocabulary), MelConfig(), (0.4,) * 3, (0.2,) * 3)
    return Tagger(spec, **changes)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_clips_of_a_pool_are_those_of_its_sets_in_order(pool, demo, demo_stores):
    curated, noisy = demo_stores["curated"], demo_stores["noisy"]
    for clip, (store, number) in {0: (curated, 0), 5: (curated, 5), len(curated) + 7: (noisy, 7)}.items():
        length = int(pool.lengths[clip])
        pixels, = gather(pool.pixels, pool.starts[clip:clip + 1], length)
        assert length == store.lengths[number]
        np.testing.assert_array_equal(pixels.numpy().T, store[number])
    np.testing.assert_array_equal(pool.targets[len(curated):], demo.targets(demo.noisy))


def test_excerpts_are_cut_whole_out_of_their_own_clip_with_its_target(pool):
    # Pixels that name their clip, in place of sound.
    number = torch.repeat_interleave(torch.arange(len(pool.lengths)), pool.lengths)
    named = ClipPool(number.to(torch.uint8)[:, None].expand(-1, 128).contiguous(), pool.starts, pool.lengths,
                     torch.eye(len(pool.lengths)), 128, pool.fnames)
    clips = np.arange(3, 90)
    for batches in (RandomExcerpts(named, clips, 16, 30, generator()), MiddleExcerpts(named, clips, 16)):
        seen = []
        for images, targets in batches:
            assert images.shape[1:] == (1, 128, 128)
            clip = targets.argmax(1)
            torch.testing.assert_close(images, (clip / 255)[:, None, None, None].expand_as(images))
            seen += clip.tolist()
        assert set(seen) == set(clips)


def test_streamed_from_the_memory_map_the_batches_are_the_same(pool, demo, training_store):
    streamed = ClipPool.of(training_store, demo.clips().targets, "cpu", stream=True)
    assert isinstance(streamed.pixels, HostPixels)
    clips = np.arange(100)
    for batches in ((RandomExcerpts(p, clips, 16, 9, generator(3)) for p in (pool, streamed)),
                    (MiddleExcerpts(p, clips, 16) for p in (pool, streamed))):
        for (images, targets), (theirs, their_targets) in zip(*batches, strict=True):
            assert torch.equal(images, theirs)
            assert torch.equal(targets, their_targets)
    tagger = tagger_for(demo)
    ours, theirs = (predict(tagger, p.pixels, p.starts[:20].numpy(), p.lengths[:20].numpy()) for p in (pool, streamed))
    np.testing.assert_array_equal(ours, theirs)


def test_streaming_stops_with_its_thread_when_training_is_interrupted(demo, demo_stores):
    streamed = ClipPool.of(demo_stores["curated"], demo.targets(demo.curated), "cpu", stream=True)
    before = threading.active_count()
    batches = iter(RandomExcerpts(streamed, np.arange(8), 4, 50, generator()))
    next(batches)
    batches.close()
    assert threading.active_count() == before


def test_every_start_of_an_excerpt_is_as_likely(pool):
    clip = int(pool.lengths.argmax())
    free = int(pool.lengths[clip]) - 128
    place = torch.arange(int(pool.lengths[clip]))
    ramp = ClipPool((place // 4).to(torch.uint8)[:, None].expand(-1, 2), torch.tensor([0]),
                    torch.tensor([len(place)]), torch.ones(1, 1), 128, ["ramp.wav"])
    images, _ = next(iter(RandomExcerpts(ramp, [0], 20_000, 1, generator())))
    first = (images[:, 0, 0, 0] * 255).round()
    assert first.min() == 0
    assert first.max() == free // 4
    assert first.mean().item() * 4 == pytest.approx(free / 2, rel=0.03)


def test_no_clip_comes_again_before_all_others_and_epochs_go_on_where_the_last_ended(pool):
    n = len(pool.lengths)
    named = ClipPool(pool.pixels, pool.starts, pool.lengths, torch.arange(n)[:, None].float(), 128, pool.fnames)
    batches = RandomExcerpts(named, np.arange(10), 4, 5, generator())
    drawn = torch.cat([targets for _ in range(3) for _, targets in batches])[:, 0].long()
    assert len(batches) == 5
    assert len(drawn) == 60
    for start in range(0, 60, 10):
        assert sorted(drawn[start:start + 10].tolist()) == list(range(10))


def test_full_batches_even_of_fewer_clips_than_a_batch(pool):
    images, _ = next(iter(RandomExcerpts(pool, [1, 2, 3], 16, 1, generator())))
    assert len(images) == 16
    with pytest.raises(ValueError, match="no clips to train on"):
        RandomExcerpts(pool, [], 16, 1, generator())


def test_only_training_batches_are_augmented(pool, demo):
    seen = []

    def spy(images, targets, generator=None):
        seen.append(len(images))
        return images * 0, targets
    clips = np.arange(8)
    tagger = tagger_for(demo)
    fit(tagger, RandomExcerpts(pool, clips, 8, 3, generator()), MiddleExcerpts(pool, clips), 2, 1e-3, spy)
    assert seen == [8] * 6


def test_a_network_learns_eight_clips_by_heart(pool, demo):
    clips = np.arange(0, 16, 2)
    tagger = tagger_for(demo)
    steps = []
    history = fit(tagger, RandomExcerpts(pool, clips, 16, 25, generator()), MiddleExcerpts(pool, clips), 4, 1e-2,
                  on_step=lambda: steps.append(1))
    assert len(history.losses) == len(steps) == 100
    assert len(history.lwlraps) == 4
    assert np.mean(history.losses[-10:]) < 0.3 * np.mean(history.losses[:10])
    assert history.lwlraps[-1] > 0.9
    assert not tagger.training


def test_a_fold_that_holds_no_clip_out_trains_all_the_same(pool, demo):
    history = fit(tagger_for(demo), RandomExcerpts(pool, np.arange(8), 8, 2, generator()), MiddleExcerpts(pool, []), 2,
                  1e-3)
    assert len(history.losses) == 4
    assert np.isnan(history.lwlraps).all()


def test_specmix_is_one_line_in_a_learner_of_fastais_own(pool):
    images, targets = next(iter(RandomExcerpts(pool, np.arange(16), 16, 1, generator())))
    loader = DataLoader(list(zip(images, targets)), bs=8)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(128 * 128, targets.shape[1]))
    learner = Learner(DataLoaders(loader, loader, device=torch.device("cpu")), model, torch.nn.BCEWithLogitsLoss(),
                      cbs=AugmentBatch(partial(specmix, stripes=(1, 2), min_width=0.1)))
    with learner.no_bar(), learner.no_logging():
        learner.fit(1, 1e-4)
    assert learner.recorder.losses[-1].isfinite()


class Watch(Callback):
    """The learning rate and momentum of each step."""

    def __init__(self):
        self.rates, self.momenta = [], []

    def before_step(self):
        group, = self.learn.opt.opt.param_groups
        self.rates.append(group["lr"])
        self.momenta.append(group["betas"][0])


class FixedBatches(list):
    """Batches as fastai 1.0.51 was given them: the same in every epoch."""

    device, batch_size = torch.device("cpu"), 16


@pytest.fixture
def one_cycle(shared):
    """A training by fastai 1.0.51 itself: its batches, a network with its first weights, and what came of it."""
    recorded = np.load(shared / "author-stack/one-cycle.npz")
    size = int(recorded["batch_size"])
    batches = FixedBatches(zip(torch.tensor(recorded["x"]).split(size), torch.tensor(recorded["y"]).split(size)))
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
                            nn.Flatten(), nn.BatchNorm1d(8), nn.Linear(8, 5))
    network.precision = torch.float32
    network.load_state_dict({name.removeprefix("first."): torch.tensor(recorded[name])
                             for name in recorded.files if name.startswith("first.")})
    return network, batches, recorded


def test_a_training_goes_step_by_step_as_in_fastai_1(one_cycle):
    network, batches, recorded = one_cycle
    watch, history = Watch(), History()
    learner = make_learner(network, batches, FixedBatches(), cbs=[watch, history])
    with learner.no_logging():
        fit_one_cycle(learner, int(recorded["epochs"]), float(recorded["lr_max"]))
    np.testing.assert_allclose(watch.rates, recorded["lr"], atol=1e-6, rtol=0)
    np.testing.assert_allclose(watch.momenta, recorded["momentum"], atol=1e-6, rtol=0)
    np.testing.assert_allclose(history.losses, recorded["loss"], atol=1e-5, rtol=0)
    for name, tensor in network.state_dict().items():
        if name not in ("0.bias", "1.running_mean"):  # a bias before a normalization has no gradient but rounding
            np.testing.assert_allclose(tensor, recorded[f"last.{name}"], atol=1e-4, rtol=0, err_msg=name)


def test_fit_is_that_training(one_cycle):
    network, batches, recorded = one_cycle
    history = fit(network, batches, FixedBatches(), int(recorded["epochs"]), float(recorded["lr_max"]))
    np.testing.assert_allclose(history.losses, recorded["loss"], atol=1e-5, rtol=0)


def test_training_in_bfloat16_leaves_no_autocast_behind(pool, demo):
    clips = np.arange(8)

    def interrupt(images, targets, generator=None):
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        fit(tagger_for(demo, precision=torch.bfloat16), RandomExcerpts(pool, clips, 8, 2, generator()),
            MiddleExcerpts(pool, clips), 1, 1e-3, interrupt)
    assert not torch.is_autocast_enabled("cpu")
    history = fit(tagger_for(demo, precision=torch.bfloat16), RandomExcerpts(pool, clips, 8, 2, generator()),
                  MiddleExcerpts(pool, clips), 1, 1e-3, compose(), generator())
    assert np.isfinite(history.losses).all()


def test_training_in_float16_scales_the_loss_and_skips_the_steps_that_overflow(pool, demo, monkeypatch):
    """What GPUs before Ampere do, on the CPU, for which torch has float16 and a scaler too."""
    scalers, torchs = [], torch.amp.GradScaler

    def scaler(device):
        scalers.append(torchs(device, init_scale=2.0**20))  # too great for the first steps
        return scalers[-1]
    monkeypatch.setattr("torch.amp.GradScaler", scaler)
    losses, taken = {}, {}
    for precision in (torch.float32, torch.float16):
        tagger, history = tagger_for(demo, precision=precision), History()
        learner = make_learner(tagger, RandomExcerpts(pool, np.arange(40), 8, 12, generator()),
                               MiddleExcerpts(pool, np.arange(40)), compose(), generator(), cbs=[history])
        with learner.no_logging():
            learner.fit_one_cycle(1, 1e-2)
        losses[precision] = history.losses
        taken[precision] = {int(state["step"]) for state in learner.opt.opt.state.values()}
        assert {parameter.dtype for parameter in tagger.parameters()} == {torch.float32}
        assert all(parameter.isfinite().all() for parameter in tagger.parameters())
        assert np.isfinite(history.losses).all() and np.isfinite(history.lwlraps).all()
    assert len(scalers) == 1
    skipped = 20 - np.log2(scalers[0].get_scale())
    assert 0 < skipped < 12
    assert taken == {torch.float32: {12}, torch.float16: {12 - skipped}}
    assert losses[torch.float16][0] == pytest.approx(losses[torch.float32][0], rel=0.01)
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("precision", [torch.float32, torch.float16])
def test_gradients_are_gathered_and_clipped_before_a_step_in_every_number_format(pool, demo, precision):
    """Each step of plain descent is as long as the clipped gradient, the learning rate times 0.5; half are gathered."""
    from fastai.callback.training import GradientAccumulation, GradientClip
    from fastai.optimizer import OptimWrapper

    lengths = []

    class Length(Callback):
        order = GradientClip.order + 1

        def weights(self):
            return torch.cat([parameter.detach().flatten() for parameter in self.model.parameters()])

        def before_step(self):
            self.opt.set_hypers(mom=0.0, wd=0.0)
            self.before, self.rate = self.weights(), self.opt.hypers[0]["lr"]

        def after_step(self):
            lengths.append(float((self.weights() - self.before).norm()) / self.rate)

    def change(learner):
        learner.opt_func = partial(OptimWrapper, opt=partial(torch.optim.SGD, momentum=0.9))
        learner.add_cbs([GradientAccumulation(16), GradientClip(0.5), Length()])
    fit(tagger_for(demo, precision=precision), RandomExcerpts(pool, np.arange(40), 8, 8, generator()),
        MiddleExcerpts(pool, []), 1, 1e-2, change=change)
    assert lengths == pytest.approx([0.5] * 4, rel=1e-3)


def test_an_optimizer_of_fastais_own_trains_in_float16(pool, demo):
    from fastai.optimizer import Adam

    losses = [fit(tagger_for(demo, precision=precision), RandomExcerpts(pool, np.arange(40), 8, 6, generator()),
                  MiddleExcerpts(pool, []), 1, 1e-3, change=lambda learner: setattr(learner, "opt_func", Adam)).losses
              for precision in (torch.float32, torch.float16)]
    np.testing.assert_allclose(*losses, rtol=0.02)


def test_a_learner_knows_its_device_from_the_batches(pool, demo):
    learner = make_learner(tagger_for(demo), RandomExcerpts(pool, np.arange(8), 8, 2, generator()),
                           MiddleExcerpts(pool, []))
    assert vars(learner.dls)["_device"] == torch.device("cpu"), "and not by fastai's looking for it among the batches"
    with pytest.raises(ValueError, match="batches on cpu cannot be had on meta"):
        learner.dls.device = "meta"


def test_augmentation_is_a_callback_any_learner_takes():
    callback = AugmentBatch(compose(), generator())
    assert callback.run_valid is False


def test_a_loss_that_is_not_finite_names_the_clips_of_its_batch(pool, demo):
    spoilt = ClipPool(pool.pixels, pool.starts, pool.lengths, pool.targets.clone(), 128, pool.fnames)
    spoilt.targets[7] = float("nan")
    seen = []
    train = RandomExcerpts(spoilt, np.arange(40), 8, 5, generator())
    with pytest.raises(FloatingPointError, match=r"not finite in step \d of epoch 1 of 3") as caught:
        fit(tagger_for(demo), train, MiddleExcerpts(pool, [0, 1]), 3, 1e-3, on_epoch=lambda *_: seen.append(1))
    assert pool.fnames[7] in str(caught.value)
    assert not seen, "training ends with the epoch"
    named = [fname for fname in pool.fnames[:40] if fname in str(caught.value)]
    assert len(named) == 8, "its batch, and no other clips"


def test_weights_that_are_not_finite_after_the_last_step_are_noticed(pool, demo):
    """The losses are finite, but the last step spoils the network: the validation shows it."""
    with pytest.raises(FloatingPointError, match="step 1 of epoch 1 of 1"):
        fit(tagger_for(demo), RandomExcerpts(pool, np.arange(40), 8, 1, generator()), MiddleExcerpts(pool, [0, 1]), 1,
            1e39)


def test_a_full_gpu_is_explained(pool, demo):
    """Torch's own error, raised by hand: there is no GPU to fill in a test."""
    def full(images, targets, generator=None):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(OutOfMemory, match=r"batch of 8 does not fit.*smaller batch_size or width"):
        fit(tagger_for(demo), RandomExcerpts(pool, np.arange(40), 8, 1, generator()), MiddleExcerpts(pool, []), 1,
            1e-3, full)


def test_an_interrupt_in_float16_leaves_autocast_off(pool, demo):
    tagger = tagger_for(demo, precision=torch.float16)

    def interrupt(*_):
        raise KeyboardInterrupt
    tagger.register_forward_pre_hook(interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            fit(tagger, RandomExcerpts(pool, np.arange(40), 8, 1, generator()), MiddleExcerpts(pool, []), 1, 1e-3)
        assert not torch.is_autocast_enabled("cpu")
    finally:
        torch.set_autocast_enabled("cpu", False)  # for the tests that follow


def fit_with(change, pool, demo, augmentation=None):
    """A short training, changed: the network, and its history."""
    tagger = tagger_for(demo)
    return tagger, fit(tagger, RandomExcerpts(pool, np.arange(40), 8, 2, generator()),
                       MiddleExcerpts(pool, np.arange(40, 60)), 2, 1e-3, augmentation, change=change)


def test_callbacks_of_fastais_work_and_keep_their_files_apart(pool, demo, tmp_path, monkeypatch):
    """They read fastai's recorder; SaveModelCallback takes up at the end what it wrote, and not what another did."""
    from fastai.callback.tracker import EarlyStoppingCallback, SaveModelCallback

    monkeypatch.chdir(tmp_path)
    folders = []

    class Noted(Callback):
        def before_fit(self):
            folders.append(self.learn.model_dir)

    def change(learner):
        learner.add_cbs([SaveModelCallback(), EarlyStoppingCallback(patience=5), Noted()])
    networks = [fit_with(change, pool, demo) for _ in range(2)]
    assert len(set(folders)) == 2 and not any(Path(folder).exists() for folder in folders)
    assert not list(tmp_path.iterdir())
    _, history = fit_with(None, pool, demo)
    for _, theirs in networks:
        assert theirs.losses == history.losses and theirs.lwlraps == history.lwlraps


def test_a_model_that_would_not_be_kept_is_refused(pool, demo):
    def change(learner):
        learner.model = copy.deepcopy(learner.model)
    with pytest.raises(ValueError, match="change gave the Learner another model"):
        fit_with(change, pool, demo)
    with pytest.raises(ValueError, match="change returned another Learner"):
        fit_with(lambda learner: Learner(learner.dls, learner.model, learner.loss_func), pool, demo)


def test_layers_that_change_puts_in_are_trained(pool, demo):
    made = []

    def change(learner):
        made.append(torch.nn.Linear(512, len(demo.vocabulary)))
        made.append(made[0].weight.detach().clone())
        learner.model.network.head[7] = made[0]
    fit_with(change, pool, demo)
    assert not torch.equal(*(weights.detach() for weights in (made[0].weight, made[1])))

    def too_late(learner):
        learner.create_opt()
        change(learner)
    with pytest.raises(ValueError, match=r"change made an optimizer that does not have network\.1\.7\.weight, network"):
        fit_with(too_late, pool, demo)


def test_an_optimizer_of_some_layers_trains_these_alone(pool, demo):
    weights = []

    def change(learner):
        from fastai.optimizer import OptimWrapper

        network = learner.model.network
        weights.extend(part.weight for part in (network.head[7], network.body[0]))
        weights.extend(part.detach().clone() for part in weights[:2])
        learner.opt_func = OptimWrapper(opt=torch.optim.SGD(network.head.parameters(), lr=0.1))
    fit_with(change, pool, demo)
    assert [torch.equal(*pair) for pair in zip(weights[:2], weights[2:])] == [False, True]


def test_a_callback_in_another_ones_place_has_the_recorder(pool, demo):
    from fastai.callback.tracker import SaveModelCallback

    def change(learner):
        learner.remove_cb(next(callback for callback in learner.cbs if isinstance(callback, AugmentBatch)))
        learner.add_cb(SaveModelCallback())
    fit_with(change, pool, demo, compose())


def test_a_loss_that_is_not_finite_is_said_whatever_callbacks_do_then(pool, demo):
    from fastai.callback.tracker import SaveModelCallback

    def change(learner):
        learner.add_cb(SaveModelCallback())
        learner.model.network.head[7].bias.data[:] = np.nan
    with pytest.raises(FloatingPointError, match=r"the loss is not finite in step 1 of epoch 1 of 2\. Its batch: "):
        fit_with(change, pool, demo)


def test_a_callback_that_ends_a_training_keeps_no_network_that_is_not_finite(pool, demo):
    from fastai.callback.tracker import TerminateOnNaNCallback

    steps = []

    def not_a_number(images, targets, generator=None):
        steps.append(1)
        return images * np.nan if len(steps) == 3 else images, targets
    with pytest.raises(FloatingPointError, match=r"the loss is not finite in step 1 of epoch 2 of 2\. Its batch: "):
        fit_with(lambda learner: learner.add_cb(TerminateOnNaNCallback()), pool, demo, not_a_number)


def test_a_compiled_network_trains_as_an_uncompiled_one(pool, demo):
    """In float32, as compiled bfloat16 is refused on CPUs; and without dropout, whose draws differ."""
    losses = []
    for compiled in (False, True):
        tagger = tagger_for(demo, compiled=compiled)
        for layer in tagger.modules():
            if isinstance(layer, torch.nn.Dropout):
                layer.p = 0.0
        train = RandomExcerpts(pool, np.arange(40), 8, 4, generator())
        losses.append(fit(tagger, train, MiddleExcerpts(pool, []), 1, 1e-3).losses)
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-3)


def test_what_people_do_with_a_learner_works_or_says_how(pool, demo, tmp_path):
    learner = make_learner(tagger_for(demo), RandomExcerpts(pool, np.arange(40), 8, 6, generator()),
                           MiddleExcerpts(pool, np.arange(40, 60)))
    learner.path = tmp_path
    with learner.no_bar(), learner.no_logging():
        assert 1e-7 <= learner.lr_find(num_it=12, show_plot=False).valley <= 10
        learner.fit_one_cycle(2, 1e-3)
        assert len(learner.recorder.values) == 2 and len(learner.recorder.losses) == 12
        probabilities, targets = learner.get_preds()
    images, expected = next(iter(learner.dls.valid))
    assert torch.equal(targets, expected)
    torch.testing.assert_close(probabilities, learner.model.eval()(images).detach().sigmoid())
    with pytest.raises(NotImplementedError, match="save_tagger"):
        learner.export()
    with pytest.raises(NotImplementedError, match="predictions_figure"):
        learner.show_results()


def test_tensorboard_has_the_same_figures_and_changes_nothing(make_pipeline, finished_run, tmp_path):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    pipeline = make_pipeline(tmp_path, tensorboard=tmp_path / "logs")
    pipeline.run_stage(1)
    for fold, record in enumerate(pipeline.history(1)):
        name = f"stage-1_fold-{fold}"
        logs = event_accumulator.EventAccumulator(str(tmp_path / "logs" / name))
        logs.Reload()
        np.testing.assert_allclose([event.value for event in logs.Scalars("lwlrap")], record["lwlrap"], rtol=1e-6)
        epochs = record["loss"].reshape(len(record["lwlrap"]), -1)
        np.testing.assert_allclose([event.value for event in logs.Scalars("loss")], epochs.mean(1), rtol=1e-6)
        assert [event.step for event in logs.Scalars("loss")] == [epochs.shape[1] * (n + 1) for n in range(len(epochs))]
        ours, theirs = (run.weights / f"{name}.safetensors" for run in (pipeline, finished_run))
        assert ours.read_bytes() == theirs.read_bytes(), "the same weights as without"
    assert not list(finished_run.work.glob("**/events*"))


def test_a_training_that_is_taken_up_again_is_logged_once(tmp_path):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    interrupted = EpochLogs(tmp_path)
    interrupted.epoch(25, 0.7, 0.3)
    interrupted.epoch(50, 0.6, 0.4)
    interrupted.close()
    again = EpochLogs(tmp_path)
    again.epoch(25, 0.7, 0.3)
    again.whole({"loss": np.repeat([0.7, 0.6, 0.5], 25), "lwlrap": np.array([0.3, 0.4, 0.45])})
    logs = event_accumulator.EventAccumulator(str(tmp_path)).Reload()
    assert [(event.step, round(event.value, 6)) for event in logs.Scalars("loss")] == [(25, 0.7), (50, 0.6), (75, 0.5)]


def test_logs_of_a_training_that_a_callback_ended_in_its_first_epoch_are_empty(tmp_path):
    pytest.importorskip("tensorboard")
    EpochLogs(tmp_path).whole({"loss": np.array([]), "lwlrap": np.array([])})


def test_without_tensorboard_it_says_what_to_install(make_pipeline, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match="pip install tensorboard"):
        make_pipeline(tmp_path, tensorboard=tmp_path / "logs").run_stage(1)

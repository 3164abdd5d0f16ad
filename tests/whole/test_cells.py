"""What the notebooks do by hand is what the package does: their cells, run as they stand, against its functions."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import NOTEBOOKS, nbformat
from sklearn.metrics import label_ranking_average_precision_score

from freesound_tagging import augment
from freesound_tagging.images import MelConfig
from freesound_tagging.machine import device_named
from freesound_tagging.networks import NetworkSpec, Tagger
from freesound_tagging.prediction import Ensemble, members_of
from freesound_tagging.training import ClipPool, MiddleExcerpts, RandomExcerpts
from freesound_tagging.training.learner import fit

IMPORTS = {"training-cnn-model1": "d8b18da3", "inference-kernel": "7665b660"}


def source(name, cell):
    cells = {one.id: one.source for one in nbformat.read(NOTEBOOKS / f"{name}.ipynb", 4).cells}
    return "\n".join(line for line in cells[cell].splitlines() if not line.startswith("%"))


@pytest.fixture(scope="module")
def imported():
    """Of each notebook what its imports bring, and no more."""
    def names(name):
        space = {}
        exec("\n".join(line for line in source(name, IMPORTS[name]).splitlines()
                       if line.startswith(("import", "from", " ", ")"))), space)
        return space
    return {name: names(name) for name in IMPORTS}


@pytest.fixture
def run(imported):
    """Runs a cell with the names that it needs, changed lines first; what it leaves."""
    def run(cell, changed=None, name="training-cnn-model1", **given):
        text, space = source(name, cell), imported[name] | given
        for before, after in (changed or {}).items():
            assert before in text
            text = text.replace(before, after)
        exec(text, space)
        return space
    return run


@pytest.fixture
def two():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 1, 128, 128, generator=generator), torch.tensor([[1.0, 0, 0], [0, 1, 1]])


@pytest.mark.parametrize("draw", [37, *range(12)])
def test_specmix_by_hand_is_specmix_to_the_bit(run, two, draw):
    images, targets = two
    left = run("specmix-steps", {"draw = 37": f"draw = {draw}"}, images=images, targets=targets)
    expected = augment.specmix(images, targets, generator=torch.Generator().manual_seed(draw))
    assert torch.equal(left["mixed"], expected[0]) and torch.equal(left["weights_mixed"], expected[1])


def test_where_stripes_cross_pixels_are_counted_once(run):
    """Of a black and a white image, how grey the mixed one is on average is the share that came from the partner."""
    images = torch.stack([torch.zeros(1, 128, 128), torch.ones(1, 128, 128)])
    left = run("specmix-steps", images=images, targets=torch.eye(2))
    whites = left["mixed"].mean((1, 2, 3))
    assert 0.05 < whites[0] < 0.5, "something is mixed"
    torch.testing.assert_close(left["weights_mixed"], torch.stack([1 - whites, whites], 1), rtol=0, atol=0)


def test_mixup_by_hand_is_mixup_to_the_bit(run, two):
    images, targets = two
    for draw in range(5):
        left = run("mixup-steps", images=images, targets=targets, draw=draw)
        expected = augment.mixup(images, targets, generator=torch.Generator().manual_seed(draw))
        assert torch.equal(left["blended"], expected[0]) and torch.equal(left["weights_blended"], expected[1])


def test_a_clip_is_shown_again_after_later_cells_have_picked_others(run, demo):
    """Where `clip` is the number of one."""
    config = MelConfig()
    left = run("sound-to-image", data=demo, settings=SimpleNamespace(mel=config), clip=np.int64(3))
    given = {name: left[name] for name in ("example", "span", "clip")} | {"config": config}
    run("fcc23fa5", **given)
    run("clip-player", **given)
    assert left["example"]["fname"] == demo.curated["fname"][0]


def test_lwlrap_by_hand_is_scikit_learns(run, demo):
    rng = np.random.default_rng(0)
    truth = (rng.random((20, 12)) < 0.2).astype(np.float32)
    truth[7, :4] = 1
    scores = rng.random((20, 12), np.float32)

    class Learn:
        def get_preds(self):
            return torch.from_numpy(scores), torch.from_numpy(truth)

    left = run("lwlrap-steps", learn=Learn(), data=demo, pool=None, batches=None, tagger=None)
    clip = left["clip"]
    assert truth[clip].sum() == truth.sum(1).max()
    assert left["precisions"].mean() == pytest.approx(
        label_ranking_average_precision_score(truth[[clip]], scores[[clip]]))
    assert left["ranked"].index[left["ranked"]["carried"]].tolist() == left["ranks"].tolist()


def test_one_fold_by_hand_is_what_fit_trains(run, make_pipeline, demo, tmp_path):
    pipeline = make_pipeline(tmp_path)
    given = {"settings": pipeline.profile, "pipeline": pipeline, "clips": pipeline.clips, "store": pipeline.store,
             "config": pipeline.profile.mel, "seed": 3, "device": "cpu"}
    with torch.random.fork_rng():
        left = run("fold-steps", **given)
    noisy = pipeline.clips.is_of("noisy")
    assert set(left["trained"]) | set(left["held_out"]) == set(np.flatnonzero(noisy))
    assert np.array_equal(left["trained"], pipeline.training_clips(1, 0))

    here = device_named("cpu")
    with torch.random.fork_rng():
        torch.manual_seed(3)
        generator = torch.Generator().manual_seed(3)
        pool = ClipPool.of(pipeline.store, pipeline.targets, here)
        excerpts = RandomExcerpts(pool, pipeline.training_clips(1, 0), 16, 10, generator)
        expected = Tagger(NetworkSpec(pipeline.profile.network, pipeline.profile.options, pipeline.clips.vocabulary,
                                      pipeline.profile.mel, *pipeline.normalization))
        fit(expected, excerpts, MiddleExcerpts(pool, left["held_out"]), 5, pipeline.stages[1].lr, augment.compose(),
            generator)
    ours, theirs = left["tagger"].state_dict(), expected.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert len(left["learn"].recorder.hps["lr"]) == 50


def test_the_rule_by_hand_selects_and_trains_what_the_pipeline_does(run, finished_run, capsys):
    given = {"pipeline": finished_run, "clips": finished_run.clips}
    left = run("selection-rule", **given)
    noisy = finished_run.clips.is_of("noisy")
    assert left["selected"].any()
    assert np.array_equal(left["selected"], finished_run.selected(3)[noisy])
    products = left["both"][0] * left["both"][1]
    assert (products[left["selected"]] >= 0.25 - 1e-9).all(), "a geometric mean of a half"
    left = run("stage-3-fold", **given, **{name: left[name] for name in ("by_two", "rule", "noisy", "selected")})
    assert np.array_equal(left["fold_0"], finished_run.training_clips(3, 0))
    assert "the same as the pipeline's: True" in capsys.readouterr().out


def test_a_selection_that_cannot_be_made_yet_is_said(run, make_pipeline, tmp_path, capsys):
    pipeline = make_pipeline(tmp_path)
    left = run("selection-rule", pipeline=pipeline, clips=pipeline.clips)
    assert not left["by_two"]
    assert "Stage 3 selects noisy clips once stage 1 and stage 2 is finished." in capsys.readouterr().out


def test_a_clips_windows_by_hand_give_what_the_ensemble_predicts(run, finished_run, demo_stores, demo):
    networks, store = Ensemble.load(finished_run.weights, "cpu"), demo_stores["test"]
    left = run("windows-by-hand", name="inference-kernel", networks=networks, store=store, data=demo, device="cpu")
    assert len(left["starts"]) > 1
    expected = networks.predict(store, progress=False)[-1, left["clip"]]
    np.testing.assert_allclose(left["mean"], expected, atol=1e-6)
    assert members_of(networks)["votes"].all()


def test_what_cannot_be_read_is_not_counted_among_the_labels(run, finished_run, demo, monkeypatch):
    curated = np.flatnonzero(finished_run.clips.is_of("curated"))
    known = finished_run.known.copy()
    known[curated[:2]] = False
    monkeypatch.setattr(finished_run, "known", known)
    left = run("3292a1c1", pipeline=finished_run, curated=curated, data=demo)
    assert left["per_class"]["clips"].sum() == finished_run.targets[curated[2:]].sum()


def test_where_a_patch_is_covered_the_answer_falls_if_it_hangs_on_it(run, finished_run):
    """A network that says how bright one pixel is: nothing else that is covered changes its answer."""
    def network(images):
        return 10 * images[:, 0, 60, 100, None].expand(-1, 12)

    curated = np.flatnonzero(finished_run.clips.is_of("curated"))
    left = run("occlusion-steps", finished=[4], last=4, read=curated, pipeline=finished_run,
               clips=finished_run.clips, weights=finished_run.weights, store=finished_run.store, seed=0,
               config=finished_run.profile.mel, data=finished_run.clips, load_tagger=lambda path: network)
    drop, image = left["drop"], left["image"]
    assert drop.shape == (16, 16)
    expected = 10 * (image[0, 0, 60, 100] - image.mean())
    covering = np.abs(np.arange(4, 128, 8)[:, None] - [[60]])[:, 0] <= 12, np.abs(np.arange(4, 128, 8) - 100) <= 12
    inside = np.ix_(*covering)
    assert drop[inside].size == 9
    np.testing.assert_allclose(drop[inside], float(expected), atol=1e-5)
    drop[inside] = 0
    assert not drop.any()
    own = curated[finished_run.folds[curated] == 0]
    assert left["mine"].tolist() == own.tolist(), "never trained on"


def test_members_frames_go_on_as_pandas_has_them(run, finished_run, demo, monkeypatch, tmp_path):
    """The cell of the score writes a file, of every model and of all, with what was published beside none of it."""
    networks = Ensemble.load(finished_run.weights, "cpu")
    probabilities = np.random.default_rng(0).random((len(networks.taggers), len(demo.test), 12), np.float32)
    left = run("1c69ed1a", name="inference-kernel", data=demo, members=members_of(networks),
               probabilities=probabilities, submission_file=tmp_path / "s.csv", Path=type(tmp_path))
    written = (tmp_path / "s.scores.txt").read_text()
    assert "cnn-model-1, model 2" in written and "published" not in written
    assert isinstance(left["scores"], pd.DataFrame)


def test_no_score_of_an_earlier_submission_is_left_where_the_truth_is_not_known(run, tmp_path):
    """`make submission` prints the file that is there."""
    (tmp_path / "s.scores.txt").write_text("of others")
    run("1c69ed1a", name="inference-kernel", data=SimpleNamespace(truth=None), submission_file=tmp_path / "s.csv",
        Path=type(tmp_path))
    assert not (tmp_path / "s.scores.txt").exists()

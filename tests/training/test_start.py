"""A run that begins with trained networks: what it takes of them, and which it refuses."""

import dataclasses
import json
import pickle

import pytest
import torch
from exports import as_fastai, save_like_torch_1_0
from torch import nn

from freesound_tagging.images.mel import MelConfig
from freesound_tagging.networks.models import NETWORKS, cnn_model_1
from freesound_tagging.networks.tagger import NetworkSpec, Tagger
from freesound_tagging.networks.weights import load_tagger, save_tagger, weights_path
from freesound_tagging.training.estimate import estimate
from freesound_tagging.training.profile import Profile, load_profile
from freesound_tagging.training.stages import StageConfig
from freesound_tagging.training.start import StartingWeights, find_start

STAGE = '[[stage]]\ntrains_on = ["curated"]\npasses = 1\nlr = 0.003\nleast_steps = 2\n'
OTHERS = ("Owl", "Bark", "Raven")  # of which the demo data knows one
WIDTH = {"width": 2}
LAST = ("network.1.7.weight", "network.1.7.bias")


def network(folder, labels=OTHERS, stage=1, fold=0, mel=None, options=WIDTH, name="cnn-model-1"):
    """A network of random weights, in a file."""
    with torch.random.fork_rng():
        torch.manual_seed(100 * stage + fold)
        tagger = Tagger(NetworkSpec(name, options, tuple(labels), mel or MelConfig(), (0.4,) * 3,
                                    (0.3,) * 3, stage=stage, fold=fold, seed=7, voting=(stage,))).eval()
    save_tagger(tagger, path := weights_path(folder, stage, fold))
    return path, tagger.state_dict()


def profile(start, **changes):
    return Profile(**{"n_folds": 2, "stages": [StageConfig(1, ("curated",), 1, 0.003, least_steps=2)],
                      "options": {"width": 2}, "batch_size": 16, "start": str(start)} | changes)


def new(labels, options=WIDTH, name="cnn-model-1"):
    """A new network, and what it was."""
    tagger = Tagger(NetworkSpec(name, options, tuple(labels), MelConfig(), (0.4,) * 3, (0.3,) * 3))
    return tagger, {key: tensor.clone() for key, tensor in tagger.state_dict().items()}


def test_all_but_the_last_layer_is_taken_and_of_that_the_labels_that_both_know(tmp_path):
    path, theirs = network(tmp_path, ("Owl", "Bark", "Raven", "Tap"))
    tagger, before = new(("Tap", "Meow", "Bark"))
    find_start(path).of(0).fill(tagger)
    after = tagger.state_dict()
    assert {key for key in after if not torch.equal(after[key], theirs[key])} == set(LAST)
    for key in LAST:
        assert torch.equal(after[key], torch.stack([theirs[key][3], before[key][1], theirs[key][1]]))


@pytest.mark.parametrize("labels", [("Raven", "Owl", "Bark"), ("Owl", "Bark", "Cat")])
def test_as_many_labels_are_not_the_same_ones(tmp_path, labels):
    path, theirs = network(tmp_path)
    tagger, before = new(labels)
    find_start(path).of(0).fill(tagger)
    for key in LAST:
        expected = [theirs[key][OTHERS.index(label)] if label in OTHERS else before[key][row]
                    for row, label in enumerate(labels)]
        assert torch.equal(tagger.state_dict()[key], torch.stack(expected))


def test_the_same_labels_take_all(tmp_path):
    path, theirs = network(tmp_path)
    tagger, _ = new(OTHERS)
    find_start(path).of(0).fill(tagger)
    assert all(torch.equal(tensor, theirs[key]) for key, tensor in tagger.state_dict().items())


def test_where_the_file_is_not_it_is_sent_along(tmp_path):
    path, theirs = network(tmp_path)
    sent = pickle.dumps(find_start(path).of(0))
    path.unlink()
    tagger, _ = new(("Bark", "Meow"))
    pickle.loads(sent).fill(tagger)
    assert torch.equal(tagger.state_dict()["network.0.0.weight"], theirs["network.0.0.weight"])
    assert torch.equal(tagger.state_dict()[LAST[0]][0], theirs[LAST[0]][1])


def test_an_export_of_the_authors_is_begun_with(tmp_path):
    theirs = cnn_model_1(2, 2)
    save_like_torch_1_0(tmp_path / "stage-11_fold-3.pkl", as_fastai(theirs))
    start = find_start(tmp_path)
    assert (start.specs[0].stage, start.specs[0].fold) == (4, 3)
    tagger, _ = new(("Bark", "Meow"))
    start.of(0).fill(tagger)
    assert torch.equal(tagger.network[0][0].weight, theirs[0][0].weight)
    assert torch.equal(tagger.network[1][3].weight, theirs[1][3].weight), "the hidden layer"


class TwoLayers(nn.Module):
    """Of which one is as large as two labels by chance."""

    def __init__(self, n_classes):
        super().__init__()
        self.square, self.last = nn.Linear(2, 2), nn.Linear(2, n_classes)

    def forward(self, x):
        return self.last(self.square(x.mean((2, 3))[:, :2]))


def test_a_network_of_ones_own_has_its_rows_where_a_label_more_changes_its_shape(tmp_path, monkeypatch):
    name, labels = "my_networks:two_layers", ("Bark", "Meow")
    monkeypatch.setitem(NETWORKS, name, TwoLayers)
    path, theirs = network(tmp_path, labels, options={}, name=name)
    tagger, before = new(("Meow", "Tap"), {}, name)
    find_start(path).of(0).fill(tagger)
    after = tagger.state_dict()
    assert torch.equal(after["network.last.weight"], torch.stack([theirs["network.last.weight"][1],
                                                                  before["network.last.weight"][1]]))
    assert torch.equal(after["network.square.weight"], theirs["network.square.weight"]), "as large as the labels"


def test_each_fold_begins_with_one_of_the_last_voting_stage(make_pipeline, tmp_path):
    for stage in (1, 2):
        for fold in range(2):
            network(tmp_path / "start", stage=stage, fold=fold)
    run = make_pipeline(tmp_path, profile=profile(tmp_path / "start", n_folds=3))
    paths = [run.training(1, fold).start.path for fold in range(3)]
    assert paths == [weights_path(tmp_path / "start", 2, fold) for fold in (0, 1, 0)]
    spec = run.training(1, 0).spec
    assert (spec.mean, spec.std) == ((0.4,) * 3, (0.3,) * 3), "images are normalized as the start's were"
    assert (spec.vocabulary, spec.stage, spec.fold) == (run.clips.vocabulary, 1, 0)


def test_a_run_begins_with_them_says_so_and_goes_on(make_pipeline, tmp_path):
    path, theirs = network(tmp_path / "start", ("Owl", "Meow"))
    own = profile(path, stages=[StageConfig(1, ("curated",), 1, 0.0, least_steps=2),
                                StageConfig(2, ("curated",), 1, 0.0, starts_from=1, least_steps=2)], weight_decay=0.0)
    run = make_pipeline(tmp_path, profile=own)
    said = (f"begins with 1 network of stage 1 in {tmp_path}/start: all of each but the last layer, and the last "
            "layer's rows of Meow; 11 labels are new")
    assert said in repr(run) and said in "\n".join(estimate([run]))
    run.run()
    meow = run.clips.vocabulary.index("Meow")
    for fold in range(2):  # of a learning rate of 0 nothing but statistics changes, in two stages
        after = load_tagger(weights_path(run.weights, 2, fold)).state_dict()
        assert torch.equal(after["network.0.0.weight"], theirs["network.0.0.weight"])
        assert torch.equal(after[LAST[0]][meow], theirs[LAST[0]][1])
    assert not make_pipeline(tmp_path, profile=own).unfinished()
    described = json.loads((run.work / "run.json").read_text())
    assert len(described["start"]) == 16 and str(tmp_path) not in json.dumps(described)
    card = (run.weights / "README.md").read_text()
    assert "| 1 | networks trained before |" in card
    assert "these scores, and what was fitted on them, are too good" in card


def test_a_run_is_not_continued_from_another_start(make_pipeline, tmp_path):
    path, _ = network(tmp_path / "start")
    make_pipeline(tmp_path, profile=profile(path))
    moved = path.rename(tmp_path / "moved.safetensors")
    make_pipeline(tmp_path, profile=profile(moved))  # it is what is in the file that counts
    other, _ = network(tmp_path / "start", fold=1)
    with pytest.raises(ValueError, match=r"start was '\w{16}' and is '\w{16}'"):
        make_pipeline(tmp_path, profile=profile(other))
    with pytest.raises(ValueError, match=r"start was '\w{16}' and is None"):
        make_pipeline(tmp_path, profile=dataclasses.replace(profile(path), start=None))


def test_a_file_has_its_network_and_images_of_what_it_begins_with(tmp_path):
    mel = MelConfig(n_mels=32, excerpt_frames=32)
    network(tmp_path / "weights/run", mel=mel, options={"width": 3})
    (tmp_path / "mine.toml").write_text(f'n_folds = 2\nstart = "weights"\n{STAGE}')
    found = load_profile(tmp_path / "mine.toml")
    assert (found.network, found.options, found.mel) == ("cnn-model-1", {"width": 3}, mel)
    assert found.start == str(tmp_path / "weights"), "seen from the file's folder"


@pytest.mark.parametrize(("settings", "said"), [
    ("[mel]\nn_mels = 64\n", r"mel is \{'n_mels': 64\} and was \{'n_mels': 128\} where the run begins; leave it out"),
    ("options = {width = 4}\n", r"options is \{'width': 4\} and was \{'width': 2\} where the run begins"),
    ('network = "vgg16"\n', "network is vgg16 and was cnn-model-1 where the run begins"),
    ("start = 3\n", "start=3: expected a text")])
def test_settings_that_are_not_those_of_the_start_are_refused(tmp_path, settings, said):
    network(tmp_path / "weights")
    first, mel = ("", settings) if "[mel]" in settings else (settings, "")
    start = "" if "start" in settings else 'start = "weights"\n'
    (tmp_path / "mine.toml").write_text(f"n_folds = 2\n{start}{first}{mel}{STAGE}")
    with pytest.raises(ValueError, match=rf"mine\.toml: .*{said}"):
        load_profile(tmp_path / "mine.toml")


def test_a_start_that_is_none_is_named(tmp_path):
    (tmp_path / "mine.toml").write_text(f'n_folds = 2\nstart = "nowhere"\n{STAGE}')
    with pytest.raises(ValueError, match=rf"mine\.toml: no stage-.* in {tmp_path}/nowhere or below"):
        load_profile(tmp_path / "mine.toml")
    (tmp_path / "one.safetensors").write_text("no network")
    with pytest.raises(ValueError, match=r"one\.safetensors cannot be loaded"):
        find_start(tmp_path / "one.safetensors")


def test_a_folder_of_two_runs_is_refused_unless_the_network_tells_which(tmp_path):
    network(tmp_path / "a")
    network(tmp_path / "b", name="vgg16")
    with pytest.raises(ValueError, match=rf"of 2 runs: cnn-model-1 in {tmp_path}/a, vgg16 in {tmp_path}/b"):
        find_start(tmp_path)
    assert find_start(tmp_path, "vgg16").specs[0].network == "vgg16"
    with pytest.raises(ValueError, match=r"has no network timm:resnet18; give a folder that does"):
        find_start(tmp_path, "timm:resnet18")
    network(tmp_path / "a", ("One", "Two", "Three"), fold=1)
    with pytest.raises(ValueError, match=r"fold-1\.safetensors and .*fold-0\.safetensors differ in vocabulary"):
        find_start(tmp_path / "a")


def test_weights_of_another_file_under_the_same_name_are_refused(tmp_path):
    path, _ = network(tmp_path)
    start = find_start(path).of(0)
    network(tmp_path, ("Owl", "Bark", "Wren"))
    with pytest.raises(ValueError, match="is another network: vocabulary is"):
        StartingWeights(path, start.spec).fill(new(("Bark",))[0])

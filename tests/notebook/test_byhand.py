"""What the notebooks' cells draw and pick, without a notebook."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from freesound_tagging.images import MelConfig
from freesound_tagging.networks import create
from freesound_tagging.notebook import byhand, windows
from freesound_tagging.notebook.blocks import network_table
from freesound_tagging.notebook.reports import selection_table


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_cnn_model_1_has_the_published_blocks_and_parameters():
    """By hand: the sizes of the published Table 1, and of its 5,258,128 parameters the first block's."""
    table = network_table(create("cnn-model-1", 80), MelConfig())
    assert table["output"].tolist() == ["64 x 64 x 64", "128 x 32 x 32", "256 x 16 x 16", "512 x 8 x 8", "1024", "512",
                                        "80", ""]
    assert table["layers"]["body 1"] == "2 x (conv 3x3, BN, ReLU), average pool 2x2"
    assert table["layers"]["head 2"] == "BN, dropout 25%, linear, ReLU"
    assert table["parameters"]["body 1"] == (3 * 9 + 1 + 2) * 64 + (64 * 9 + 1 + 2) * 64
    assert table["parameters"]["head 3"] == 2 * 512 + 512 * 80 + 80
    assert table["parameters"]["all"] == 5_258_128 == table["parameters"][:-1].sum()
    products = [(128 >> block) ** 2 * 9 * (before * after + after * after)
                for block, (before, after) in enumerate([(3, 64), (64, 128), (128, 256), (256, 512)])]
    products += [0, 1024 * 512, 512 * 80]
    np.testing.assert_allclose(table["arithmetic"][:-1], np.array(products) / sum(products))


def test_between_vggs_body_and_head_stands_torchvisions_pool():
    network = create("vgg16", 80, width=4).train()
    table = network_table(network, MelConfig())
    assert network.training
    assert table["layers"]["body 6"] == "average pool to 7x7"
    assert [table["output"][f"body {n}"] for n in (5, 6)] == ["32 x 4 x 4", "32 x 7 x 7"]
    assert table["layers"]["body 5"] == "3 x (conv 3x3, BN, ReLU), max pool 2x2"


def test_a_network_of_ones_own_is_a_table_of_its_parts():
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 128 * 128, 5))
    table = network_table(network, MelConfig())
    assert table["layers"].tolist() == ["Flatten", "linear", ""]
    assert table["arithmetic"].tolist() == [0, 1, 1]


class Recurrent(torch.nn.Module):
    """As many are for sounds: convolutions, a GRU over the frames, a layer over what it gives, and its mean."""

    def __init__(self):
        super().__init__()
        self.convolutions = torch.nn.ModuleList([torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.MaxPool2d((8, 2))])
        self.over_time = torch.nn.GRU(4 * 16, 10, batch_first=True)
        self.last = torch.nn.Linear(10, 5)

    def forward(self, images):
        for layer in self.convolutions:
            images = layer(images)
        found, _ = self.over_time(images.flatten(1, 2).transpose(1, 2))
        return self.last(found).mean(1)


def test_of_a_network_of_ones_own_every_layer_counts_as_often_as_it_is_used():
    """By hand: 64 of 128 frames are left for the GRU, of three gates, and for the layer behind it."""
    table = network_table(Recurrent(), MelConfig())
    assert table["output"].tolist() == ["", "64 x 10", "64 x 5", ""]
    assert table["parameters"].tolist()[:3] == [3 * 9 * 4 + 4, 3 * 10 * (64 + 10 + 2), 10 * 5 + 5]
    products = np.array([128 * 128 * 3 * 9 * 4, 64 * 3 * 10 * (64 + 10), 64 * 10 * 5])
    np.testing.assert_allclose(table["arithmetic"][:3], products / products.sum())


def test_kernels_of_two_sizes_are_named_by_both():
    network = torch.nn.Sequential(torch.nn.MaxPool2d((8, 2)), torch.nn.AvgPool2d(2), torch.nn.AdaptiveAvgPool2d((1, 4)))
    assert network_table(torch.nn.Sequential(*network, torch.nn.Conv2d(3, 1, (1, 4))), MelConfig())["layers"].tolist(
        ) == ["max pool 8x2", "average pool 2x2", "average pool to 1x4", "conv 1x4", ""]


def test_the_first_clip_that_can_be_read_is_picked(demo, tmp_path):
    broken = tmp_path / "broken.wav"
    broken.write_text("no sound")
    table = demo.curated.head(3).copy()
    assert byhand.first_readable(table, MelConfig())["path"] == table["path"][0]
    table["path"] = [broken, *table["path"][1:]]
    assert byhand.first_readable(table, MelConfig())["path"] == table["path"][1]
    assert byhand.first_readable(table.head(1), MelConfig())["path"] == broken, "of which its cell says what is wrong"


def test_the_longest_clip_of_a_label_alone_is_picked(finished_run):
    clips, store = finished_run.clips, finished_run.store
    table = clips.table.assign(length=store.lengths)
    for label, clip in zip((0, 4, 99), byhand.longest_alone(clips, store, (0, 4, 99))):
        name = clips.vocabulary[min(label, 11)]
        mine = table[(table["set"] == "curated") & (table["labels"] == (name,))]
        assert table["labels"][clip] == (name,) and table["length"][clip] == mine["length"].max()


def test_the_marked_clips_are_those_of_the_table(finished_run):
    rng = np.random.default_rng(0)
    noisy = finished_run.clips.table[finished_run.clips.is_of("noisy")].reset_index(drop=True)
    scores = {"model 1": rng.random(len(noisy)), "model 2": rng.random(len(noisy))}
    selected = scores["model 1"] * scores["model 2"] > 0.25
    marked = byhand.told_apart(list(scores.values()), selected, most=2)
    html = selection_table(noisy, scores, selected, MelConfig(), most=2).data
    assert len(marked) == 4
    assert sorted(marked, key=lambda clip: html.index(noisy["fname"][clip])) == marked
    figure = byhand.agreement_figure(scores, selected, 0.5, {clip: noisy["fname"][clip] for clip in marked})
    axis = figure.axes[0]
    assert [text.get_text() for text in axis.texts] == [noisy["fname"][clip] for clip in marked]
    assert [len(dots.get_offsets()) for dots in axis.collections] == [(~selected).sum(), selected.sum()]
    line = axis.lines[0].get_xydata()
    np.testing.assert_allclose(line.prod(1), 0.25)
    moved = np.abs(axis.collections[1].get_offsets() - np.stack(list(scores.values()), 1)[selected])
    assert moved.max() <= 0.015


def test_two_networks_are_compared_on_the_diagonal():
    axis = byhand.agreement_figure({"one": np.array([0.2, 1]), "other": np.array([0.4, 0.5])}, title="both").axes[0]
    assert axis.get_title() == "both" and axis.get_ylabel() == "lwlrap of the clip under other"
    assert axis.lines[0].get_xydata().tolist() == [[0, 0], [1, 1]]


def test_the_folds_picture_is_white_where_a_clip_is_held_out(finished_run):
    clips, folds = finished_run.clips, finished_run.folds
    curated, noisy = byhand.folds_figure(clips, folds, most=1000).axes
    for axis, name in ((curated, "curated"), (noisy, "noisy")):
        white = (np.asarray(axis.images[0].get_array()) == 1).all(2)
        assert white.shape == (3, clips.is_of(name).sum())
        assert (white.sum(0) == 1).all(), "by one fold"
        assert white.sum(1).tolist() == [(folds[clips.is_of(name)] == fold).sum() for fold in range(3)]
    drawn = byhand.folds_figure(clips, folds, most=10).axes[0].images[0].get_array()
    assert drawn.shape == (3, 10, 3)


def test_things_are_shown_where_they_are_called_for(capsys):
    figure = plt.figure()
    byhand.show("before", figure, None, "after")
    said = capsys.readouterr().out
    assert said.index("before") < said.index("Figure(") < said.index("after") and "None" not in said
    assert not plt.fignum_exists(figure.number), "or a notebook shows it again"


def test_trials_are_means_over_their_folds():
    folds = [{"loss": np.full(20, 0.2), "lwlrap": np.array([0.1, 0.5])},
             {"loss": np.full(20, 0.4), "lwlrap": np.array([0.3, 0.8])}]
    loss, score = byhand.trials_figure({"as it is": folds, "mine": folds[:1]}).axes
    np.testing.assert_allclose(loss.lines[0].get_ydata(), 0.3)
    np.testing.assert_allclose(score.lines[0].get_ydata(), [0.2, 0.65])
    assert [text.get_text() for text in score.get_legend().get_texts()] == ["as it is: 0.650", "mine: 0.500"]


def test_a_clips_windows_stand_over_their_time_and_their_mean_beside(demo_stores):
    store = demo_stores["test"]
    clip, config = int(store.lengths.argmax()), store.config
    says = np.array([[0.1, 0.9, 0.0], [0.3, 0.5, 0.0]])
    figure = windows.windows_figure(store[clip], [0, 40], says, ["a$", "b", "c"], config, "x", top=2)
    _, spans, heat, bars = figure.axes
    assert [bar.get_x() for bar in spans.patches] == pytest.approx([0, 40 * 694 / 44100])
    assert [bar.get_width() for bar in spans.patches] == pytest.approx([128 * 694 / 44100] * 2)
    assert [label.get_text() for label in heat.get_yticklabels()] == ["b", r"a\$"]
    assert [text.get_text() for text in heat.texts] == ["0.90", "0.10", "0.50", "0.30"]
    assert [bar.get_width() for bar in bars.patches] == pytest.approx([0.7, 0.2])


def test_of_a_quarter_of_an_hour_the_windows_fit_on_a_page():
    """900 s are 57,190 frames; each of their windows has its bar, and the figure is no longer than a page or two."""
    starts, config = np.arange(0, 57_190 - 128, 48), MelConfig()
    says = np.zeros((len(starts), 3))
    figure = windows.windows_figure(np.zeros((128, 57_190), np.uint8), starts, says, ["a", "b", "c"], config)
    spans = figure.axes[1]
    assert [bar.get_x() for bar in spans.patches] == pytest.approx(starts * 694 / 44100)
    assert figure.get_size_inches()[1] < 15 and not spans.texts


def test_what_an_answer_hangs_on_is_drawn_over_the_image():
    drop = np.zeros((16, 16))
    drop[3, 5] = 0.4
    image, heat, _ = windows.occlusion_figure(np.zeros((128, 128)), drop, MelConfig(), "$x$").axes
    assert image.get_title() == r"\$x\$"
    assert np.array_equal(heat.images[1].get_array(), drop) and heat.images[1].get_clim() == (-0.4, 0.4)
    assert heat.images[0].get_extent() == heat.images[1].get_extent()

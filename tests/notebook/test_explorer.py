"""The explorer of augmentations without a browser: what it shows is what the augmentations do."""

import base64
import io
import re
import sys
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pytest
import soundfile as sf
import torch
from PIL import Image

from freesound_tagging.augment import PUBLISHED, mixup, spec_augment, specmix
from freesound_tagging.notebook.augmented import SETTINGS, SHOWN, augmented, explorer_figure, settings_of
from freesound_tagging.notebook.explorer import augmentation_explorer
from freesound_tagging.notebook.plots import player, some_excerpts, sound_element


@pytest.fixture
def two_clips():
    generator = torch.Generator().manual_seed(3)
    return torch.rand((2, 1, 128, 128), generator=generator), torch.tensor([[1.0, 0, 0], [0, 1, 1]])


@pytest.fixture
def shown(demo, demo_stores):
    yield augmentation_explorer(demo.curated, demo_stores["curated"], demo.targets(demo.curated), demo.vocabulary)
    plt.close("all")


def test_of_stretches_the_explorer_plays_the_stretches(demo, demo_stores):
    """Of each clip its second half second, which is all that the players have."""
    table = demo.curated.assign(start=0.5, end=1.0)
    shown = augmentation_explorer(table, demo_stores["curated"], demo.targets(demo.curated), demo.vocabulary)
    config = demo_stores["curated"].config
    expected = [player(demo.curated["path"][box.value], config, "", span=(0.5, 1.0)).data for box in shown.clips]
    assert [html.value for html in shown._players] == expected
    assert expected[0] != player(demo.curated["path"][shown.clips[0].value], config, "").data
    plt.close("all")


def test_the_outlined_pixels_are_those_of_the_partner(two_clips):
    images, targets = two_clips
    for seed in range(5):
        step = partial(specmix, stripes=(2, 1), min_width=0.1)
        result, weights, replaced = augmented(images, targets, [step], seed)
        assert torch.equal(result[0, 0], torch.where(replaced, images[1, 0], images[0, 0]))
        share = replaced.float().mean()
        assert 0 < share < 1
        torch.testing.assert_close(weights[0], torch.stack([1 - share, share, share]))


def test_the_outlined_pixels_are_those_that_specaugment_blanks(two_clips):
    images, targets = two_clips
    result, weights, replaced = augmented(images, targets, [partial(spec_augment, warp=0.0, max_width=0.5)], seed=1)
    assert replaced.any()
    torch.testing.assert_close(result[0, 0][~replaced], images[0, 0][~replaced])
    torch.testing.assert_close(result[0, 0][replaced], images[0].mean().expand(int(replaced.sum())))
    assert torch.equal(weights, targets)
    _, _, replaced = augmented(images, targets, [partial(spec_augment, stripes=0)], seed=1)
    assert not replaced.any(), "warped time alone replaces nothing"


def test_in_the_full_chain_the_outline_is_specmixs_and_both_steps_mix(two_clips):
    images, targets = two_clips
    same = 0
    for seed in range(8):
        result, weights, replaced = augmented(images, targets, PUBLISHED, seed)
        before, mixed, _ = augmented(images, targets, PUBLISHED[:-1], seed)
        assert 0 < mixed[0, 0] < 1 and 0 < weights[0, 0] < 1
        if torch.equal(result[0, 0][~replaced], before[0, 0][~replaced]):  # else SpecMix needed another draw
            same += 1
            assert torch.equal(result[0, 0][replaced], before[1, 0][replaced])
    assert same > 0


def test_the_same_seed_shows_the_same_draw_and_another_another(two_clips):
    images, targets = two_clips
    first, again, other = (augmented(images, targets, [mixup], seed)[1] for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_settings_are_the_published_ones():
    assert settings_of("SpecMix") == {"min_width": 0.0, "max_width": 0.25, "stripes": (1, 1)}
    assert settings_of("mixup") == {"alpha": 0.4}
    assert settings_of("the full chain") == {"max_zoom": 1.05, "max_change": 0.2, "p": 0.75, "alpha": 0.4,
                                             "min_width": 0.0, "max_width": 0.25, "stripes": (1, 1)}


@pytest.mark.parametrize(("rate", "played"), [(96_000, 48_000), (10_000, 48_000), (22_050, 22_050)])
def test_sounds_of_any_rate_can_be_played(rate, played):
    """A tone of 1 kHz for a second."""
    tone = np.sin(2 * np.pi * 1000 * np.arange(rate) / rate).astype(np.float32)
    data = sound_element(tone, rate).partition("base64,")[2].partition('"')[0]
    signal, found = sf.read(io.BytesIO(base64.b64decode(data)))
    assert found == played and 0.9 < len(signal) / played < 1.2
    middle = signal[played // 4:played // 4 + played // 2]
    assert np.abs(np.fft.rfft(middle)).argmax() == 500, "periods in half a second"


def test_every_widget_changes_the_picture(shown):
    def picture():
        return np.asarray(Image.open(io.BytesIO(shown.image.value)).convert("L"))

    def moved(widget, value):
        before = picture()
        widget.value = value
        return not np.array_equal(before, picture())

    for name in [name for name in SHOWN if name != shown.augmentation.value]:
        assert moved(shown.augmentation, name)
        assert len(shown._sliders.children) == sum(len(SETTINGS[setting]) for setting in settings_of(name))
    assert moved(shown.augmentation, "SpecMix")
    assert moved(shown.settings["max_width"][0], 1.0)
    assert moved(shown.settings["stripes"][1], 3)
    assert moved(shown.seed, 7)
    player = shown._players[1].value
    other = [clip for _, clip in shown.clips[1].options if clip != shown.clips[1].value][-1]
    assert moved(shown.clips[1], other)
    assert shown._players[1].value != player
    assert player.startswith("<audio")


@pytest.mark.parametrize(("moved", "to", "other"), [("min_width", 0.9, "max_width"), ("max_width", 0.0, "min_width")])
def test_a_width_takes_the_other_along_where_they_would_disagree_and_there_is_one_picture(shown, moved, to, other):
    shown.settings["min_width"][0].value = 0.2  # the greatest is 0.25
    pictures = []
    shown.image.observe(lambda change: pictures.append(change.new), "value")
    shown.settings[moved][0].value = to
    assert shown.settings[other][0].value == shown.settings[moved][0].value == to
    assert len(pictures) == 1
    clips = [dropdown.value for dropdown in shown.clips]
    expected = explorer_figure(some_excerpts(shown._store, clips), shown._targets[clips], shown._vocabulary,
                                        "SpecMix", {"min_width": to, "max_width": to, "stripes": (1, 1)},
                                        config=shown._store.config)
    file = io.BytesIO()
    expected.savefig(file, format="png", dpi=90)
    assert pictures[0] == file.getvalue()


def test_widths_that_agree_are_left_alone(shown):
    shown.settings["min_width"][0].value = 0.1
    shown.settings["max_width"][0].value = 0.8
    assert [shown.settings[name][0].value for name in ("min_width", "max_width")] == [0.1, 0.8]


def test_the_ends_of_a_range_have_one_pair_of_words():
    said = [slider[0] for sliders in SETTINGS.values() for slider in sliders]
    assert [words for words in said if words.startswith("greatest")] == [
        "greatest zoom", "greatest change", "greatest stripe width"]
    assert "least stripe width" in said
    assert not [words for words in said if re.search("most|narrow|wide|min|max", words.replace("mixup", ""))]


def test_where_ipywidgets_is_not_installed_it_is_the_figure_that_would_be_shown_first(shown, demo, demo_stores,
                                                                                     monkeypatch):
    first = np.asarray(Image.open(io.BytesIO(shown.image.value)))
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    monkeypatch.delitem(sys.modules, "freesound_tagging.notebook.sliders")
    with pytest.warns(UserWarning, match="ipywidgets is not installed: the explorer is a picture"):
        figure = augmentation_explorer(demo.curated, demo_stores["curated"], demo.targets(demo.curated),
                                       demo.vocabulary)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=90)
    np.testing.assert_array_equal(np.asarray(Image.open(file)), first)


def test_where_widgets_cannot_run_it_is_a_picture(shown):
    bundle = shown._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert Image.open(io.BytesIO(base64.b64decode(bundle["image/png"]))).width > 800


def test_it_starts_with_clips_of_different_labels_and_offers_each_label(shown, demo):
    targets = demo.targets(demo.curated)
    first, second = (dropdown.value for dropdown in shown.clips)
    assert not (targets[first] * targets[second]).any()
    offered = [clip for _, clip in shown.clips[0].options]
    assert (targets[offered].sum(0) > 0).all()

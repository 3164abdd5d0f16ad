from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from freesound_tagging.augment import (
    apply_mixup,
    apply_specmix,
    compose,
    draw_mixup,
    draw_spec_augment,
    draw_specmix,
    draw_stripes,
    lighting,
    mixup,
    spec_augment,
    specmix,
    zoom_crop,
)

ALL = [mixup, specmix, spec_augment, zoom_crop, lighting, compose()]
FORMATS = {torch.float64: 1e-5, torch.float16: 2**-10, torch.bfloat16: 2**-7}  # and what their rounding comes to at 1
each = pytest.mark.parametrize("augmentation", ALL, ids=lambda f: getattr(f, "__name__", "published chain"))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(n=16, size=(64, 96)):
    return torch.rand(n, 1, *size, generator=generator()), torch.eye(n)


def clip_ids(n, size=(128, 128)):
    """Images whose every pixel is the number of its clip, and one-hot targets."""
    return torch.arange(n).float()[:, None, None, None].expand(n, 1, *size), torch.eye(n)


@pytest.mark.parametrize("stripes", [(1, 1), (1, 2), (2, 1), (3, 3), (0, 1), (1, 0), 2])
@pytest.mark.parametrize("width", [0.25, (0.5, 0.1), 1.0])
def test_specmix_weights_targets_by_the_pixels_that_came_from_the_partner(stripes, width):
    images, targets = clip_ids(64)
    mixed, weights = specmix(images, targets, max_width=width, stripes=stripes, generator=generator())
    for clip in range(64):
        values, counts = mixed[clip].unique(return_counts=True)
        share = torch.zeros(64)
        share[values.long()] = counts / counts.sum()
        torch.testing.assert_close(weights[clip], share, atol=1e-6, rtol=0)
    assert (weights.amax(1) < 1).any()


def test_specmix_area_is_the_published_formula_for_one_stripe():
    images, _ = clip_ids(64)
    mask = draw_stripes(images, generator=generator())[:, 0]
    bands, frames = mask.all(2).sum(1) / 128, mask.all(1).sum(1) / 128
    torch.testing.assert_close(mask.float().mean((1, 2)), bands + frames - bands * frames)


def test_specmix_replaces_whole_consecutive_bands_and_frames():
    images, _ = clip_ids(200)
    mask = draw_stripes(images, generator=generator())[:, 0]
    for axis in (1, 2):
        line = mask.all(axis)
        edges = line.int().diff(dim=1, prepend=torch.zeros(200, 1, dtype=torch.int))
        assert (edges == 1).sum(1).max() == 1, "one stripe on each axis"
    assert torch.equal(mask, mask.all(2)[:, :, None] | mask.all(1)[:, None, :])


def test_specmix_gives_each_clip_one_partner_and_uses_each_partner_once():
    images, targets = clip_ids(32)
    _, weights = specmix(images, targets, min_width=0.1, generator=generator())
    assert (weights > 0).sum(1).max() == 2
    partners = (weights * (1 - torch.eye(32))).argmax(1)[weights.amax(1) < 1]
    assert len(partners.unique()) == len(partners)


def test_specmix_widths_and_positions_are_uniform():
    # The mask uses only the images' shape and device: draw the stripes of 40,000 samples on the CPU.
    images = torch.empty(1, 1, 128, 100).expand(40_000, 1, 128, 100)
    line = draw_stripes(images, stripes=(1, 0), generator=generator())[:, 0, :, 0]
    width = line.sum(1).numpy()
    assert stats.chisquare(np.bincount(width, minlength=33)).pvalue > 1e-3, "widths 0 to 32, a quarter of 128"
    start = line.int().argmax(1).numpy()
    for width_given in (1, 16, 32):  # positions 0 to 128 - width - 1
        observed = np.bincount(start[width == width_given], minlength=128 - width_given)
        assert len(observed) == 128 - width_given
        assert stats.chisquare(observed).pvalue > 1e-3


def test_stripes_are_what_is_computed_by_hand():
    """Of each axis first all widths are drawn, then where they begin."""
    mask, drawn = draw_stripes(torch.zeros(50, 1, 20, 30), (0.3, 0.5), 0.1, (2, 1), generator(3)), generator(3)
    expected = np.zeros((50, 20, 30), bool)
    for size, least, most, count in ((20, 2, 6, 2), (30, 3, 15, 1)):
        widths, places = torch.rand(2, 50, count, generator=drawn).numpy()
        for clip, width, place in zip(np.repeat(np.arange(50), count), widths.ravel(), places.ravel()):
            width = least + int(width * np.float32(most - least + 1))
            first = int(place * np.float32(size - width))
            (expected[clip] if size == 20 else expected[clip].T)[first:first + width] = True
    np.testing.assert_array_equal(mask[:, 0], expected)


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 9), st.integers(1, 40), st.integers(1, 40), st.floats(0, 1), st.floats(0, 1),
       st.tuples(st.integers(0, 3), st.integers(0, 3)), st.integers(0, 2**31))
def test_specmix_weights_are_the_counted_pixels_for_any_shape_and_setting(n, bands, frames, a, b, stripes, seed):
    """Images whose pixels name their clip: what share of them is of which clip is counted, pixel by pixel."""
    images, targets = clip_ids(n, (bands, frames))
    mixed, weights = specmix(images, targets, max(a, b), min(a, b), stripes, generator(seed))
    counted = torch.stack([(mixed[:, 0] == clip).float().mean((1, 2)) for clip in range(n)], 1)
    torch.testing.assert_close(weights, counted)
    assert ((weights > 0).sum(1) <= 2).all(), "itself and one partner"


def test_settings_may_be_numpys_numbers():
    images = torch.rand(4, 1, 16, 16, generator=generator(1))
    one, other = (draw_stripes(images, max_width=width, stripes=stripes, generator=generator())
                  for width, stripes in ((np.float32(0.25), np.int64(2)), (0.25, 2)))
    assert torch.equal(one, other)


def test_specmix_least_width_is_kept():
    images, _ = clip_ids(500, (40, 40))
    mask = draw_stripes(images, max_width=0.5, min_width=0.25, generator=generator())[:, 0]
    for axis in (1, 2):
        assert set(mask.all(axis).sum(1).tolist()) == set(range(10, 21))


@each
def test_the_same_seed_gives_the_same_batch(augmentation):
    images, targets = batch()
    before = images.clone(), targets.clone()
    first, again = (augmentation(images, targets, generator=generator(1)) for _ in range(2))
    other = augmentation(images, targets, generator=generator(2))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
    assert torch.equal(images, before[0]), "nothing is changed in place"
    assert torch.equal(targets, before[1])


@each
@pytest.mark.parametrize("default", [torch.float64, torch.bfloat16], ids=str)
def test_whatever_a_programs_default_format_is_the_batch_is_the_same(augmentation, default):
    images, targets = batch()
    expected = augmentation(images, targets, generator=generator())
    try:
        torch.set_default_dtype(default)
        found = augmentation(images, targets, generator=generator())
    finally:
        torch.set_default_dtype(torch.float32)
    for ours, theirs in zip(found, expected):
        torch.testing.assert_close(ours, theirs, atol=0, rtol=0)


@each
def test_images_stay_images_and_weights_sum_to_what_they_were(augmentation):
    images, targets = batch()
    new, weights = augmentation(images, targets, generator=generator())
    assert new.shape == images.shape
    assert new.dtype == images.dtype
    assert new.min() >= 0
    assert new.max() <= 1
    torch.testing.assert_close(weights.sum(1), torch.ones(16))


@each
@pytest.mark.parametrize("format", FORMATS, ids=str)
def test_every_number_format_is_given_back_and_loses_no_more_than_its_rounding(augmentation, format):
    images, targets = batch()
    images = images.bfloat16().float()  # numbers that all formats have
    images[0], images[1] = 0, 1
    expected = augmentation(images, targets, generator=generator())
    for ours, theirs in zip(augmentation(images.to(format), targets.to(format), generator=generator()), expected):
        assert ours.dtype == format
        torch.testing.assert_close(ours.double(), theirs.double(), atol=FORMATS[format], rtol=0)


@pytest.mark.parametrize("augmentation", [zoom_crop, partial(spec_augment, stripes=0)], ids=["zoom_crop", "warp"])
@pytest.mark.parametrize("format", FORMATS, ids=str)
def test_nothing_but_the_image_is_read_however_wide_it_is(augmentation, format):
    around = torch.full((3, 1, 2, 70_000), float("nan"), dtype=format)
    around[1] = 0.5
    grey, _ = augmentation(around[1:2], None, generator=generator())
    assert (grey == 0.5).all()


@pytest.mark.parametrize("augmentation", [mixup, specmix, compose()])
@pytest.mark.parametrize(("targets", "said"), [
    (torch.arange(8), r"targets of shape \(8,\) in torch.int64 for 8 images: expected floats .*one_hot"),
    (torch.rand(8), r"shape \(8,\) in torch.float32"), (torch.rand(8, 8, 1), r"shape \(8, 8, 1\)"),
    (torch.eye(7), r"shape \(7, 7\) in torch.float32 for 8 images"), (torch.tensor(1.0), r"shape \(\)"),
    (torch.eye(8).bool(), r"torch.bool .* a matrix of 0 and 1 by .float\(\)"), (torch.eye(8).long(), "torch.int64"),
])
def test_what_is_no_target_of_each_label_is_refused(augmentation, targets, said):
    with pytest.raises(ValueError, match=said):
        augmentation(torch.rand(8, 1, 16, 16), targets)


@each
@pytest.mark.parametrize(("images", "said"), [
    (torch.rand(8, 16, 16), r"images of shape \(8, 16, 16\) in torch.float32: expected .* images\[:, None\] adds"),
    (torch.rand(8, 1, 1, 16, 16), r"shape \(8, 1, 1, 16, 16\)"),
    (torch.ones(8, 1, 16, 16, dtype=torch.uint8), "in torch.uint8: expected floats .* images / 255 takes bytes"),
])
def test_what_are_no_images_is_refused(augmentation, images, said):
    with pytest.raises(ValueError, match=said):
        augmentation(images, torch.eye(8))


@pytest.mark.parametrize("augmentation", [zoom_crop, spec_augment, lighting])
def test_what_leaves_targets_alone_takes_numbers_of_classes_too(augmentation):
    targets = torch.arange(16)
    assert augmentation(batch()[0], targets)[1] is targets


def test_mixup_blends_by_the_share_in_the_targets():
    images, targets = clip_ids(64)
    mixed, weights = mixup(images, targets, generator=generator())
    torch.testing.assert_close(mixed[:, 0, 0, 0], weights @ torch.arange(64.0))
    assert weights.diagonal().min() >= 0.5


def test_mixup_shares_are_the_greater_of_a_beta_draw_and_its_rest():
    images, targets = torch.zeros(20_000, 1, 1, 1), torch.arange(20_000.0)[:, None] ** 0
    images = torch.arange(20_000.0)[:, None, None, None]
    mixed, _ = mixup(images, targets, alpha=0.4, generator=generator())
    partner = torch.randperm(20_000, generator=generator()).float()
    own = images[:, 0, 0, 0]
    apart = (own - partner).abs() > 100
    share = ((mixed[:, 0, 0, 0] - partner) / (own - partner))[apart].numpy()
    beta = stats.beta(0.4, 0.4)
    assert stats.kstest(share, lambda x: np.where(x < 0.5, 0, beta.cdf(x) - beta.cdf(1 - x))).pvalue > 1e-3


@pytest.mark.parametrize("alpha", [0.3, 2.0])
def test_a_share_is_what_is_computed_by_hand_of_a_students_t(alpha):
    """Bailey's t of 2 alpha degrees of freedom, of a radius and an angle, and the Beta draw that it stands for."""
    images, drawn = torch.empty(500, 1), generator(3)
    partner, share = draw_mixup(images, alpha, generator(3))
    assert torch.equal(partner, torch.randperm(500, generator=drawn))
    radius, angle = torch.rand(2, 500, generator=drawn).double().numpy()
    t = np.sqrt(2 * alpha * (radius ** (-1 / alpha) - 1)) * np.cos(2 * np.pi * angle)
    beta = (1 + t / np.sqrt(2 * alpha + t**2)) / 2
    np.testing.assert_allclose(share, np.maximum(beta, 1 - beta), atol=1e-5)


@pytest.mark.parametrize(("augmentation", "published"), [
    (mixup, {"alpha": 0.4}), (specmix, {"max_width": 0.25, "min_width": 0.0, "stripes": 1}),
    (spec_augment, {"warp": 0.1, "max_width": (0.25, 0.25), "stripes": (1, 1)}),
    (zoom_crop, {"max_zoom": 1.05, "p": 0.75}), (lighting, {"max_change": 0.2, "p": 0.75}),
])
def test_what_is_not_said_is_as_published(augmentation, published):
    for ours, said in zip(augmentation(*batch(), generator=generator()),
                          augmentation(*batch(), **published, generator=generator())):
        assert torch.equal(ours, said)


def test_what_is_drawn_by_itself_is_drawn_as_published():
    images, _ = batch()
    for draw, said_to in ((draw_mixup, (0.4,)), (draw_specmix, (0.25, 0.0, (1, 1))),
                          (draw_spec_augment, (0.1, 0.25, (1, 1)))):
        for ours, said in zip(draw(images, generator=generator()), draw(images, *said_to, generator())):
            assert torch.equal(ours, said)
    assert torch.equal(draw_stripes(images, generator=generator()), draw_stripes(images, 0.25, 0.0, 1, generator()))


@each
def test_all_is_drawn_and_computed_where_the_images_are(augmentation):
    """On `meta`, torch's device without numbers: what is drawn elsewhere cannot be computed with there."""
    images, targets = (tensor.to("meta") for tensor in batch())
    for tensor, before in zip(augmentation(images, targets), (images, targets)):
        assert tensor.device.type == "meta" and tensor.shape == before.shape
    drawn = (*draw_mixup(images), *draw_specmix(images), *draw_spec_augment(images))
    assert {tensor.device.type for tensor in drawn} == {"meta"}


@pytest.mark.parametrize("alpha", [0.05, 0.4, 0.5, 1, 2.0, 30.0])
def test_mixup_draws_are_beta_for_every_alpha(alpha):
    _, share = draw_mixup(torch.empty(40_000, 1), alpha, generator())
    beta = stats.beta(alpha, alpha)
    assert share.isfinite().all() and share.min() >= 0.5 and share.max() <= 1
    x = np.array([0.51, 0.55, 0.6, 0.7, 0.8, 0.9, 0.99, 0.999])
    below = (share.numpy()[:, None] < x).mean(0)
    np.testing.assert_allclose(below, 1 - 2 * beta.sf(x), atol=0.01)


def test_the_published_chain_is_traced_whole():
    """No step of it asks the host: one graph, and the same batch."""
    images, targets = batch(4)
    draws = torch.compile(lambda images: (draw_mixup(images), draw_specmix(images)), backend="eager", fullgraph=True)
    (partner, share), (other, mask) = draws(images)
    assert sorted(partner.tolist()) == sorted(other.tolist()) == [0, 1, 2, 3]
    assert share.shape == (4,) and mask.shape == (4, 1, 64, 96)
    applied = torch.compile(lambda *a: apply_specmix(*apply_mixup(*a[:4]), *a[4:]), backend="eager", fullgraph=True)
    for ours, plain in zip(applied(images, targets, partner, share, other, mask),
                           apply_specmix(*apply_mixup(images, targets, partner, share), other, mask)):
        torch.testing.assert_close(ours, plain)


def test_up_to_four_clips_are_in_a_sample_of_the_published_chain():
    _, weights = compose()(*clip_ids(64, (128, 128)), generator=generator())
    assert (weights > 0).sum(1).max() == 4


def test_zoom_crop_of_factor_1_changes_nothing():
    images, targets = batch()
    torch.testing.assert_close(zoom_crop(images, targets, max_zoom=1, generator=generator())[0], images)
    torch.testing.assert_close(zoom_crop(images, targets, p=0, generator=generator())[0], images)


def by_hand(image, rows, columns):
    """An image (mel bands, frames) read between its pixels, counted from 0: linearly along one axis, then the other."""
    across = np.stack([np.interp(columns, np.arange(image.shape[1]), row) for row in image])
    return np.stack([np.interp(rows, np.arange(image.shape[0]), column) for column in across.T], 1)


@pytest.mark.parametrize("format", [torch.float32, *FORMATS], ids=str)
@pytest.mark.parametrize("size", [(128, 128), (24, 40)])
def test_zoom_crop_is_what_is_computed_by_hand_along_both_axes(format, size):
    """Zoomed by z, a cut of a z-th of each axis is shown, which begins anywhere: pixel centres are 1 / z apart."""
    images = torch.rand(12, 2, *size, generator=generator(1)).to(format)
    zoomed, _ = zoom_crop(images, None, max_zoom=1.5, p=0.5, generator=generator(2))
    drawn = generator(2)
    zoom, chance, right, down = (torch.rand(12, generator=drawn).double().numpy() for _ in range(4))
    zoom = np.where(chance < 0.5, 1 + 0.5 * zoom, 1)
    assert 3 <= (zoom > 1).sum() <= 9
    for clip in range(12):
        rows, columns = (n * (1 - 1 / zoom[clip]) * begin + (np.arange(n) + 0.5) / zoom[clip] - 0.5
                         for n, begin in zip(size, (down[clip], right[clip])))
        for channel in range(2):
            np.testing.assert_allclose(zoomed[clip, channel].double(),
                                       by_hand(images[clip, channel].double().numpy(), rows, columns),
                                       atol=FORMATS.get(format, 1e-4) + 1e-4)


def test_zoom_crop_shows_a_part_that_is_one_zoom_smaller():
    ramp = torch.linspace(0, 1, 128).expand(2_000, 1, 128, 128)
    zoomed, _ = zoom_crop(ramp, torch.eye(2_000), max_zoom=1.05, p=0.75, generator=generator())
    torch.testing.assert_close(zoomed[:, :, :1].expand_as(zoomed), zoomed)  # time is stretched alike in all bands
    inner = zoomed[:, 0, 0, 100] - zoomed[:, 0, 0, 27]  # away from the border
    zoom = (100 - 27) / 127 / inner
    assert ((zoom - 1).abs() < 1e-4).float().mean().item() == pytest.approx(0.25, abs=0.03)
    drawn = zoom[zoom > 1.0005]
    assert stats.kstest(drawn.numpy(), stats.uniform(1.0005, 0.0495).cdf).pvalue > 1e-3


@pytest.mark.parametrize("format", [torch.float32, *FORMATS], ids=str)
def test_lighting_is_what_is_computed_by_hand(format):
    images = torch.rand(12, 1, 4, 5, generator=generator(1)).to(format)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = 0, 1
    lit, _ = lighting(images, None, max_change=0.6, p=0.5, generator=generator(2))
    drawn = generator(2)
    brighter, sharper, *chances = (torch.rand(12, generator=drawn).double().numpy() for _ in range(4))
    brighter, sharper = (np.where(chance < 0.5, 2 * u - 1, 0)[:, None, None, None]
                         for u, chance in zip((brighter, sharper), chances))
    assert len({(b > 0, s > 0) for b, s in zip(brighter.flat, sharper.flat)}) == 4
    logits = special.logit(images.double().numpy().clip(1e-6, 1 - 1e-6))
    expected = special.expit((logits + special.logit(0.5 + 0.3 * brighter)) * 0.4**sharper)
    np.testing.assert_allclose(lit.double(), expected, atol=FORMATS.get(format, 1e-5) + 1e-5)


def test_lighting_of_no_change_changes_nothing():
    images, targets = batch()
    torch.testing.assert_close(lighting(images, targets, max_change=0)[0], images, atol=2e-6, rtol=0)


def test_lighting_is_fastais_brightness_and_contrast_on_logits():
    grey = torch.full((4_000, 1, 1, 2), 0.5)
    grey[..., 1] = 0.8
    lit, _ = lighting(grey, torch.eye(4_000), max_change=0.2, p=0.75, generator=generator())
    logits = torch.logit(lit)[:, 0, 0]  # (shift + 0) * scale, (shift + logit 0.8) * scale
    scale = (logits[:, 1] - logits[:, 0]) / torch.logit(torch.tensor(0.8))
    brightness = torch.sigmoid(logits[:, 0] / scale)
    assert scale.min() >= 0.799
    assert scale.max() <= 1.251
    assert brightness.min() >= 0.399
    assert brightness.max() <= 0.601
    for changed in ((scale - 1).abs() > 1e-4, (brightness - 0.5).abs() > 1e-4):
        assert changed.float().mean().item() == pytest.approx(0.75, abs=0.03)


def test_spec_augment_blanks_to_the_mean_and_keeps_targets():
    images, targets = batch(32)
    new, weights = spec_augment(images, targets, warp=0, generator=generator())
    mask = draw_stripes(images, 0.25, generator=generator())
    assert torch.equal(weights, targets)
    means = images.mean((1, 2, 3), keepdim=True).expand_as(images)
    torch.testing.assert_close(new[mask], means[mask])
    assert torch.equal(new[~mask], images[~mask])


@pytest.mark.parametrize("format", [torch.float32, *FORMATS], ids=str)
def test_time_is_warped_in_both_directions_as_computed_by_hand(format):
    """What was heard at a point is heard earlier or later; before and after it time is linear to the excerpt's ends."""
    images = torch.rand(16, 1, 3, 40, generator=generator(1)).to(format)
    warped, _ = spec_augment(images, None, warp=0.3, stripes=0, generator=generator(2))
    drawn = generator(2)
    point, move = (torch.rand(16, generator=drawn).double().numpy() for _ in range(2))
    point, move = 0.3 + 0.4 * point, 0.6 * move - 0.3
    assert (move > 0.1).any() and (move < -0.1).any()
    for clip in range(16):
        came_from = np.interp((np.arange(40) + 0.5) / 40, [0, point[clip] + move[clip], 1], [0, point[clip], 1])
        expected = by_hand(images[clip, 0].double().numpy(), np.arange(3), came_from * 40 - 0.5)
        np.testing.assert_allclose(warped[clip, 0].double(), expected, atol=FORMATS.get(format, 1e-5) + 1e-5)


def test_time_is_never_warped_to_within_a_hundredth_of_an_end():
    """There the time on the short side would be stretched without a bound."""
    source, _ = draw_spec_augment(torch.empty(1, 1, 1, 300).expand(5000, 1, 1, 300), warp=0.49, generator=generator(4))
    drawn = generator(4)
    point, move = (torch.rand(5000, generator=drawn).double().numpy() for _ in range(2))
    point = 0.49 + 0.02 * point
    there = point + 0.98 * move - 0.49
    assert there.min() < 0.005 and there.max() > 0.995
    for clip in np.flatnonzero((there < 0.02) | (there > 0.98)):
        expected = np.interp((np.arange(300) + 0.5) / 300, [0, there[clip].clip(0.01, 0.99), 1], [0, point[clip], 1])
        np.testing.assert_allclose(source[clip], expected, atol=1e-4)


def test_time_warping_moves_time_forward_only_and_keeps_the_ends():
    ramp = torch.linspace(0, 1, 128).expand(64, 1, 128, 128)
    warped, _ = spec_augment(ramp, torch.eye(64), warp=0.2, stripes=0, generator=generator())
    line = warped[:, 0, 0]
    assert (line.diff(dim=1) >= -1e-6).all()
    assert line[:, 0].max() < 0.02
    assert line[:, -1].min() > 0.98
    assert (line - ramp[:, 0, 0]).abs().max() > 0.05


@pytest.mark.parametrize("call", [
    partial(mixup, alpha=0), partial(specmix, max_width=1.5), partial(specmix, max_width=0.1, min_width=0.2),
    partial(specmix, stripes=-1), partial(zoom_crop, max_zoom=0.9), partial(lighting, max_change=1),
    partial(spec_augment, warp=0.5),
])
def test_settings_out_of_range_are_refused(call):
    with pytest.raises(ValueError, match="expected"):
        call(*batch())

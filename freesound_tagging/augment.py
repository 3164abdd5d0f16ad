"""Augmentations of a whole batch at once, on any device: SpecMix and those it is used with.

Every function takes `images`, float (batch, channels, mel bands, frames) in [0, 1], and `targets`,
float (batch, labels), and returns new ones of both in the same number formats; nothing is changed in place. Half
precision is computed with in float32. Random numbers come from `generator`, a `torch.Generator` on the images' device,
or from torch's global one. No function loops over samples, and none makes the host wait for the device.

Other shapes and formats are a ValueError. `zoom_crop`, `lighting` and `spec_augment` give targets back as they are, and
take any.

`mixup`, `specmix` and `spec_augment` draw in one function and apply in another, so that a draw can be looked at and
applied again.
"""

import math
from functools import partial
from numbers import Real

import torch
import torch.nn.functional as F


def mixup(images, targets, alpha=0.4, generator=None):
    """Blend each sample with one partner, and their targets alike.

    Parameters
    ----------
    images, targets : torch.Tensor, float (batch, channels, mel bands, frames) and (batch, labels)
    alpha : float
        The share of the sample is max(b, 1 - b) with b drawn from Beta(alpha, alpha), so at least a half.
        0.4 is fastai's default.
    generator : torch.Generator, optional

    References
    ----------
    Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018, equation 1.
    """
    return apply_mixup(images, targets, *draw_mixup(images, alpha, generator))


def draw_mixup(images, alpha=0.4, generator=None):
    """What `mixup` draws for a batch, of which only the length and the device are used.

    Returns
    -------
    partner : torch.Tensor, int64 (batch,)
        A random permutation: who each sample is blended with.
    share : torch.Tensor, float32 (batch,)
        The sample's own, from a half to 1.

    References
    ----------
    Beta(alpha, alpha) is (1 + t / sqrt(2 alpha + t^2)) / 2 of a Student t of 2 alpha degrees of freedom, and that is
    drawn by Bailey, "Polar generation of random variates with the t-distribution", Mathematics of Computation 62, 1994.
    """
    if not alpha > 0:
        raise ValueError(f"mixup's alpha={alpha}: expected a positive number")
    partner = _partners(images, generator)
    radius, angle = _random(images, 2, len(images), generator=generator)
    w, cosine = radius ** (1 / alpha), (2 * math.pi * angle).cos()
    # t / sqrt(2 alpha + t^2), written so that neither a small nor a great w overflows.
    return partner, 0.5 + 0.5 * cosine.abs() / (cosine**2 + w / (1 - w)).sqrt()


def apply_mixup(images, targets, partner, share):
    """Blend each sample with its partner, as `draw_mixup` has drawn. Returns new images and targets."""
    _check_images(images)
    _check_targets(images, targets)
    return (_blend(images, images[partner], share[:, None, None, None]),
            _blend(targets, targets[partner], share[:, None]))


def specmix(images, targets, max_width=0.25, min_width=0.0, stripes=(1, 1), generator=None):
    """Replace mel bands and frames of each sample by its partner's, and weight the targets by area.

    A random permutation gives each sample one partner. On each axis a stripe is as many consecutive rows or columns
    as an integer drawn uniformly from the least to the greatest width (both included), and starts at an integer drawn
    uniformly from [0, size - width). The target is (1 - a) y1 + a y2, where a is the share of pixels that come from
    the partner: f/nu + t/tau - (f/nu)(t/tau) for one stripe of f mel bands and one of t frames. The published code
    computes `a` from the widths before they are cut to whole pixels; here it is the counted share. That code never
    draws the greatest width itself, 32 of 128; the published text, followed here, does.

    Parameters
    ----------
    images, targets : torch.Tensor, float (batch, channels, mel bands, frames) and (batch, labels)
    max_width, min_width : float or (float, float)
        Greatest and least width of a stripe, as a fraction of the axis; one for both axes or (mel bands, frames).
    stripes : int or (int, int)
        How many stripes are drawn on each axis, (mel bands, frames); they may overlap.
    generator : torch.Generator, optional

    References
    ----------
    Bouteillon, "Specmix: a simple data augmentation and warm-up pipeline to leverage clean and noisy set for efficient
    audio tagging", DCASE 2019 challenge, technical report.
    """
    return apply_specmix(images, targets, *draw_specmix(images, max_width, min_width, stripes, generator))


def draw_specmix(images, max_width=0.25, min_width=0.0, stripes=(1, 1), generator=None):
    """What `specmix` draws for a batch, of which only the shape and the device are used.

    Returns
    -------
    partner : torch.Tensor, int64 (batch,)
        A random permutation: whose pixels each sample gets.
    mask : torch.Tensor, bool (batch, 1, mel bands, frames)
        Which: the union of the stripes of both axes.
    """
    _check_images(images)
    return _partners(images, generator), draw_stripes(images, max_width, min_width, stripes, generator)


def apply_specmix(images, targets, partner, mask):
    """Replace a mask's pixels by the partner's, and weight targets by their share. Returns new images and targets."""
    _check_images(images)
    _check_targets(images, targets)
    share = 1 - mask.float().mean((1, 2, 3))
    return torch.where(mask, images[partner], images), _blend(targets, targets[partner], share[:, None])


def draw_stripes(images, max_width=0.25, min_width=0.0, stripes=(1, 1), generator=None):
    """The stripes that `specmix` and `spec_augment` draw.

    Returns
    -------
    torch.Tensor, bool (batch, 1, mel bands, frames)
        Whole mel bands and whole frames.
    """
    widths = zip(_pair(min_width), _pair(max_width), _pair(stripes))
    (low_f, high_f, n_f), (low_t, high_t, n_t) = widths
    bands = _stripes(images, 2, low_f, high_f, n_f, generator)  # (batch, mel bands)
    frames = _stripes(images, 3, low_t, high_t, n_t, generator)  # (batch, frames)
    return (bands[:, :, None] | frames[:, None, :])[:, None]


def spec_augment(images, targets, warp=0.1, max_width=0.25, stripes=(1, 1), generator=None):
    """SpecAugment: warp time, then blank out mel bands and frames, which then hold their image's mean.

    Parameters
    ----------
    images : torch.Tensor, float (batch, channels, mel bands, frames)
    targets : object
    warp : float
        A point in time moves by at most this fraction of the excerpt, and the time to both sides of it is stretched
        or squeezed linearly. 0 leaves time alone.
    max_width : float or (float, float)
        Greatest width of a blank stripe, as a fraction of the axis.
    stripes : int or (int, int)
        How many stripes are blanked on each axis, (mel bands, frames).
    generator : torch.Generator, optional

    References
    ----------
    Park et al., "SpecAugment: A Simple Data Augmentation Method for Automatic Speech Recognition", Interspeech 2019,
    section 2. Time warping here is piecewise linear in place of a spline of one control point.
    """
    return apply_spec_augment(images, targets, *draw_spec_augment(images, warp, max_width, stripes, generator))


def draw_spec_augment(images, warp=0.1, max_width=0.25, stripes=(1, 1), generator=None):
    """What `spec_augment` draws for a batch, of which only the shape and the device are used.

    Returns
    -------
    source : torch.Tensor, float32 (batch, frames), or None
        Where each frame comes from, in parts of the excerpt; None where time is left alone.
    mask : torch.Tensor, bool (batch, 1, mel bands, frames)
        What is blanked.
    """
    if not 0 <= warp < 0.5:
        raise ValueError(f"spec_augment's warp={warp}: expected a fraction of the excerpt from 0 to below 0.5")
    _check_images(images)
    source = None
    if warp:
        point = warp + (1 - 2 * warp) * _uniform(images, generator)  # (batch,), in parts of the excerpt
        moved = point + warp * (2 * _uniform(images, generator) - 1)
        point, moved = point[:, None], moved[:, None].clamp(0.01, 0.99)
        n_frames = images.shape[3]
        time = (_counted(images, n_frames) + 0.5) / n_frames  # (frames,)
        source = torch.where(time < moved, time * point / moved, 1 - (1 - time) * (1 - point) / (1 - moved))
    return source, draw_stripes(images, max_width, 0.0, stripes, generator)


def apply_spec_augment(images, targets, source, mask):
    """Warp time, then blank out a mask's pixels, as `draw_spec_augment` has drawn. Returns new images, and targets."""
    _check_images(images)
    if source is not None:
        images = _sample(images, _centres(images, 2).expand(len(images), -1), 2 * source - 1)
    return torch.where(mask, images.mean((1, 2, 3), keepdim=True), images), targets


def zoom_crop(images, targets, max_zoom=1.05, p=0.75, generator=None):
    """Enlarge each image and cut the original size out of it at random, by bilinear interpolation.

    Parameters
    ----------
    images : torch.Tensor, float (batch, channels, mel bands, frames)
    targets : object
    max_zoom : float
        The factor is drawn from 1 to this, for both axes alike.
    p : float
        The probability that an image is zoomed.
    generator : torch.Generator, optional
    """
    if not max_zoom >= 1:
        raise ValueError(f"zoom_crop's max_zoom={max_zoom}: expected at least 1")
    _check_images(images)
    zoom = 1 + (max_zoom - 1) * _uniform(images, generator)
    zoom = torch.where(_uniform(images, generator) < p, zoom, 1)[:, None]  # (batch, 1)
    free = 1 - 1 / zoom  # how far the cut's centre can move, in halves of the image
    across = _centres(images, 3) / zoom + free * (2 * _uniform(images, generator)[:, None] - 1)
    down = _centres(images, 2) / zoom + free * (2 * _uniform(images, generator)[:, None] - 1)
    return _sample(images, down, across), targets


def lighting(images, targets, max_change=0.2, p=0.75, generator=None):
    """Change brightness and contrast, each with probability `p`, as fastai does: on the logits of the pixels.

    Parameters
    ----------
    images : torch.Tensor, float (batch, channels, mel bands, frames)
    targets : object
    max_change : float
        In [0, 1). Brightness moves a grey of 0.5 to somewhere between 0.5 (1 - max_change) and 0.5 (1 + max_change);
        contrast multiplies the logits by 1 - max_change to its inverse, uniformly on a log scale.
        How much is not published: 0.2 is fastai's default.
    p : float
        The probability of either change for an image.
    generator : torch.Generator, optional
    """
    if not 0 <= max_change < 1:
        raise ValueError(f"lighting's max_change={max_change}: expected a number from 0 to below 1")
    _check_images(images)
    spread = [2 * _uniform(images, generator) - 1 for _ in range(2)]  # in [-1, 1), (batch,) each
    spread = [torch.where(_uniform(images, generator) < p, s, 0)[:, None, None, None] for s in spread]
    shift = torch.logit(0.5 * (1 + max_change * spread[0]))
    scale = (1 - max_change) ** spread[1]
    return torch.sigmoid((torch.logit(_at_least_float32(images), 1e-6) + shift) * scale).to(images.dtype), targets


# The published chain, in its order: each image alone first, then the batch mixed twice.
PUBLISHED = (zoom_crop, lighting, mixup, specmix)
AUGMENTATIONS = (*PUBLISHED, spec_augment)  # all that profiles can name and the notebook's explorer shows


def compose(steps=PUBLISHED):
    """One augmentation out of several, applied in order.

    Parameters
    ----------
    steps : sequence of callable
        Functions of ``(images, targets, generator=)`` such as those of this module, or `functools.partial` of them.
        What is returned is such a function too.

    Raises
    ------
    ValueError
        If one is no function.
    """
    for step in steps:
        if not callable(step):
            raise ValueError(f"{step!r} is no augmentation: expected functions, as augment.specmix")
    return partial(_apply, tuple(steps))


def _apply(steps, images, targets, generator=None):
    for step in steps:
        images, targets = step(images, targets, generator=generator)
    return images, targets


def _check_images(images):
    if images.ndim != 4 or not images.is_floating_point():
        raise ValueError(f"images of shape {tuple(images.shape)} in {images.dtype}: expected floats from 0 to 1 of "
                         "shape (batch, channels, mel bands, frames); images[:, None] adds channels, images / 255 "
                         "takes bytes")


def _check_targets(images, targets):
    if targets.ndim != 2 or len(targets) != len(images) or not targets.is_floating_point():
        raise ValueError(f"targets of shape {tuple(targets.shape)} in {targets.dtype} for {len(images)} images: "
                         "expected floats of shape (batch, labels); numbers of classes become them by "
                         "torch.nn.functional.one_hot(targets, n_classes).float(), a matrix of 0 and 1 by .float()")


def _partners(images, generator):
    return torch.randperm(len(images), generator=generator, device=images.device)


def _blend(own, others, share):
    return (share * own + (1 - share) * others).to(own.dtype)


def _random(images, *shape, generator):
    """Numbers in [0, 1), and below whole ones, in float32 where the images are, whatever torch's defaults are."""
    return torch.rand(shape, generator=generator, device=images.device, dtype=torch.float32)


def _counted(images, n):
    """0 to n - 1 in float32 where the images are."""
    return torch.arange(n, device=images.device, dtype=torch.float32)


def _uniform(images, generator):
    """One number in [0, 1) a sample."""
    return _random(images, len(images), generator=generator)


def _pair(value):
    return (value, value) if isinstance(value, Real) else tuple(value)  # numpy's numbers too


def _stripes(images, axis, low, high, count, generator):
    """Union of `count` random stripes on an axis: bool (batch, size of the axis)."""
    if not 0 <= low <= high <= 1 or count < 0:
        raise ValueError(f"stripes of widths {low} to {high}, {count} of them: "
                         "expected fractions 0 <= least <= greatest <= 1 and a count of at least 0")
    size = images.shape[axis]
    low, high = round(low * size), round(high * size)
    draws = _random(images, 2, len(images), count, 1, generator=generator)
    width = low + (draws[0] * (high - low + 1)).floor()
    start = (draws[1] * (size - width)).floor()
    place = _counted(images, size)
    return ((place >= start) & (place < start + width)).any(1)


def _at_least_float32(images):
    """Half precision as float32: its steps are too coarse for places in an image, and for logits of what is white."""
    return images.to(torch.promote_types(images.dtype, torch.float32))


def _centres(images, axis):
    """Where mel bands (axis 2) or frames (3) lie for `grid_sample`: (1, size), from just above -1 to just below 1."""
    n = images.shape[axis]
    return ((2 * _counted(images, n) + 1) / n - 1)[None]


def _sample(images, down, across):
    """Images read at the rows `down` (batch, mel bands) and the columns `across` (batch, frames)."""
    down, across = torch.broadcast_tensors(down[:, :, None], across[:, None, :])
    source = _at_least_float32(images)
    grid = torch.stack([across, down], -1).to(source.dtype)
    return F.grid_sample(source, grid, mode="bilinear", padding_mode="border", align_corners=False).to(images.dtype)

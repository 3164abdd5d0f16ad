"""The way the published code trained and predicted, for comparison: images of clips, one at a time, on the CPU.

A `Dataset` cuts a window of three channels out of one clip's image, as the author's kernel does, and for training
zooms and lights it by itself, as fastai 1 does; a `DataLoader` with worker processes collects batches; mixup is done on
the batch; SpecMix goes through the samples in a Python loop; all in float32 with fastai's own optimizer or torch's
without fusion.
"""

import multiprocessing
import random

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from freesound_tagging.augment import lighting, zoom_crop

FRAMES = 128


def three_channels(image, start):
    """A window of a clip's image (mel bands, frames), uint8: float32 (3, mel bands, frames) in [0, 1]."""
    window = np.stack([image[:, start:start + FRAMES]] * 3)
    return torch.from_numpy(window).float().div_(255)


class PublishedClips(Dataset):
    """One augmented excerpt a clip."""

    def __init__(self, images, targets):
        self.images, self.targets = images, targets  # a list of (mel bands, frames) uint8

    def __len__(self):
        return len(self.images)

    def __getitem__(self, clip):
        image, target = self.images[clip], torch.from_numpy(self.targets[clip])
        excerpt = three_channels(image, random.randint(0, image.shape[1] - FRAMES))
        (excerpt,), _ = lighting(*zoom_crop(excerpt[None], target[None]))
        return excerpt, target


def loader(images, targets, batch_size, workers):
    """Endless work for `workers` processes."""
    return DataLoader(PublishedClips(images, targets), batch_size, shuffle=True, drop_last=True, num_workers=workers,
                      persistent_workers=workers > 0)


class PublishedWindows(Dataset):
    """The windows of clips, one after the other."""

    def __init__(self, images, frames=FRAMES, hop=48):
        self.windows = []
        for clip, image in enumerate(images):
            free = image.shape[1] - frames
            count = -(-free // hop) + 1
            self.windows += [(clip, image, round(free * k / max(count - 1, 1))) for k in range(count)]

    def __len__(self):
        return len(self.windows)

    def __getitem__(self, number):
        clip, image, start = self.windows[number]
        return three_channels(image, start), clip


def predict(network, images, device, batch_size=64):
    """One network over all windows of clips, batch by batch from a `DataLoader`: (clips, labels)."""
    workers = multiprocessing.cpu_count()
    outputs, clips = [], []
    with torch.no_grad():
        for x, clip in DataLoader(PublishedWindows(images), batch_size, num_workers=workers):
            outputs.append(torch.sigmoid(network((x.to(device) - 0.4) / 0.2)).cpu().numpy())
            clips.append(clip.numpy())
    outputs, clips = np.concatenate(outputs), np.concatenate(clips)
    return np.stack([outputs[clips == clip].mean(0) for clip in range(len(images))])


def mixup(images, targets, alpha=0.4):
    """fastai 1's: one share a sample, drawn with numpy."""
    share = np.random.beta(alpha, alpha, len(images))
    share = torch.tensor(np.maximum(share, 1 - share), dtype=images.dtype, device=images.device)
    partner = torch.randperm(len(images), device=images.device)
    s = share[:, None, None, None]
    return images * s + images[partner] * (1 - s), targets * share[:, None] + targets[partner] * (1 - share[:, None])


def specmix(images, targets):
    """Sample by sample."""
    partner = torch.randperm(len(images))
    mixed, weighted = images.clone(), targets.clone()
    bands, frames = images.shape[2:]
    for i in range(len(images)):
        h, w = random.uniform(0, 0.25), random.uniform(0, 0.25)
        f, t = int(h * bands), int(w * frames)
        f0, t0 = int(random.uniform(0, bands - f)), int(random.uniform(0, frames - t))
        mixed[i, :, f0:f0 + f, :] = images[partner[i], :, f0:f0 + f, :]
        mixed[i, :, :, t0:t0 + t] = images[partner[i], :, :, t0:t0 + t]
        area = h + w - h * w
        weighted[i] = targets[i] * (1 - area) + targets[partner[i]] * area
    return mixed, weighted

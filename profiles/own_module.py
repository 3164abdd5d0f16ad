"""What own.toml names: a network and an augmentation of one's own."""

import torch
from torch import nn


def small_network(n_classes, channels=8):
    """Any module from images (batch, 3, mel bands, frames) to logits (batch, n_classes)."""
    return nn.Sequential(
        nn.Conv2d(3, channels, 5, stride=2, padding=2), nn.BatchNorm2d(channels), nn.ReLU(),
        nn.Conv2d(channels, 2 * channels, 5, stride=2, padding=2), nn.BatchNorm2d(2 * channels), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * channels, n_classes))


def quieter(images, targets, by=0.5, generator=None):
    """Darken half of a batch's images, (batch, 1, mel bands, frames) in [0, 1], by a factor; targets as they were."""
    chosen = torch.rand(len(images), 1, 1, 1, generator=generator, device=images.device) < 0.5
    return torch.where(chosen, by * images, images), targets

"""The head of the published networks, which any body gets that gives a feature map."""

import torch
from torch import nn

HEAD_UNITS = 512  # the hidden layer, whatever the width of the body


class BodyAndHead(nn.Sequential):
    """A body from images to a feature map, then a head to logits: a network that a CPU predicts in portions."""

    def __init__(self, body, head):
        super().__init__(body, head)

    @property
    def body(self):
        return self[0]

    @property
    def head(self):
        return self[1]


class ConcatPool(nn.Module):
    """Maximum and mean over the image, maximum first as in fastai: (batch, channels, ...) to (batch, 2 channels)."""

    def forward(self, x):
        return torch.cat([x.amax((2, 3)), x.mean((2, 3))], 1)


def with_head(body, channels, n_classes, fan=None):
    """A body with the published head, and their start; without `fan` the body keeps its own."""
    head = nn.Sequential(
        ConcatPool(),
        nn.BatchNorm1d(2 * channels),
        nn.Dropout(0.25),
        nn.Linear(2 * channels, HEAD_UNITS),
        nn.ReLU(inplace=True),
        nn.BatchNorm1d(HEAD_UNITS),
        nn.Dropout(0.5),
        nn.Linear(HEAD_UNITS, n_classes),
    )
    for layer in [*(body if fan else ()), *head]:
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(layer.weight, mode=fan if isinstance(layer, nn.Conv2d) else "fan_in",
                                    nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    for layer in head:
        if isinstance(layer, nn.BatchNorm1d):
            nn.init.uniform_(layer.weight)  # as torch 1.0.1's BatchNorm.reset_parameters: see models.FIRST_WEIGHTS
    return BodyAndHead(body, head)

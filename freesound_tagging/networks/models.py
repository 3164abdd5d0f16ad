"""The two networks, in plain torch."""

from itertools import pairwise

import torch
from torch import nn
from torchvision.models.vgg import make_layers

# What decides them, for runs to be told apart: torch 1.0.1 starts the weights of every batch normalization from U(0, 1),
# and only those of the bodies are set to 1 afterwards, by the author's ConvBlock and by torchvision 0.2.2.
FIRST_WEIGHTS = "Kaiming-normal; batch normalizations of bodies 1, of heads U(0, 1)"
HEAD_UNITS = 512  # the head's hidden layer, whatever the width of the body
VGG16 = [64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"]


def cnn_model_1(n_classes, width=64):
    """CNN-model-1: four blocks of two convolutions, then the head (the published system's Table 1).

    Parameters
    ----------
    n_classes : int
        Labels.
    width : int
        Channels of the first block; 64 as published. The other blocks have 2, 4 and 8 times as many.

    Returns
    -------
    torch.nn.Sequential
        Body and head. Takes normalized images (batch, 3, 128, 128), gives logits (batch, n_classes).
    """
    channels = [3, width, 2 * width, 4 * width, 8 * width]
    body = nn.Sequential(*[layer for block in pairwise(channels) for layer in _block(*block)])
    return _network(body, channels[-1], n_classes, fan="fan_in")


def vgg16_bn(n_classes, width=64, body_pool=7):
    """VGG-16 with batch normalization: torchvision's body, untrained, with the head of CNN-model-1.

    fastai 1.0.51 cuts torchvision's network before its classifier and not before the pool that stands there, so that
    a body of 4 x 4 is spread to 7 x 7 before the head looks at it: the head's maximum is the same, its mean a weighted
    one.

    Parameters
    ----------
    n_classes : int
        Labels.
    width : int
        Channels of the first block; 64 as in torchvision. All other layers keep their proportion to it.
    body_pool : int
        The size that the adaptive average pool between body and head gives; 0 for no such pool.

    Returns
    -------
    torch.nn.Sequential
        Body and head. Takes normalized images (batch, 3, 128, 128), gives logits (batch, n_classes).

    References
    ----------
    Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015,
    configuration D.
    """
    layers = [layer if layer == "M" else layer * width // 64 for layer in VGG16]
    body = make_layers(layers, batch_norm=True)
    if body_pool:
        body.append(nn.AdaptiveAvgPool2d(body_pool))
    return _network(body, layers[-2], n_classes, fan="fan_out")


ARCHITECTURES = {"cnn-model-1": cnn_model_1, "vgg16": vgg16_bn}
BODY_POOL = {"cnn-model-1": 0, "vgg16": 7}  # as published: what fastai 1.0.51 leaves between body and head


class ConcatPool(nn.Module):
    """Maximum and mean over the image, maximum first as in fastai: (batch, channels, ...) to (batch, 2 channels)."""

    def forward(self, x):
        return torch.cat([x.amax((2, 3)), x.mean((2, 3))], 1)


def _block(n_in, n_out):
    for channels in (n_in, n_out):
        yield nn.Conv2d(channels, n_out, 3, padding=1)
        yield nn.BatchNorm2d(n_out)
        yield nn.ReLU(inplace=True)
    yield nn.AvgPool2d(2)


def _network(body, channels, n_classes, fan):
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
    for layer in [*body, *head]:
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(layer.weight, mode=fan if isinstance(layer, nn.Conv2d) else "fan_in",
                                    nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    for layer in head:
        if isinstance(layer, nn.BatchNorm1d):
            nn.init.uniform_(layer.weight)  # as torch 1.0.1's BatchNorm.reset_parameters: see FIRST_WEIGHTS
    return nn.Sequential(body, head)

"""Networks of one's own, as a user's module has them; imported by test_any_network.py alone."""

import torch
from torch import nn
from torch.nn import functional as F


class Residual(nn.Module):
    """A block whose second normalization can be folded and whose first cannot: its input goes elsewhere too."""

    def __init__(self, channels, seen_twice=True):
        super().__init__()
        self.first, self.second = (nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2))
        self.after_first, self.after_second = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)

    def forward(self, x):
        once = self.first(x)
        return F.relu(once + self.after_second(self.second(F.relu(self.after_first(once)))))


class Mean(nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


def residual(n_classes, channels=4):
    return nn.Sequential(nn.Conv2d(3, channels, 1), Residual(channels), Mean(), nn.Linear(channels, n_classes))


class Unlike(nn.Module):
    """Holds numbers that are no weights, looks at them while it is built, and takes steps that depend on its input."""

    def __init__(self, n_classes):
        super().__init__()
        self.scale = torch.linspace(0.5, 1.5, 128)
        assert self.scale.sum().item() > 0
        self.layer, self.normalization = nn.Conv2d(3, n_classes, 1), nn.BatchNorm2d(n_classes)

    def forward(self, x):
        x = self.normalization(self.layer(x * self.scale))
        return x.mean((2, 3)) if x.sum() > -1e9 else x.amax((2, 3))


def unlike(n_classes):
    return Unlike(n_classes)


def by_numpy(n_classes):
    """Begins with what numpy makes of a tensor while it is built."""
    network = residual(n_classes)
    network.register_buffer("window", torch.from_numpy(torch.hann_window(8).numpy() + 1))
    return network


def staged(n_classes, stage=2):
    """Has an option that is called as what a network is of a run."""
    return residual(n_classes)


WIDTH = 3


class Wrong(nn.Module):
    def __init__(self, n_classes, way):
        super().__init__()
        self.way, self.layer = way, nn.Linear(3, n_classes)
        if way == "shares":
            self.again = self.layer
        if way in ("normalizes", "looks", "uses"):
            self.convolution = nn.Conv2d(3, 3, 1)
            self.normalization = nn.BatchNorm2d(3, track_running_stats=way != "normalizes")

    def forward(self, x):
        if hasattr(self, "convolution"):
            once = self.normalization(self.convolution(x))
            if self.way == "looks":
                once = once * self.normalization.num_features
            x = once + F.conv2d(x, self.convolution.weight) if self.way == "uses" else once
        x = self.layer(x.mean((2, 3)))
        if self.way == "infinite":
            return x / 0
        if self.way == "too many":
            return torch.cat([x, x], 1)
        if self.way == "raises":
            raise KeyError("nothing here")
        return x.detach() if self.way == "no gradient" else x


def wrong(n_classes, way):
    return Wrong(n_classes, way)


def nothing_taken():
    return nn.Identity()

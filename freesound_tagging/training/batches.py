"""Batches of excerpts, cut out of a pool on the training device: random ones to train on, middle ones to validate."""

import torch

from ..images.excerpts import images_of


class _Batches:
    """What fastai asks of batches: which device they are on, and to bring them to one."""

    def to(self, device):
        """Nothing, as batches are cut on their device. Raises ValueError for another."""
        if torch.device(device).type != self.device.type:
            raise ValueError(f"batches on {self.device} cannot be had on {device}; build the ClipPool there")

    def new(self, *_, **__):
        """The same batches: what fastai asks for before it predicts."""
        return self


class RandomExcerpts(_Batches):
    """Batches of random excerpts without end, `n_batches` of them an epoch.

    Clips come in one random order after another: none comes again before all others have come. All batches are
    full, whatever the number of clips, and a clip's excerpt is drawn anew each time. Nothing is computed on the host.

    Parameters
    ----------
    pool : ClipPool
    clips : array of int
        The clips of the pool to draw from.
    batch_size, n_batches : int
    generator : torch.Generator
        On the pool's device.
    """

    def __init__(self, pool, clips, batch_size, n_batches, generator):
        self.pool, self.batch_size, self.n_batches, self.generator = pool, batch_size, n_batches, generator
        self.device = pool.pixels.device
        self.clips = torch.as_tensor(clips, device=self.device)
        if not len(self.clips):
            raise ValueError("no clips to train on: expected at least one")
        self.queue = self.clips[:0]

    def __len__(self):
        return self.n_batches

    def __iter__(self):
        needed = self.n_batches * self.batch_size
        while len(self.queue) < needed:
            order = torch.randperm(len(self.clips), generator=self.generator, device=self.device)
            self.queue = torch.cat([self.queue, self.clips[order]])
        self.drawn = clips = self.queue[:needed]
        self.queue = self.queue[needed:]
        free = self.pool.lengths[clips] - self.pool.frames + 1
        place = torch.rand(needed, generator=self.generator, device=self.device, dtype=torch.float64)
        first = self.pool.starts[clips] + (place * free).long()
        for images, now in zip(images_of(self.pool.pixels, first.split(self.batch_size), self.pool.frames),
                               clips.split(self.batch_size)):
            yield images, self.pool.targets[now]

    def fnames(self, step):
        """The clips of a step of the epoch that was begun last."""
        drawn = self.drawn[step * self.batch_size:(step + 1) * self.batch_size]
        return [self.pool.fnames[clip] for clip in drawn.tolist()]


class MiddleExcerpts(_Batches):
    """Each clip's excerpt from its middle, in batches: what an epoch is validated on.

    Parameters
    ----------
    pool : ClipPool
    clips : array of int
    batch_size : int
    """

    def __init__(self, pool, clips, batch_size=256):
        self.pool, self.device = pool, pool.pixels.device
        self.batches = torch.as_tensor(clips, device=self.device).split(batch_size) if len(clips) else ()

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        first = [self.pool.starts[now] + (self.pool.lengths[now] - self.pool.frames) // 2 for now in self.batches]
        for images, now in zip(images_of(self.pool.pixels, first, self.pool.frames), self.batches):
            yield images, self.pool.truth[now]

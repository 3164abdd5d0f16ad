"""Whole trainings beside the author's software: torch 1.0.1, torchvision 0.2.2 and fastai 1.0.51 on the same images."""

import numpy as np
import pytest


@pytest.fixture
def author(shared, benchmark):
    """`benchmarks.evidence.author` and, by an arm's name, the images and the author's mean loss of each step."""
    module = benchmark("evidence.author")

    def sides(name):
        arrays, theirs = module.author_side(shared / "author-stack/training", name)
        return module, arrays, np.mean([losses for losses, _ in theirs.values()], axis=0)
    return sides


def ratios(ours, theirs, *ends):
    """Of the mean loss of 50 steps, ours to theirs, at some ends."""
    return np.array([np.mean(ours, axis=0)[end - 50:end].mean() / theirs[end - 50:end].mean() for end in ends])


def test_cnn_model_1_learns_as_the_authors_did(author):
    """A head that begins at 1 has 1.22, 1.43 and 1.06 times the loss at steps 50, 144 and 900."""
    module, arrays, theirs = author("published")
    whole, *begun = [module.train(arrays, module.ARMS["published"], seed, until)[0]
                     for seed, until in ((1, 900), (2, 150), (3, 150), (4, 150))]
    first, second = ratios([whole[:150], *begun], theirs, 50, 144)
    assert first == pytest.approx(1, abs=0.05)
    assert second == pytest.approx(1, abs=0.03)
    np.testing.assert_allclose(ratios([whole], theirs, 300, 500, 700, 900), 1, atol=0.03)


def test_vgg_16_begins_to_learn_as_the_authors_did(author):
    """150 steps of 900: a head that begins at 1 has up to 1.43 times the loss."""
    module, arrays, theirs = author("vgg16")
    ours = [module.train(arrays, module.ARMS["vgg16"], 1, until=150)[0]]
    np.testing.assert_allclose(ratios(ours, theirs, 50, 100, 150), 1, atol=0.06)

"""From measured rates to the time that the whole takes, term by term."""

from benchmarks.speed.common import (
    CLIPS_A_STAGE,
    CUDA,
    DEVICE,
    KAGGLE_NETWORKS,
    KAGGLE_WINDOWS,
    P100_RATE,
    SPEC,
    WIDTH,
    network_flops,
)
from freesound_tagging.networks.tagger import NetworkSpec, Tagger
from freesound_tagging.training.profile import load_profile


def projection(measured):
    """7. The whole reproduction in hours, from the measured images a second."""
    profile = load_profile("full")
    excerpts_a_fold = {f"stage {config.stage}": config.passes * clips
                       for config, clips in zip(profile.stages, CLIPS_A_STAGE)}
    every = sum(excerpts_a_fold.values()) * profile.n_folds
    hours = {network: every / measured[network]["ours, images/s"] / 3600
             for network in ("cnn-model-1", "vgg16")}
    return {"excerpts a fold": excerpts_a_fold, "folds": profile.n_folds, "excerpts a network": every, "hours": hours,
            "hours of both": sum(hours.values()), "width": WIDTH,
            "note": "" if CUDA else f"at width {WIDTH}, which is not the published size: only the GPU's figure counts"}


def kaggle_hour(measured):
    """The ensemble on Kaggle's P100, from the share of a device's matrix rate that inference reached here.

    Half precision, which the P100 computes at twice the rate, is used where it changes a probability by less than 1e-3.
    """
    terms = {"windows": KAGGLE_WINDOWS, "networks of each kind": KAGGLE_NETWORKS // 2,
             "P100, TFLOP/s in float32": P100_RATE / 1e12}
    least = minutes = 0
    for network in ("cnn-model-1", "vgg16"):
        flops = network_flops(Tagger(NetworkSpec(network, **SPEC | {"options": {"width": 64}})).to(DEVICE))
        share = measured[network]["share of the matrix rate"]
        at_full_rate = KAGGLE_WINDOWS * KAGGLE_NETWORKS // 2 * flops / P100_RATE / 60
        terms[network] = {"GFLOP a window": flops / 1e9, "minutes at the full rate": at_full_rate,
                               "share of the rate measured here": share, "minutes": at_full_rate / share}
        least, minutes = least + at_full_rate, minutes + at_full_rate / share
    return {**terms, "minutes of both, float32": minutes, "minutes of both, half precision": minutes / 2,
            "least share of the rate that fits the hour, float32": least / 60,
            "least share of the rate that fits the hour, half precision": least / 120}

"""From measured rates to the time that the whole takes, term by term."""

from common import CLIPS_A_STAGE, CUDA, DEVICE, KAGGLE_NETWORKS, KAGGLE_WINDOWS, P100_RATE, SPEC, WIDTH, network_flops

from freesound_tagging.models import NetworkSpec, Tagger
from freesound_tagging.warmup import full_profile


def projection(measured):
    """7. The whole reproduction in hours, from the measured images a second."""
    profile = full_profile()
    excerpts_a_fold = {f"stage {config.stage}": config.passes * clips
                       for config, clips in zip(profile.stages, CLIPS_A_STAGE)}
    every = sum(excerpts_a_fold.values()) * profile.n_folds
    hours = {architecture: every / measured[architecture]["ours, images/s"] / 3600
             for architecture in ("cnn-model-1", "vgg16")}
    return {"excerpts a fold": excerpts_a_fold, "folds": profile.n_folds, "excerpts a network": every, "hours": hours,
            "hours of both": sum(hours.values()), "width": WIDTH,
            "note": "" if CUDA else f"at width {WIDTH}, which is not the published size: only the GPU's figure counts"}


def kaggle_hour(measured):
    """The ensemble on Kaggle's P100, from the share of a device's matrix rate that inference reached here."""
    terms = {"windows": KAGGLE_WINDOWS, "networks": KAGGLE_NETWORKS, "P100, TFLOP/s in float32": P100_RATE / 1e12}
    total = 0
    for architecture in ("cnn-model-1", "vgg16"):
        spec = NetworkSpec(architecture, **SPEC | {"width": 64})
        flops = network_flops(Tagger(spec).to(DEVICE))
        share = measured[architecture]["share of the matrix rate"]
        seconds_of_30 = KAGGLE_WINDOWS * KAGGLE_NETWORKS / 2 * flops / (P100_RATE * share)
        terms[architecture] = {"GFLOP a window": flops / 1e9, "share of the rate measured here": share,
                               "minutes": seconds_of_30 / 60}
        total += seconds_of_30 / 60
    return {**terms, "minutes of both": total, "least share of the rate for 60 minutes": sum(
        KAGGLE_WINDOWS * KAGGLE_NETWORKS / 2 * terms[a]["GFLOP a window"] * 1e9 for a in ("cnn-model-1", "vgg16")
    ) / P100_RATE / 3600}

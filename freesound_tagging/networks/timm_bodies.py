"""Bodies of timm, the library of image networks, with the head of the published networks."""

import re

import torch

from .head import with_head


def check_body(name):
    """Raise an error unless timm is installed and has a network of this name: nothing is fetched for a name."""
    try:
        import timm
    except ImportError as error:
        raise ImportError(f"network timm:{name} needs timm ({error}): pip install timm") from error
    known = timm.is_model_pretrained if "." in name else timm.is_model  # behind the dot is which weights
    if not re.fullmatch(r"[\w.]+", name) or not known(name):
        raise ValueError(f"network timm:{name[:80]}: timm {timm.__version__} has none of this name; expected one of "
                         "timm.list_models()")


def with_timm_body(name, n_classes, pretrained=False):
    """A network of timm without its classifier, then the published head.

    Parameters
    ----------
    name : str
        As timm has it, such as ``"resnet18"`` or ``"resnet18.a1_in1k"``.
    n_classes : int
        Labels.
    pretrained : bool
        Begin the body with the weights that timm has for it, which are downloaded. The head's are new.

    Returns
    -------
    BodyAndHead

    Raises
    ------
    ValueError
        If the weights cannot be had, or the body's output is no feature map (batch, channels, height, width), as a
        transformer's.
    """
    import timm

    try:
        body = timm.create_model(name, pretrained=pretrained, num_classes=0, global_pool="")
    except Exception as error:  # whatever a download ends in
        if not pretrained:
            raise
        raise ValueError(f"network timm:{name}: its pretrained weights cannot be had ({_line(error)}); see to the "
                         "download, or begin with pretrained=False") from error
    expected = "expected a convolutional one that takes images of 128 x 128"
    try:
        with torch.no_grad():
            features = body.eval()(torch.zeros(1, 3, 128, 128))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise ValueError(f"network timm:{name}: {_line(error)}; {expected}") from error
    channels = {body.num_features, getattr(body, "head_hidden_size", None)}
    if features.ndim != 4 or features.shape[1] not in channels:
        raise ValueError(f"network timm:{name} gives features of shape {tuple(features.shape)} and no map (batch, "
                         f"channels, height, width); {expected}")
    return with_head(body.train(), features.shape[1], n_classes)


def _line(error):
    return " ".join(str(error).split())[:300]

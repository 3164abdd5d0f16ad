"""A network as a table of its blocks."""

import pandas as pd
import torch
from torch import nn

from ..networks.head import BodyAndHead, ConcatPool

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def network_table(network, config, inputs=3):
    """A network as a table of blocks.

    Parameters
    ----------
    network : torch.nn.Module
        From images (batch, `inputs`, mel bands, frames) to logits.
    config : MelConfig
        Of its images.
    inputs : int
        Channels of its input.

    Returns
    -------
    pandas.DataFrame
        A row a block, as pools and batch normalizations of the head divide them, and one for the whole: its `layers`
        in words, its `output` without the batch, empty where it is no tensor or is not asked for, its `parameters`,
        and its share of the multiplications of convolutions, linear and recurrent layers, `arithmetic`.
    """
    shapes, products = {}, {}

    def look(layer, _, output):
        output = output[0] if isinstance(output, tuple) else output  # of recurrent layers and attention
        if not isinstance(output, torch.Tensor):
            return
        shapes[layer] = " x ".join(map(str, output.shape[1:]))
        if isinstance(layer, (*CONVOLUTIONS, nn.Linear, nn.RNNBase)):  # each weight is used once for each place
            places = output[:, 0] if isinstance(layer, CONVOLUTIONS) else output[..., 0]
            weights = sum(weights.numel() for weights in layer.parameters() if weights.dim() > 1)
            products[layer] = products.get(layer, 0) + weights * places.numel()

    hooks = [layer.register_forward_hook(look) for layer in network.modules()]
    was_training, device = network.training, next(network.parameters()).device
    with torch.inference_mode():
        network.eval()(torch.zeros(1, inputs, config.n_mels, config.excerpt_frames, device=device))
    network.train(was_training)
    for hook in hooks:
        hook.remove()
    rows = {name: {"layers": _in_words(layers), "output": shapes.get(layers[-1], ""),
                   "parameters": _weights(layers), "arithmetic": sum(products.get(part, 0) for layer in layers
                                                                     for part in layer.modules())}
            for name, layers in _blocks(network).items()}
    rows["all"] = {"layers": "", "output": "", "parameters": _weights([network]), "arithmetic": sum(products.values())}
    table = pd.DataFrame.from_dict(rows, "index")
    return table.assign(arithmetic=table["arithmetic"] / max(1, sum(products.values())))


def _weights(layers):
    return sum(weights.numel() for layer in layers for weights in layer.parameters())


def _blocks(network):
    """The layers of a network by the names of its blocks."""
    if not isinstance(network, BodyAndHead):
        return {name: [layer] for name, layer in network.named_children()}
    body = list(network.body) if isinstance(network.body, nn.Sequential) else [network.body]
    blocks, number = {}, {"body": 0, "head": 0}
    for part, layers in (("body", body), ("head", list(network.head))):
        ended = True
        for layer in layers:
            if ended or isinstance(layer, nn.BatchNorm1d):
                number[part] += 1
                blocks[f"{part} {number[part]}"] = []
            blocks[f"{part} {number[part]}"].append(layer)
            ended = "Pool" in type(layer).__name__
    return blocks


def _in_words(layers):
    words = []
    for layer in layers:
        kernel = _pair(getattr(layer, "kernel_size", None))
        words.append(
            f"conv {kernel}" if isinstance(layer, nn.Conv2d) else
            "BN" if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)) else
            f"dropout {layer.p:.0%}" if isinstance(layer, nn.Dropout) else
            f"average pool to {_pair(layer.output_size)}" if isinstance(layer, nn.AdaptiveAvgPool2d) else
            f"average pool {kernel}" if isinstance(layer, nn.AvgPool2d) else
            f"max pool {kernel}" if isinstance(layer, nn.MaxPool2d) else
            "maximum and mean" if isinstance(layer, ConcatPool) else type(layer).__name__.replace("Linear", "linear"))
    text, unit = ", ".join(words), "conv 3x3, BN, ReLU"
    times = text.count(unit)
    return text.replace(", ".join([unit] * times), f"{times} x ({unit})") if times > 1 else text


def _pair(size):
    """A size of two axes in words, which torch has as a pair or as one number for both."""
    return "x".join(map(str, size if isinstance(size, tuple) else (size, size)))

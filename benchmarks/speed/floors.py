"""The least time that a training step can take on a GPU, by arithmetic: ``python -m benchmarks.speed.floors``.

Two bounds: the operations of convolutions and linear layers over the matrix rate, and the bytes of every activation
that is read or written over the memory's bandwidth. The greater is the floor; a first run is held against it.
"""

import torch
from torch import nn

from benchmarks.speed.common import SPEC
from freesound_tagging.networks.tagger import NetworkSpec

# By the makers' data sheets: half precision accumulated in float32 (bfloat16 on the H100; the P100 has no tensor cores
# and counts float16), TFLOP/s without sparsity; and GB/s of memory.
GPUS = {"H100 SXM": (989, 3350), "RTX 2080 Ti": (53.8, 616), "T4": (65, 320), "P100 PCIe": (18.7, 732)}
HALF = 2  # bytes of an activation in half precision


def layers(network, width=64, batch=128):
    """Each layer of a network that computes, with its numbers of a batch.

    Returns
    -------
    list of (nn.Module, int, int, int)
        The layer, numbers that go in and come out, and its floating-point operations forward.
    """
    found, hooks = [], []

    def seen(layer, inputs, output):
        each = layer.weight[0].numel() if isinstance(layer, (nn.Conv2d, nn.Linear)) else 0
        found.append((layer, inputs[0].numel(), output.numel(), 2 * each * output.numel()))
    outline = NetworkSpec(network, **SPEC | {"options": {"width": width}}).outline()
    for layer in outline.modules():
        if not list(layer.children()):
            hooks.append(layer.register_forward_hook(seen))
    with torch.no_grad():
        outline(torch.empty(batch, 3, 128, 128, device="meta"))
    for hook in hooks:
        hook.remove()
    return found


def operations(found):
    """Floating-point operations of a training step: backward costs twice forward, but the first layer needs no
    gradient of the images."""
    each = [flops for *_, flops in found if flops]
    return 3 * sum(each) - each[0]


def numbers_moved(found, fused):
    """How many activations a training step reads and writes.

    Every layer's kernel reads its input and writes its output. Back, a convolution reads its input and twice the
    gradient of its output, and writes that of its input; batch normalization goes over its input twice in each
    direction, forward to know the mean and to apply it. Fused, what is done number by number (normalizing, ReLU, the
    pool after it) happens where its neighbours read and write anyway: then only convolutions count, and the one pass
    over their output that a batch's mean needs in each direction.
    """
    total = 0
    for layer, into, out, flops in found:
        if flops:
            total += (into + out) + (into + 2 * out + into)
            total += 2 * out if fused and isinstance(layer, nn.Conv2d) else 0
        elif fused:
            continue
        elif isinstance(layer, (nn.BatchNorm2d, nn.BatchNorm1d)):
            total += (2 * into + out) + 2 * (into + out) + into
        elif isinstance(layer, nn.ReLU):
            total += (into + out) + (2 * out + into)
        elif isinstance(layer, nn.Dropout):
            total += 2 * (into + out)
        else:  # pools
            total += (into + out) + (out + into)
    return total


def floors(batch=128):
    """The floor of each network's step on each GPU."""
    result = {}
    for network in ("cnn-model-1", "vgg16"):
        found = layers(network, batch=batch)
        flops = operations(found)
        moved = {way: HALF * numbers_moved(found, way == "fused") for way in ("eager", "fused")}
        rows = {}
        for name, (tflops, bandwidth) in GPUS.items():
            matrix = flops / (tflops * 1e12)
            memory = {way: size / (bandwidth * 1e9) for way, size in moved.items()}
            rows[name] = {"matrix, ms": 1e3 * matrix,
                          **{f"memory {way}, ms": 1e3 * seconds for way, seconds in memory.items()},
                          **{f"images/s, {way}": batch / max(matrix, seconds) for way, seconds in memory.items()}}
        result[network] = {"TFLOP a step": flops / 1e12,
                                **{f"GB a step, {way}": size / 1e9 for way, size in moved.items()}, "GPUs": rows}
    return result


def table(result):
    """The same as lines of markdown."""
    yield "| a step of 128 | TFLOP | GB eager, fused | GPU | matrix, ms | memory eager, fused, ms | images/s |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for network, of_it in result.items():
        for name, row in of_it["GPUs"].items():
            rates = dict.fromkeys(f"{row[f'images/s, {way}']:,.0f}" for way in ("eager", "fused"))
            yield (f"| {network} | {of_it['TFLOP a step']:.2f} | {of_it['GB a step, eager']:.1f}, "
                   f"{of_it['GB a step, fused']:.1f} | {name} | {row['matrix, ms']:.1f} | "
                   f"{row['memory eager, ms']:.1f}, {row['memory fused, ms']:.1f} | {' to '.join(rates)} |")


if __name__ == "__main__":
    print("\n".join(table(floors())))

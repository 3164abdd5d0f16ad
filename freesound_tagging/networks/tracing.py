"""Where a network of any kind normalizes a convolution's output, by tracing it."""

from collections import Counter

from torch import fx, nn


class _Tracer(fx.Tracer):
    def is_leaf_module(self, module, name):
        return isinstance(module, nn.BatchNorm2d) or super().is_leaf_module(module, name)


def normalized_convolutions(network):
    """Convolutions whose output goes into a batch normalization and nowhere else.

    Parameters
    ----------
    network : torch.nn.Module
        In evaluation mode.

    Returns
    -------
    list of (str, str)
        The names of both: torch's own layers without hooks, each computed once. Empty if `network` cannot be traced,
        such as one whose steps depend on its numbers.
    """
    try:
        nodes = list(_Tracer().trace(network).nodes)
    except Exception:  # any that steps of its own raise on what is no tensor
        return []
    modules, computed = dict(network.named_modules()), Counter(node.target for node in nodes)

    def is_plain(node, kind):
        module = modules.get(node.target) if isinstance(node, fx.Node) and node.op == "call_module" else None
        return (type(module) is kind and computed[node.target] == 1 and not module._forward_hooks
                and not module._forward_pre_hooks)
    return [(before.target, node.target) for node in nodes for before in node.args[:1]
            if is_plain(node, nn.BatchNorm2d) and modules[node.target].track_running_stats
            and is_plain(before, nn.Conv2d) and len(before.users) == 1]

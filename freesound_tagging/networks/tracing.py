"""Where a network of any kind normalizes a convolution's output, by tracing it."""

import threading
from collections import Counter

from torch import fx, nn

TRACING = threading.Lock()  # one at a time: each puts back what it found torch's modules to be


class _Tracer(fx.Tracer):
    """A tracer of this thread's calls, as torch.fx has it follow those of all threads."""

    def __init__(self):
        super().__init__()
        self.thread = threading.get_ident()

    def call_module(self, module, forward, args, kwargs):
        if threading.get_ident() != self.thread:
            return forward(*args, **kwargs)
        return super().call_module(module, forward, args, kwargs)

    def is_leaf_module(self, module, name):
        return isinstance(module, nn.BatchNorm2d) or super().is_leaf_module(module, name)


def normalized_convolutions(network):
    """The names of each convolution whose output a batch normalization takes and nothing else, and of the latter.

    They are torch's own layers without hooks, each computed once. There are none in a network that cannot be traced,
    such as one whose steps depend on its numbers. It is in evaluation mode.
    """
    try:
        with TRACING:
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

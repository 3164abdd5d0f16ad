"""Whether a network can be trained, before it is."""

import tempfile
from pathlib import Path

import torch

from .tagger import Tagger
from .weights import load_tagger, save_tagger


def check_network(spec, device="cpu", precision=torch.float32, batch_size=2):
    """Do with a new network what training and prediction will ask of it, with a batch of random images.

    That is a step along the gradient, a prediction in evaluation mode, and a file that is read again.

    Parameters
    ----------
    spec : NetworkSpec
    device : str or torch.device
    precision : torch.dtype
        As for `Tagger`.
    batch_size : int
        Images; at least 2, as batch normalization wants them.

    Raises
    ------
    ValueError
        If a step fails, or gives logits of another shape than (batch, labels) or numbers that are not finite. The
        message names the network and what was expected.
    torch.OutOfMemoryError
        If the GPU is full.
    """
    device = torch.device(device)
    images = torch.rand(batch_size, 1, spec.mel.n_mels, spec.mel.excerpt_frames,
                        generator=torch.Generator().manual_seed(0)).to(device)
    images[1:] /= 4  # other images than the first, so that a look at the others is seen
    shape, doing = (batch_size, len(spec.vocabulary)), "being built"

    def check(logits):
        if logits.shape != shape:
            raise ValueError(f"it gave logits of shape {tuple(logits.shape)}, expected (batch, labels), {shape}")
        if not logits.isfinite().all():
            raise ValueError("it gave logits that are not finite")
        return logits
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), torch.enable_grad():
        try:
            tagger = Tagger(spec, precision).to(device).train()
            doing = "a training step"
            optimizer = torch.optim.SGD(tagger.parameters(), lr=1e-3)
            check(tagger(images)).square().mean().backward()
            gradients = [p.grad for p in tagger.parameters() if p.grad is not None]
            if not gradients or not all(gradient.isfinite().all() for gradient in gradients):
                raise ValueError(f"its gradients are {'not finite' if gradients else 'none'}, expected some to follow")
            optimizer.step()
            doing = "prediction"
            with torch.no_grad():
                logits = check(tagger.eval()(images))
                alone = tagger(images[:1])
                if not torch.allclose(alone, logits[:1], rtol=1e-3, atol=1e-4):
                    raise ValueError("it gave an image other logits alone than beside others; expected that what is "
                                     "predicted with it has no part in it, as of a normalization over the batch")
            doing = "being written and read"
            with tempfile.TemporaryDirectory() as folder, torch.no_grad():
                path = Path(folder) / "network.safetensors"
                save_tagger(tagger, path)
                again = load_tagger(path)
                again.precision = precision
                if not torch.allclose(again.to(device)(images), logits, rtol=1e-3, atol=1e-3):
                    raise ValueError("it then gave other logits; expected all that it computes with in its state_dict, "
                                     "and nothing random in evaluation mode")
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # of any kind, out of code that may be anyone's
            said = " ".join(str(error).split())[:500] or type(error).__name__
            options = ", ".join(f"{name}={value!r}" for name, value in spec.options)
            raise ValueError(f"network {spec.network} ({options}) failed in {doing} on images of "
                             f"{tuple(images.shape)}: {said}") from error

"""Freesound Audio Tagging 2019: SpecMix and the warm-up pipeline, rebuilt.

The modules are the steps of the pipeline, and each imports only earlier ones:
``dataset`` and ``spectrogram`` and ``lwlrap`` (numpy), ``augment``, ``models``, ``weights`` and
``inference`` (plus torch), ``training`` and ``warmup`` (plus fastai), ``plots`` (plus matplotlib).
``demo`` writes a small data set to try all of it on.
"""

__version__ = "0.1.0"

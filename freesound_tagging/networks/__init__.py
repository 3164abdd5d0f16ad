"""Networks by name, what is known about each, and the files that they come in, the author's too."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={
    "check": ["check_network"],
    "head": ["BodyAndHead"],
    "models": ["PUBLISHED_NETWORKS", "cnn_model_1", "create", "register", "vgg16_bn"],
    "tagger": ["NetworkSpec", "Tagger", "fold_batchnorm"],
    "weights": ["find_weights", "import_fastai_v1", "load_tagger", "read_spec", "save_tagger", "weights_path"],
})

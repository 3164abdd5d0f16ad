"""The disk, the processes and the devices that everything else stands on."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={
    "cluster": ["RayExecutor"],
    "device": ["default_device", "device_named", "inference_precision", "prepare_device", "training_precision"],
    "executors": ["InProcess", "executor_of"],
    "files": ["only_writer", "whole_file"],
    "processes": ["Processes", "peak_memory"],
})

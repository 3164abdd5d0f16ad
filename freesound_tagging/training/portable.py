"""A profile of one's own with its modules, copied to where another machine reads it."""

import shutil
import sys
from pathlib import Path

from ..machine.files import as_path
from ..networks.models import find
from .description import Description
from .profile import NAMES, load_profile


def copy_profile(source, folder):
    """Copy a profile's file, and the modules of one's own that what it names is of and refers to.

    Parameters
    ----------
    source : path or str
        As of `load_profile`; nothing is copied of a profile that comes with the package.
    folder : path
        Made if need be. What modules read besides, such as files of numbers, does not come along.

    Returns
    -------
    pathlib.Path or None
        The copy, from which `load_profile` reads the same; None of a profile that comes with the package.

    Raises
    ------
    ValueError
        If there is no such profile, or it begins with trained networks, which would have to come along.
    """
    profile = load_profile(source)
    if str(source) in NAMES:
        return None
    if profile.start:
        raise ValueError(f"{source} begins with trained networks, {profile.start}, and they do not come along; leave "
                         "start out")
    source, folder = as_path(source), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    modules = {tuple(name.split(".")) for function in (*profile.augmentation, find(profile.network))
               for name in Description(function).modules}
    for name in {parts[:end] for parts in modules for end in range(1, len(parts) + 1)}:  # and packages around them
        if file := getattr(sys.modules[".".join(name)], "__file__", None):
            package = folder.joinpath(*name) if Path(file).stem == "__init__" else folder.joinpath(*name[:-1])
            package.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, package / Path(file).name)
    return Path(shutil.copyfile(source, folder / source.name))

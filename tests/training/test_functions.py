"""Functions of a run that are told apart by what they compute, and modules that are what their files say."""

import dataclasses
import functools
import importlib
import os
import re
import subprocess
import sys

import pytest
import torch

from freesound_tagging.augment import compose, mixup, specmix
from freesound_tagging.images.mel import MelConfig
from freesound_tagging.training.functions import code_of, name_of, try_augmentation
from freesound_tagging.training.profile import load_profile

MODULE = """
import functools
import numpy as np
import torch
from freesound_tagging.augment import specmix

import told_apart_too as too

BY, STEPS, NOISE = {by}, ({by}, specmix), np.full(3, {by})
SEEN = [{by}]  # what it remembers

class Gain:
    def times(self, images):
        return images * {by}

def times(images):
    return images * {by}

def plain(images, targets, generator=None):
    return images, targets

def sometimes(function, p):
    def step(images, targets, generator=None):
        return function(images, targets) if p > 0.5 else (images, targets)
    return step

def named(function, p):
    return functools.wraps(function)(sometimes(function, p))

def by_global(images, targets, generator=None):
    return images * BY, targets

def by_global_within(images, targets, generator=None):
    return (lambda: images * BY)(), targets

def by_default(images, targets, generator=None, by={by}):
    return images * by, targets

def by_function(images, targets, generator=None):
    return times(images), targets

def by_class(images, targets, generator=None):
    return Gain().times(images), targets

def by_array(images, targets, generator=None):
    return images + torch.as_tensor(NOISE).mean(), targets

def by_module(images, targets, generator=None):
    return too.gain(images), targets

def by_tuple(images, targets, generator=None):
    return images * STEPS[0], targets

def by_closure(images, targets, generator=None):
    return images, targets
by_closure = sometimes(by_function, 0.7)
by_wrapper = named(plain, {by})

@torch.no_grad()
def decorated(images, targets, generator=None):
    return images * BY, targets

def remembers(images, targets, generator=None):
    SEEN.append(1)
    return images, targets

def memory():
    seen = [{by}]
    def step(images, targets, generator=None):
        return images, targets
    return step
remembers_within = memory()
"""
TOLD_APART = ["by_global", "by_global_within", "by_default", "by_function", "by_class", "by_array", "by_tuple",
              "by_closure", "by_wrapper", "decorated", "by_module"]


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes the module and imports it: with other numbers in it, as another program would."""
    monkeypatch.syspath_prepend(tmp_path)

    def module(by):
        (tmp_path / "told_apart.py").write_text(MODULE.format(by=by))
        (tmp_path / "told_apart_too.py").write_text(f"def gain(images):\n    return images * {by}\n")
        for name in ("told_apart", "told_apart_too"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        return importlib.import_module("told_apart")
    yield module
    for name in ("told_apart", "told_apart_too"):
        sys.modules.pop(name, None)


def test_functions_of_one_name_are_told_apart_by_what_they_compute(module):
    one, other, again = ({name: code_of(getattr(module(by), name)) for name in (
        *TOLD_APART, "remembers", "remembers_within", "plain")} for by in (0.5, 0.25, 0.5))
    assert one == again
    assert [name for name in one if one[name] != other[name]] == TOLD_APART


def test_functions_that_wrap_others_are_told_apart_by_these(module):
    made = module(0.5)
    pairs = [(made.sometimes(made.plain, 0.5), made.sometimes(made.by_global, 0.5)),
             (made.named(made.plain, 0.5), made.named(made.by_global, 0.5)), (made.named(made.plain, 0.5), made.plain),
             (compose((mixup, made.sometimes(made.plain, 0.5))), compose((mixup, made.sometimes(made.by_global, 0.5)))),
             (functools.partial(made.by_default, by=made.times), functools.partial(made.by_default, by=made.plain))]
    for one, other in pairs:
        assert code_of(one) != code_of(other)
    wrapped = functools.wraps(specmix)(lambda images, targets, generator=None: (images, targets))
    assert code_of(wrapped) and code_of(specmix) == code_of(torch.no_grad()(specmix)) == ""
    assert code_of(compose((mixup, specmix))) == code_of(functools.partial(specmix, stripes=2)) == ""


def test_a_digest_is_the_same_in_every_process(module, tmp_path):
    names = [*TOLD_APART, "remembers"]
    here = [code_of(getattr(module(0.5), name)) for name in names]
    code = ("import sys, told_apart\nfrom freesound_tagging.training.functions import code_of\n"
            f"print([code_of(getattr(told_apart, name)) for name in {names}])")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True,
                          env={**os.environ, "PYTHONHASHSEED": "5"})
    assert done.stdout.strip() == str(here)


def test_a_function_that_is_written_into_a_notebook_has_a_digest_too():
    names = {"__name__": "__main__"}
    exec("BY = 2\ndef step(images, targets, generator=None):\n    return images * BY, targets", names)
    two = code_of(names["step"])
    names["BY"] = 3
    assert two and two != code_of(names["step"])


@pytest.fixture
def profile(tmp_path, monkeypatch):
    """Writes a profile with a module beside it."""
    monkeypatch.setattr(sys, "path", [*sys.path])

    def profile(folder, by, name="beside_profile"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / f"{name}.py").write_text(
            f"def step(images, targets, generator=None):\n    return images * {by}, targets\n")
        importlib.invalidate_caches()
        tiny = load_profile("tiny").text
        (tmp_path / folder / "own.toml").write_text(
            re.sub("^augmentation = .*", f'augmentation = ["{name}:step"]', tiny, flags=re.M))
        return tmp_path / folder / "own.toml"
    yield profile
    for name in ("beside_profile", "beside_other"):
        sys.modules.pop(name, None)


def test_a_module_that_was_changed_after_it_was_imported_is_not_taken_for_what_it_was(profile):
    ones = torch.ones(1)
    step, = load_profile(profile("a", 0.5)).augmentation
    load_profile(profile("a", 0.5))
    edited = profile("a", 0.25)
    with pytest.raises(ValueError, match=r"own\.toml: .*beside_profile\.py has been changed since it was imported, .*"
                       "restart this program, or the notebook's kernel"):
        load_profile(edited)
    importlib.reload(sys.modules["beside_profile"])
    again, = load_profile(edited).augmentation
    assert (step(ones, None)[0].item(), again(ones, None)[0].item()) == (0.5, 0.25)


def test_modules_of_one_name_beside_two_profiles_are_not_mixed_up(profile):
    load_profile(profile("a", 0.5, "beside_other"))
    with pytest.raises(ValueError, match=r"beside_other is .*/a/beside_other\.py in this program, and not .*/b/besid"):
        load_profile(profile("b", 0.1, "beside_other"))


@pytest.mark.parametrize(("kind", "said"), [
    ("images.double(), targets", "gave images of torch.float64 and targets of torch.float32"),
    ("(images * 255).byte(), targets", "gave images of torch.uint8"),
    ("images, targets.int()",
     "gave images of torch.float32 and targets of torch.int32, expected torch.float32, as they were")])
def test_batches_of_another_kind_are_refused(kind, said):
    step = eval(f"lambda images, targets, generator: ({kind})")
    with pytest.raises(ValueError, match=f"augmentation 'own': {said}"):
        try_augmentation("own", step, MelConfig())
    try_augmentation("own", lambda images, targets, generator: (images.half(), targets.double()), MelConfig())


def test_two_steps_of_one_name_in_a_chain_both_count(module):
    made, tiny = module(0.5), load_profile("tiny")
    chains = [(made.plain, made.sometimes(made.plain, 0.5), made.sometimes(other, 0.5)) for other in (
        made.plain, made.by_global)]
    one, other = (dataclasses.replace(tiny, augmentation=chain).described() for chain in chains)
    assert one["augmentation"] == other["augmentation"] and one["code"] != other["code"]
    assert name_of(chains[0][1]) == name_of(chains[0][2])

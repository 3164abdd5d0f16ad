"""Functions of a run that are told apart by what they compute, and modules that are what their files say."""

import dataclasses
import enum
import functools
import importlib
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

from freesound_tagging.augment import compose, mixup, specmix
from freesound_tagging.images.mel import MelConfig
from freesound_tagging.training.augmentations import try_augmentation
from freesound_tagging.training.functions import code_of, name_of
from freesound_tagging.training.profile import load_profile

MODULE = """
import functools
import types
import numpy as np
import torch
from freesound_tagging.augment import specmix

import told_apart_lab.tools
import told_apart_too as too

BY, STEPS, NOISE = {by}, ({by}, specmix), np.full(3, {by})
NUMBER, HALF = np.float32({by}), torch.tensor({by}, dtype=torch.bfloat16)
LIST, TABLE, THING = [{by}], {{"by": {by}}}, types.SimpleNamespace(by={by})
SEEN, KNOWN = [], {{}}  # what it remembers

class Gain:
    def times(self, images):
        return images * {by}

class Attribute:
    by = {by}

class Property:
    @property
    def by(self):
        return BY

class Made:
    by = STEPS[0]

@functools.lru_cache
def cached():
    return {by}

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

def by_number(images, targets, generator=None):
    return images * NUMBER, targets

def by_half(images, targets, generator=None):
    return images * HALF, targets

def by_list(images, targets, generator=None):
    return images * LIST[0], targets

def by_table(images, targets, generator=None):
    return images * TABLE["by"], targets

def by_object(images, targets, generator=None):
    return images * THING.by, targets

def by_attribute(images, targets, generator=None):
    return images * Attribute.by, targets

def by_property(images, targets, generator=None):
    return images * Property().by, targets

def by_made(images, targets, generator=None):
    return images * Made.by, targets

def by_cached(images, targets, generator=None):
    return images * cached(), targets

def by_package(images, targets, generator=None):
    return told_apart_lab.tools.loud(images), targets

def by_list_elsewhere(images, targets, generator=None):
    return images * too.LIST[0], targets

def by_import(images, targets, generator=None):
    from told_apart_too import gain
    return gain(images), targets

def by_import_of_a_package(images, targets, generator=None):
    from told_apart_lab import tools
    return tools.loud(images), targets

def by_closure(images, targets, generator=None):
    return images, targets
by_closure = sometimes(by_function, 0.7)
by_wrapper = named(plain, {by})

@torch.no_grad()
def decorated(images, targets, generator=None):
    return images * BY, targets

def remembers(images, targets, generator=None):
    SEEN.append(1)
    KNOWN[len(SEEN)] = 1
    return images, targets

def memory():
    seen = [{by}]
    def step(images, targets, generator=None):
        return images, targets
    return step
remembers_within = memory()
"""
TOLD_APART = ["by_global", "by_global_within", "by_default", "by_function", "by_class", "by_array", "by_tuple",
              "by_closure", "by_wrapper", "decorated", "by_module", "by_number", "by_half", "by_list", "by_table",
              "by_object", "by_attribute", "by_property", "by_made", "by_cached", "by_package", "by_list_elsewhere",
              "by_import", "by_import_of_a_package"]

class Kind(enum.Enum):
    ONE, OTHER = 1, 2


MODULES = ("told_apart", "told_apart_too", "told_apart_lab.tools", "told_apart_lab")


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes the module and imports it: with other numbers in it, as another program would."""
    monkeypatch.syspath_prepend(tmp_path)

    def module(by):
        (tmp_path / "told_apart.py").write_text(MODULE.format(by=by))
        (tmp_path / "told_apart_too.py").write_text(f"LIST = [{by}]\ndef gain(images):\n    return images * {by}\n")
        (tmp_path / "told_apart_lab").mkdir(exist_ok=True)
        (tmp_path / "told_apart_lab/tools.py").write_text(f"def loud(images):\n    return images * {by}\n")
        for name in MODULES:
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        return importlib.import_module("told_apart")
    yield module
    for name in MODULES:
        sys.modules.pop(name, None)


def test_functions_of_one_name_are_told_apart_by_what_they_compute(module):
    one, other, again = ({name: code_of(getattr(module(by), name)) for name in (
        *TOLD_APART, "remembers", "remembers_within", "plain")} for by in (0.5, 0.25, 0.5))
    assert one == again
    assert [name for name in one if one[name] != other[name]] == TOLD_APART


def test_what_a_function_remembers_does_not_count(module):
    made = module(0.5)
    for step in (made.remembers, made.remembers_within):
        before = code_of(step)
        step(torch.ones(1), torch.ones(1))
        assert code_of(step) == before
    assert made.SEEN == [1] and made.KNOWN == {1: 1}


def step_with(value):
    def step(images, targets, generator=None):
        return images * value, targets
    return step


@pytest.mark.parametrize(("one", "other"), [
    (np.zeros((4, 1)), np.zeros((1, 4))), (np.zeros(4, np.int32), np.zeros(4, np.float32)),
    (torch.zeros(4, 1), torch.zeros(1, 4)), (torch.zeros(2, dtype=torch.bfloat16), torch.zeros(2, dtype=torch.float16)),
    (((1, 2), 3), (1, (2, 3))), ({"p": 0.5}, {"p": 0.25}), (np.float32(0.5), np.float32(0.25)),
    (torch.float32, torch.float16), (Kind.ONE, Kind.OTHER), (functools.partial(min, 1), functools.partial(min, 2))])
def test_values_of_a_closure_are_told_apart(one, other):
    assert code_of(step_with(one)) != code_of(step_with(other))
    assert code_of(step_with(one)) == code_of(step_with(one)) != ""


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


def test_classes_and_lists_of_a_notebook_count_by_their_values(tmp_path):
    code = """
from freesound_tagging.training.functions import code_of
def digest(text, names):
    exec(text, names)
    exec("def change(learner):\\n    return Average.decay, SETTINGS", names)
    return code_of(names["change"])
names = {"__name__": "__main__"}
made = [digest(f"class Average:\\n    decay = {decay}\\nSETTINGS = [{by}]", names) for decay, by in (
    (0.98, 1), (0.5, 1), (0.98, 2), (0.98, 1))]
print(len(set(made)), made[0] == made[3])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3", "True"]


@pytest.fixture
def profile(tmp_path, monkeypatch):
    """Writes a profile with a module beside it."""
    monkeypatch.setattr(sys, "path", [*sys.path])

    def profile(folder, by, name="beside_profile", helper=None):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / f"{name}.py").write_text(
            f"{'from beside_helper import BY' if helper else ''}\n"
            f"def step(images, targets, generator=None):\n    return images * {'BY' if helper else by}, targets\n")
        if helper:
            (tmp_path / folder / "beside_helper").mkdir(exist_ok=True)
            (tmp_path / folder / "beside_helper/__init__.py").write_text(f"BY = {helper}\ndef unused(): pass\n")
        importlib.invalidate_caches()
        tiny = load_profile("tiny").text
        (tmp_path / folder / "own.toml").write_text(
            re.sub("^augmentation = .*", f'augmentation = ["{name}:step"]', tiny, flags=re.M))
        return tmp_path / folder / "own.toml"
    yield profile
    for name in ("beside_profile", "beside_other", "beside_helper"):
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


@pytest.mark.parametrize("file", ["beside_profile.py", "beside_helper/__init__.py"])
def test_what_is_edited_is_refused_wherever_it_is_told_apart(profile, tmp_path, file):
    step, = load_profile(profile("a", 0.5, helper=2)).augmentation
    module = tmp_path / "a" / file
    module.write_text(module.read_text() + "MORE = 1\n")
    for work in (lambda: code_of(step), lambda: load_profile(tmp_path / "a/own.toml"),
                 lambda: dataclasses.replace(load_profile("tiny"), augmentation=(step,)).described()):
        with pytest.raises((ImportError, ValueError), match=f"{re.escape(str(module))} has been changed since it was"):
            work()


def test_what_is_edited_before_it_is_first_told_apart_is_refused(profile, tmp_path, monkeypatch):
    profile("a", 0.5)
    monkeypatch.syspath_prepend(tmp_path / "a")
    step = importlib.import_module("beside_profile").step
    edited = profile("a", 0.25)
    with pytest.raises(ImportError, match=r"beside_profile\.py has been changed since it was imported"):
        code_of(step)
    with pytest.raises(ValueError, match=r"beside_profile\.py has been changed since it was imported"):
        load_profile(edited)


def test_modules_of_one_name_beside_two_profiles_are_not_mixed_up(profile):
    load_profile(profile("a", 0.5, "beside_other"))
    with pytest.raises(ValueError, match=r"beside_other is .*/a/beside_other\.py in this program, and not .*/b/besid"):
        load_profile(profile("b", 0.1, "beside_other"))
    load_profile(profile("a", 1, helper=0.5))
    load_profile(profile("c", 1, helper=0.5))
    with pytest.raises(ValueError, match=r"beside_helper is .*/a/beside_helper/__init__\.py .* not .*/d/beside_helper"):
        load_profile(profile("d", 1, helper=0.25))


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

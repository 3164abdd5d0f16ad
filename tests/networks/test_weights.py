import dataclasses
import json

import pytest
import safetensors.torch
import torch

from freesound_tagging.images.mel import MelConfig
from freesound_tagging.networks.models import NetworkSpec, Tagger
from freesound_tagging.networks.weights import find_weights, load_tagger, read_spec, save_tagger, weights_path

SPEC = NetworkSpec("vgg16", 4, ("Bark", "Meow", "Purr"), MelConfig(hop_length=347), (0.4,) * 3, (0.2,) * 3, 3, 1)


def test_a_network_comes_back_as_it_was(tmp_path):
    tagger = Tagger(SPEC).eval()
    path = weights_path(tmp_path / "vgg16", 3, 1)
    save_tagger(tagger, path)
    assert path == tmp_path / "vgg16/stage-3_fold-1.safetensors"
    loaded = load_tagger(path)
    assert loaded.spec == SPEC
    assert not loaded.training
    images = torch.rand(2, 1, 128, 128)
    assert torch.equal(loaded(images), tagger(images))
    assert [p.name for p in path.parent.iterdir()] == [path.name], "nothing unfinished is left beside it"


def test_the_description_is_read_without_the_weights(tmp_path):
    save_tagger(Tagger(SPEC), tmp_path / "a.safetensors")
    assert read_spec(tmp_path / "a.safetensors") == SPEC


def test_other_files_are_refused_by_name(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ValueError, match=r"a\.safetensors is not a whole safetensors file"):
        load_tagger(tmp_path / "a.safetensors")
    safetensors.torch.save_file({"x": torch.zeros(1)}, tmp_path / "b.safetensors")
    with pytest.raises(ValueError, match=r"b\.safetensors is a safetensors file without 'freesound-tagging-1'"):
        load_tagger(tmp_path / "b.safetensors")


def test_weights_that_do_not_fit_their_description_are_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    spec = json.dumps(dataclasses.asdict(SPEC) | {"width": 8, "version": "0"})
    tensors = {name: tensor.contiguous() for name, tensor in Tagger(SPEC).network.state_dict().items()}
    safetensors.torch.save_file(tensors, path, {"freesound-tagging-1": spec})
    with pytest.raises(ValueError, match=r"a\.safetensors: the weights do not fit"):
        load_tagger(path)


def test_weights_of_the_wanted_stages_are_found_in_order(tmp_path):
    for name in ("vgg16/stage-2_fold-0", "vgg16/stage-10_fold-0", "cnn-model-1/stage-4_fold-1",
                 "cnn-model-1/stage-4_fold-0", "cnn-model-1/stage-1_fold-0", "notes"):
        (tmp_path / f"{name}.safetensors").parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.safetensors").touch()
    assert [path.relative_to(tmp_path).as_posix() for path in find_weights(tmp_path)] == [
        "cnn-model-1/stage-4_fold-0.safetensors", "cnn-model-1/stage-4_fold-1.safetensors",
        "vgg16/stage-2_fold-0.safetensors"]
    with pytest.raises(FileNotFoundError, match="of the stages 3"):
        find_weights(tmp_path, (3,))


@pytest.mark.parametrize(("metadata", "message"), [
    ({"freesound-tagging-2": "{}"}, "is of the format freesound-tagging-2, and version .* reads freesound-tagging-1"),
    ({"freesound-tagging-1": json.dumps(dataclasses.asdict(SPEC) | {"version": "9.1", "depth": 3})},
     r"written by another version of this package, 9\.1,.*depth.*install that version"),
    ({"freesound-tagging-1": "{"}, "does not understand its description"),
    ({"freesound-tagging-1": json.dumps(dataclasses.asdict(SPEC) | {"version": "0", "architecture": "resnet"})},
     "architecture 'resnet': expected one of"),
])
def test_networks_of_another_version_are_refused_by_name(tmp_path, metadata, message):
    safetensors.torch.save_file({"x": torch.zeros(1)}, tmp_path / "a.safetensors", metadata)
    with pytest.raises(ValueError, match=message) as caught:
        load_tagger(tmp_path / "a.safetensors")
    assert "a.safetensors" in str(caught.value)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_truncated_weights_are_refused_by_name(tmp_path, share):
    save_tagger(Tagger(SPEC), tmp_path / "a.safetensors")
    whole = (tmp_path / "a.safetensors").read_bytes()
    (tmp_path / "a.safetensors").write_bytes(whole[:int(len(whole) * share)])
    with pytest.raises(ValueError, match=r"a\.safetensors is not a whole safetensors file"):
        load_tagger(tmp_path / "a.safetensors")


@pytest.mark.parametrize("moment", range(1, 20))
def test_an_interrupt_while_weights_load_stays_an_interrupt(tmp_path, interrupted, moment):
    """Torch turns one into a ValueError about a storage's shape, where it comes while it looks at a mapped file."""
    def reads(frame, _):
        return "storage.py" in frame.f_code.co_filename or "safetensors" in frame.f_code.co_filename
    save_tagger(Tagger(SPEC), tmp_path / "a.safetensors")
    with interrupted(reads, moment):
        load_tagger(tmp_path / "a.safetensors")

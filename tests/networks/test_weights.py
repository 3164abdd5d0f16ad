import dataclasses
import json
import sys
import tracemalloc

import pytest
import safetensors.torch
import torch

from freesound_tagging.images.mel import MelConfig
from freesound_tagging.networks.tagger import NetworkSpec, Tagger, fold_batchnorm
from freesound_tagging.networks.weights import find_weights, load_tagger, read_spec, save_tagger, weights_path

MEL = MelConfig(hop_length=347)
SPEC = NetworkSpec("vgg16", {"width": 4}, ("Bark", "Meow", "Purr"), MEL, (0.4,) * 3, (0.2,) * 3, 3, 1)
DESCRIBED = {"version": "0", "network": "vgg16", "options": {"width": 4, "body_pool": 7},
             "vocabulary": ["Bark", "Meow", "Purr"], "mel": dataclasses.asdict(MEL), "mean": [0.4] * 3,
             "std": [0.2] * 3, "stage": 3, "fold": 1, "seed": None}
# What files said until a network could be any: one of two, and what is special of them in fields of their own.
DESCRIBED_1 = {"architecture": "vgg16", "width": 4, "body_pool": 7,
               **{name: value for name, value in DESCRIBED.items() if name not in ("network", "options")}}


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
    with pytest.raises(ValueError, match=r"a\.safetensors cannot be loaded: it is not a whole safetensors file"):
        load_tagger(tmp_path / "a.safetensors")
    safetensors.torch.save_file({"x": torch.zeros(1)}, tmp_path / "b.safetensors")
    with pytest.raises(ValueError, match=r"b\.safetensors .* is a safetensors file without 'freesound-tagging-2'"):
        load_tagger(tmp_path / "b.safetensors")


def test_weights_that_do_not_fit_their_description_are_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    spec = json.dumps(DESCRIBED | {"options": {"width": 8, "body_pool": 7}})
    tensors = {name: tensor.contiguous() for name, tensor in Tagger(SPEC).network.state_dict().items()}
    safetensors.torch.save_file(tensors, path, {"freesound-tagging-2": spec})
    with pytest.raises(ValueError, match=r"a\.safetensors .* do not fit .* of shape \(4, 3, 3, 3\), expected \(8, "):
        load_tagger(path)


def test_what_could_not_be_read_again_is_not_written(tmp_path):
    save_tagger(Tagger(SPEC), path := tmp_path / "a.safetensors")
    written = path.read_bytes()
    for change, said in ((fold_batchnorm, "'0.1.weight' is missing"),
                         (Tagger.double, "is of torch.float64, expected torch.float32")):
        with pytest.raises(ValueError, match=rf"a\.safetensors was not written: .* do not fit .*{said}; write"):
            save_tagger(change(Tagger(SPEC).eval()), path)
        assert path.read_bytes() == written


@pytest.mark.parametrize("default", [torch.float64, torch.bfloat16])
def test_weights_are_float32_whatever_torchs_default_is(tmp_path, default):
    try:
        torch.set_default_dtype(default)
        save_tagger(Tagger(SPEC), tmp_path / "a.safetensors")
        loaded = load_tagger(tmp_path / "a.safetensors")
    finally:
        torch.set_default_dtype(torch.float32)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}


@pytest.mark.filterwarnings("ignore:there is no model")
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
    ({"freesound-tagging-3": "{}"},
     "is of the format freesound-tagging-3, and version .* reads freesound-tagging-1 and freesound-tagging-2"),
    ({"freesound-tagging-2": json.dumps(DESCRIBED | {"version": "9.1", "depth": 3})},
     r"version 9\.1 of this package wrote it,.*depth.*install that version"),
    ({"freesound-tagging-2": "{"}, "does not understand its description"),
    ({"freesound-tagging-2": json.dumps(DESCRIBED | {"network": "resnet"})}, "network 'resnet': expected one of"),
    ({"freesound-tagging-1": json.dumps(DESCRIBED_1 | {"architecture": "resnet"})},
     "network 'resnet': expected one of"),
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
    with pytest.raises(ValueError, match=r"a\.safetensors cannot be loaded: it is (not a whole safet|empty)"):
        load_tagger(tmp_path / "a.safetensors")


@pytest.mark.parametrize("moment", range(1, 40))
def test_an_interrupt_while_weights_load_stays_an_interrupt(tmp_path, interrupted, moment):
    """A library that maps a file turns one into a ValueError about a storage's shape: here no file is mapped."""
    def reads(frame, event):  # not as open returns, where the file is closed too, but with a warning
        return frame.f_code.co_filename.endswith(("tensors.py", "storage.py")) and event in ("call", "c_call")
    save_tagger(Tagger(SPEC), tmp_path / "a.safetensors")
    with interrupted(reads, moment):
        load_tagger(tmp_path / "a.safetensors")


def write(path, metadata=None, **changes):
    """A file of a network, whose description or tensors are changed."""
    described = changes.pop("described", {})
    of_1 = {"architecture", "width", "body_pool"} & described.keys()
    described = json.dumps((DESCRIBED_1 if of_1 else DESCRIBED) | described)
    tensors = {name: tensor.contiguous() for name, tensor in SPEC.build().state_dict().items()}
    metadata = metadata or {f"freesound-tagging-{1 if of_1 else 2}": described}
    safetensors.torch.save_file(tensors | changes, path, metadata)


@pytest.mark.parametrize("described", [
    "5", "null", "[]", "{}", "[" * 100_000, '{"version": 1}', "9" * 5000,
    {"width": "64"}, {"width": -1}, {"width": 1e9}, {"width": True}, {"vocabulary": []}, {"vocabulary": [1, 2]},
    {"vocabulary": "ab"}, {"stage": "2"},
    {"mean": [0.4, 0.4, float("nan")]}, {"mean": ["0.4"] * 3}, {"std": 5}, {"mel": 5}, {"mel": {"n_mels": "128"}},
    {"mel": {"bands": 128}}, {"mel": {"f_max": 1e400}}, {"body_pool": 5}, {"architecture": {}},
    {"network": {}}, {"options": 5}, {"options": {"width": "64"}}, {"options": {"width": 10**9}},
    {"options": {"body_pool": 5}}, {"options": {"depth": 5}},
], ids=str)
def test_whatever_is_wrong_in_a_description_is_one_error_that_names_the_file(tmp_path, described):
    metadata = {"freesound-tagging-2": described} if isinstance(described, str) else None
    write(tmp_path / "a.safetensors", metadata, described=described if metadata is None else {})
    for read in (read_spec, load_tagger):
        with pytest.raises(ValueError, match=r"a\.safetensors cannot be loaded: .*does not understand its") as caught:
            read(tmp_path / "a.safetensors")
        assert len(str(caught.value)) < 1200


@pytest.mark.parametrize(("change", "reason"), [
    ({"x": torch.zeros(1)}, "'x' is one too many"),
    ({"0.0.bias": torch.zeros(5)}, r"0\.0\.bias is of shape \(5,\), expected \(4,\)"),
    ({"0.0.bias": torch.zeros(4, dtype=torch.float64)}, r"0\.0\.bias is of torch\.float64, expected torch\.float32"),
    ({"0.1.num_batches_tracked": torch.zeros(())}, "is of torch.float32, expected torch.int64"),
])
def test_tensors_of_another_network_are_refused_before_they_are_read(tmp_path, change, reason):
    write(tmp_path / "a.safetensors", **change)
    for read in (read_spec, load_tagger):
        with pytest.raises(ValueError, match=rf"a\.safetensors cannot be loaded: its weights do not fit .*{reason}"):
            read(tmp_path / "a.safetensors")


def test_a_pickle_under_another_name_is_called_by_its_own(tmp_path):
    torch.save([1], tmp_path / "a.safetensors", _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match=r"a\.safetensors cannot be loaded: it is a \.pkl file by its content"):
        load_tagger(tmp_path / "a.safetensors")


def test_loading_draws_no_random_number(tmp_path):
    save_tagger(Tagger(SPEC), tmp_path / "a.safetensors")
    before = torch.get_rng_state()
    load_tagger(tmp_path / "a.safetensors")
    assert torch.equal(torch.get_rng_state(), before)


def test_no_interrupt_can_leave_the_process_on_a_device_without_numbers(tmp_path):
    """Torch's context for "meta" is left by halves, if one comes within it: so it is entered in another thread only."""
    save_tagger(Tagger(dataclasses.replace(SPEC, options={"width": 5})), tmp_path / "a.safetensors")
    entered = []
    sys.setprofile(lambda frame, *_: entered.append(frame.f_code.co_filename))
    try:
        load_tagger(tmp_path / "a.safetensors")
    finally:
        sys.setprofile(None)
    assert any(path.endswith("tensors.py") for path in entered)
    assert not any(path.endswith("utils/_device.py") for path in entered)


@pytest.mark.filterwarnings("ignore:there is no model")
def test_networks_are_found_behind_links_and_once(tmp_path):
    (tmp_path / "elsewhere/cnn-model-1").mkdir(parents=True)
    (tmp_path / "elsewhere/cnn-model-1/stage-2_fold-0.safetensors").touch()
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/mine").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/back").symlink_to(tmp_path / "weights")
    assert find_weights(tmp_path / "weights") == [
        tmp_path / "weights/mine/cnn-model-1/stage-2_fold-0.safetensors"]


def test_what_an_ensemble_lacks_is_said(tmp_path):
    for name in ("stage-2_fold-0", "stage-2_fold-1", "stage-3_fold-0", "stage-4_fold-0", "stage-4_fold-1"):
        (tmp_path / f"{name}.safetensors").touch()
    with pytest.warns(UserWarning, match=r"there is no model 3 of fold 1 in .*: what is there is used"):
        assert len(find_weights(tmp_path)) == 5
    (tmp_path / "stage-3_fold-1.safetensors").touch()
    assert len(find_weights(tmp_path)) == 6
    assert len(find_weights(tmp_path, (2,))) == 2, "whoever asks for one model misses no other"
    (tmp_path / "stage-2_fold-200000.safetensors").touch()
    tracemalloc.start()
    with pytest.warns(UserWarning, match=r"model 2 of fold 2 in .*, model 2 of fold 6 in \S* and more: what is there"):
        assert len(find_weights(tmp_path)) == 7
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1e6, "a name of each fold up to there would take more"


def test_networks_from_before_there_was_a_choice_are_read_as_what_they_were(tmp_path):
    """Their images were padded with zeros, and their VGG-16 had no pool before its head."""
    spec = dataclasses.replace(SPEC, mel=MelConfig(padding="constant"), options={"width": 4, "body_pool": 0})
    described = DESCRIBED_1 | {"mel": dataclasses.asdict(spec.mel)}
    del described["body_pool"], described["mel"]["padding"]
    tensors = {name: tensor.contiguous() for name, tensor in spec.build().state_dict().items()}
    safetensors.torch.save_file(tensors, tmp_path / "a.safetensors", {"freesound-tagging-1": json.dumps(described)})
    assert read_spec(tmp_path / "a.safetensors") == spec
    assert load_tagger(tmp_path / "a.safetensors").spec.mel != MelConfig(), "and so refused beside stores of today"


@pytest.mark.parametrize(("network", "options"), [
    ("vgg16", {"width": 4, "body_pool": 7}), ("cnn-model-1", {"width": 4})])
def test_files_of_the_first_format_are_read(tmp_path, network, options):
    """It had fields for what is special of its two networks; the pool of CNN-model-1 was 0."""
    spec = dataclasses.replace(SPEC, network=network, options=options)
    described = DESCRIBED_1 | {"architecture": network, "body_pool": options.get("body_pool", 0)}
    tensors = {name: tensor.contiguous() for name, tensor in spec.build().state_dict().items()}
    safetensors.torch.save_file(tensors, tmp_path / "a.safetensors", {"freesound-tagging-1": json.dumps(described)})
    assert load_tagger(tmp_path / "a.safetensors", expected=spec).spec.options == tuple(sorted(options.items()))

"""The author's kind of weight files: read to the number, and never run."""

import ast
import collections
import os
import pickle
import random
import shutil
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from exports import AdaptiveConcatPool2d, Flatten, as_fastai, save_like_torch_1_0
from hostile_files import HEAD, PICKLES
from torch import nn

import freesound_tagging
from freesound_tagging.networks.__main__ import main
from freesound_tagging.networks.fastai_v1 import UnknownNames
from freesound_tagging.networks.models import cnn_model_1, vgg16_bn
from freesound_tagging.networks.weights import (
    find_weights,
    import_fastai_v1,
    load_tagger,
    read_spec,
    save_tagger,
    stage_and_fold,
)

SHARED = Path(__file__).resolve().parents[3] / "shared"
AUTHORS = sorted(path.relative_to(SHARED / "author-stack").as_posix()
                 for path in (SHARED / "author-stack").glob("**/*.pkl")) or ["none"]


@pytest.fixture(scope="session")
def legacy(shared):
    return shared / "legacy-weights"


def outputs(tagger, x):
    with torch.no_grad():
        return torch.sigmoid(tagger(torch.as_tensor(x).reshape(-1, 1, 128, 128))).numpy()


@pytest.mark.parametrize("name", AUTHORS)
def test_the_authors_software_gives_the_same_outputs(shared, tmp_path, name):
    """As near as rounding leaves: these networks are random, and the outputs are up to 6e-5 from float64's."""
    path = shared / "author-stack" / name
    network = Path(name).parts[1] if "work" in name else ""
    expected = np.load(shared / "author-stack/outputs" / f"{network}.{path.stem}.npz".lstrip("."))
    tagger = load_tagger(path)
    save_tagger(tagger, tmp_path / "a.safetensors")
    for loaded in (tagger, load_tagger(tmp_path / "a.safetensors")):
        wrong = np.abs(outputs(loaded, expected["x"]) - expected["y"])
        assert wrong.max() < 1e-4
        assert wrong.mean() < 1e-5
        assert (loaded.spec.vocabulary, dict(loaded.spec.options).get("body_pool", 0)) == (
            tuple(expected["classes"]), 7 if network == "vgg16" else 0)


@pytest.mark.parametrize(("name", "network", "options"), [
    ("cnn_w4", "cnn-model-1", {"width": 4}), ("vgg_w4", "vgg16", {"width": 4, "body_pool": 0})])
def test_exports_by_newer_libraries_give_the_expected_outputs(legacy, name, network, options):
    tagger = import_fastai_v1(legacy / f"{name}.pkl")
    expected = np.load(legacy / f"{name}.expected.npz")
    np.testing.assert_allclose(outputs(tagger, expected["x"]), expected["y"], atol=1e-5, rtol=0)
    assert (tagger.spec.network, dict(tagger.spec.options)) == (network, options)
    assert tagger.spec.vocabulary == tuple(expected["classes"])
    assert tagger.spec.mean == pytest.approx((0.485, 0.456, 0.406))
    assert not tagger.training


def test_a_network_of_the_published_width_comes_back_weight_for_weight(tmp_path):
    network = cnn_model_1(3)
    path = save_like_torch_1_0(tmp_path / "stage-2_fold-0.pkl", as_fastai(network), tuple("abc"), (0.1, 0.2, 0.3))
    tagger = import_fastai_v1(path)
    assert tagger.spec.options == (("width", 64),)
    assert tagger.spec.vocabulary == ("a", "b", "c")
    assert tagger.spec.mean == pytest.approx((0.1, 0.2, 0.3))
    for name, tensor in network.state_dict().items():
        assert torch.equal(tagger.network.state_dict()[name], tensor), name
    assert all(parameter.requires_grad for parameter in tagger.network.parameters())


def test_float16_weights_are_read_as_the_same_numbers(tmp_path):
    half = cnn_model_1(2, width=2).half()
    tagger = import_fastai_v1(save_like_torch_1_0(tmp_path / "a.pkl", as_fastai(half)))
    for name, tensor in half.state_dict().items():
        ours = tagger.network.state_dict()[name]
        assert ours.dtype == (torch.float32 if tensor.is_floating_point() else torch.int64)
        assert torch.equal(ours, tensor.to(ours.dtype)), name
    path = save_like_torch_1_0(tmp_path / "double.pkl", as_fastai(half.double()))
    with pytest.raises(ValueError, match=r"double\.pkl .*0\.0\.weight is of torch\.float64, expected torch\.float32"):
        import_fastai_v1(path)


@pytest.mark.parametrize("classes", [
    ["Bark", "Miaou é"], np.array(["Bark", "Miaou é"]), np.array(["Bark", "Miaou é"], ">U9"),
    np.array(["Bark", "Miaou é"], object), list(np.array(["Bark", "Miaou é"])),
], ids=["list", "array", "big-endian array", "array of objects", "list of numpy's texts"])
def test_labels_are_read_in_any_of_numpys_ways(tmp_path, classes):
    path = save_like_torch_1_0(tmp_path / "a.pkl", as_fastai(cnn_model_1(2, width=2)), classes)
    assert read_spec(path).vocabulary == ("Bark", "Miaou é")


@pytest.mark.parametrize("classes", [[], [1, 2], None, {"Bark": 1}, np.array([1, 2])])
def test_labels_that_are_none_are_refused(tmp_path, classes):
    path = save_like_torch_1_0(tmp_path / "a.pkl", as_fastai(cnn_model_1(2, width=2)), classes)
    with pytest.raises(ValueError, match=r"a\.pkl cannot be imported: "):
        read_spec(path)


def replaced(network, at, layer):
    """The network with another layer in its body or head, as fastai builds it."""
    part, place = at
    network[part][place] = layer
    return network


def hooked(network):
    network[0][0].register_forward_hook(collections.Counter.update)
    return network


def with_own_forward(network):
    network[1][3].forward = torch.relu
    return network


@pytest.mark.filterwarnings("ignore::freesound_tagging.networks.fastai_v1.UnknownNames")
@pytest.mark.parametrize(("change", "reason"), [
    (lambda n: replaced(n, (0, 6), nn.MaxPool2d(2)), "0.6 is torch.nn.MaxPool2d, expected torch.nn.AvgPool2d"),
    (lambda n: replaced(n, (0, 6), nn.AvgPool2d(2, ceil_mode=True)), "0.6 has ceil_mode True, expected False"),
    (lambda n: replaced(n, (0, 6), nn.AvgPool2d(3, 2, 1)), r"0.6 has kernel_size 3, expected 2"),
    (lambda n: replaced(n, (0, 2), nn.LeakyReLU(0.3)), "0.2 is torch.nn.LeakyReLU, expected torch.nn.ReLU"),
    (lambda n: replaced(n, (0, 4), nn.BatchNorm2d(2, eps=0.5)), "0.4 has eps 0.5, expected 1e-05"),
    (lambda n: replaced(n, (0, 4), nn.BatchNorm2d(2, affine=False)), "0.4 has affine False, expected True"),
    (lambda n: replaced(n, (0, 4), nn.BatchNorm2d(2, track_running_stats=False)), "0.4 has track_running_stats False"),
    (lambda n: replaced(n, (0, 4), nn.InstanceNorm2d(2)), "0.4 is torch.nn.InstanceNorm2d"),
    (lambda n: replaced(n, (0, 3), nn.Conv2d(2, 2, 3, 2, 1)), r"0.3 has stride \[2, 2\], expected \(1, 1\)"),
    (lambda n: replaced(n, (0, 3), nn.Conv2d(2, 2, 3)), r"0.3 has padding \[0, 0\], expected \(1, 1\)"),
    (lambda n: replaced(n, (0, 3), nn.Conv2d(2, 2, 3, 1, 2, 2)), r"0.3 has padding \[2, 2\]"),
    (lambda n: replaced(n, (0, 3), nn.Conv2d(2, 2, 3, padding=1, groups=2)), "0.3 has groups 2, expected 1"),
    (lambda n: replaced(n, (0, 3), nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular")),
     "0.3 has padding_mode 'circular', expected 'zeros'"),
    (lambda n: replaced(n, (0, 3), nn.ConvTranspose2d(2, 2, 3, padding=1)), "0.3 is torch.nn.ConvTranspose2d"),
    (lambda n: replaced(n, (1, 0), AdaptiveConcatPool2d(2)), "1.0 is fastai.layers.AdaptiveConcatPool2d"),
    (lambda n: replaced(n, (1, 1), Flatten(full=True)), "1.0 is fastai.layers.AdaptiveConcatPool2d"),
    (lambda n: replaced(n, (1, 3), nn.Dropout2d(0.25)), "1.3 is torch.nn.Dropout2d, expected torch.nn.Dropout"),
    (lambda n: replaced(n, (1, 5), nn.Threshold(0.1, 0)), "1.5 is torch.nn.Threshold"),
    (lambda n: replaced(n, (1, 4), nn.Linear(32, 512, bias=False)), "1.4 has bias None|1.3.bias' is missing"),
    (lambda n: nn.Sequential(*n, nn.Sigmoid()), "2 is torch.nn.Sigmoid, expected no more layers"),
    (lambda n: nn.Sequential(n[0], nn.Sequential(*list(n[1])[:-1])), "it ends where torch.nn.Linear is expected"),
    (lambda n: nn.Sequential(n[0], nn.AdaptiveAvgPool2d(7), n[1]), "1 is torch.nn.AdaptiveAvgPool2d"),
    (hooked, "0.0 has code of its own in _forward_hooks"),
    (with_own_forward, "1.3 has code of its own in forward"),
])
def test_what_computes_otherwise_is_refused_with_the_first_layer_that_differs(tmp_path, change, reason):
    path = save_like_torch_1_0(tmp_path / "a.pkl", change(as_fastai(cnn_model_1(2, width=2))))
    with pytest.raises(ValueError, match=rf"a\.pkl cannot be imported: .*({reason})"):
        import_fastai_v1(path)


def test_what_changes_nothing_in_evaluation_is_not_compared(tmp_path):
    network = as_fastai(vgg16_bn(2, width=4))
    network[0][1].momentum = 0.3
    network[0][2].inplace = False
    network[0][6] = nn.MaxPool2d((2, 2), (2, 2))
    network[1][3].p = 0.4
    del network[0][0].padding_mode  # torch 1.0 had none
    network[1][5].threshold = network[1][5].value = 0.0  # as it had them
    spec = read_spec(save_like_torch_1_0(tmp_path / "a.pkl", network))
    assert (spec.network, dict(spec.options)) == ("vgg16", {"width": 4, "body_pool": 7})
    network[1][5].threshold = 1.0
    with pytest.raises(ValueError, match=r"1\.5 has threshold 1\.0, expected 0"):
        read_spec(save_like_torch_1_0(tmp_path / "a.pkl", network))


@pytest.mark.parametrize("flatten", [Flatten(), nn.Flatten()])
def test_any_flatten_behind_the_pools_will_do(tmp_path, flatten):
    network = replaced(as_fastai(cnn_model_1(2, width=2)), (1, 1), flatten)
    assert read_spec(save_like_torch_1_0(tmp_path / "a.pkl", network)).network == "cnn-model-1"


class Callback:
    """Anything that a learner may have kept."""

    def on_batch_end(self):
        pass


def test_whatever_else_a_learner_kept_does_not_stop_it(tmp_path):
    network, kept = as_fastai(cnn_model_1(2, width=2)), Callback()
    kept.learn, kept.sizes, kept.types, kept.method = network, {1: 2, (3, 4): {5}}, (torch.float16,), kept.on_batch_end
    kept.numbers = np.arange(3), np.float32(1), collections.deque([1]), collections.OrderedDict(a=1), b"ab", 2**70
    kept.optimizer = torch.optim.Adam(network.parameters())
    path = save_like_torch_1_0(tmp_path / "a.pkl", network, callbacks=[kept], opt_func=torch.optim.Adam)
    with pytest.warns(UnknownNames, match=r"a\.pkl names .*test_fastai_v1\.Callback.*nothing of it was looked up"):
        tagger = import_fastai_v1(path)
    assert torch.equal(tagger.network[0][0].weight, network[0][0].weight)


class Malicious:
    """Unpickled by pickle.load this calls a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("where", ["alone", "in the model", "before the model", "in the data"])
@pytest.mark.parametrize("function", ["os.system", "builtins.eval", "subprocess.Popen", "builtins.getattr",
                                      "shutil.rmtree", "pickle.loads"])
def test_a_malicious_file_runs_nothing(tmp_path, capsys, function, where):
    trace = tmp_path / "trace"
    command = f"touch {trace}"
    call = {"os.system": Malicious(os.system, command),
            "subprocess.Popen": Malicious(subprocess.Popen, ["touch", trace]),
            "builtins.eval": Malicious(eval, f"__import__('os').system('{command}')"),
            "builtins.getattr": Malicious(getattr, os, "system"),
            "shutil.rmtree": Malicious(shutil.rmtree, str(tmp_path / "victim")),
            "pickle.loads": Malicious(pickle.loads, pickle.dumps(Malicious(os.system, command)))}[function]
    if function == "builtins.getattr":
        call.call = getattr, ("", "upper")
    (tmp_path / "victim").mkdir()
    content = {"alone": [call], "in the model": [{"model": [call]}],
               "before the model": [call, {}], "in the data": [{"data": call}]}[where]
    path = tmp_path / "stage-2_fold-0.pkl"
    path.write_bytes(HEAD + b"".join(pickle.dumps(part, 2) for part in content))
    name = function.split(".")[1]
    with pytest.warns(UnknownNames, match=rf"stage-2_fold-0\.pkl names \w+\.{name}, which exported"), pytest.raises(
            ValueError, match=r"stage-2_fold-0\.pkl cannot be imported: it holds no model"):
        import_fastai_v1(path)
    assert main([str(path), str(tmp_path / "out")]) == 1
    assert f".{name}, which exported learners do not usually name" in capsys.readouterr().err
    assert not trace.exists()
    assert (tmp_path / "victim").exists()
    assert not (tmp_path / "out").exists()


def test_the_malicious_files_would_run_if_they_were_unpickled(tmp_path):
    pickle.loads(pickle.dumps(Malicious(os.system, f"touch {tmp_path / 'trace'}")))
    assert (tmp_path / "trace").exists()


@pytest.mark.parametrize("where", ["as the model", "in the list of storages"])
def test_functions_of_known_libraries_are_not_called_either(tmp_path, where):
    trace = tmp_path / "trace"
    evil = f"ctorch.utils.cpp_extension\n_run_ninja_build\n(X{chr(len(str(trace)))}\0\0\0{trace}tR".encode()
    model = save_like_torch_1_0(tmp_path / "a.pkl", as_fastai(cnn_model_1(2, width=2))).read_bytes()
    content = {"as the model": HEAD + b"}X\5\0\0\0model" + evil + b"s." + b"].",
               "in the list of storages": model[:model.rindex(b".\x80\2") + 1] + evil + b"."}[where]
    (tmp_path / "a.pkl").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.pkl cannot be imported"):
        import_fastai_v1(tmp_path / "a.pkl")
    assert not trace.exists()


def test_a_malicious_callback_is_left_where_it_is(tmp_path):
    path = save_like_torch_1_0(tmp_path / "a.pkl", as_fastai(cnn_model_1(2, width=2)),
                               callbacks=[Malicious(os.system, f"touch {tmp_path / 'trace'}")])
    with pytest.warns(UnknownNames, match=r"names posix\.system, which"):
        assert import_fastai_v1(path).spec.options == (("width", 2),)
    assert not (tmp_path / "trace").exists()


def test_no_file_changes_how_the_next_is_read(tmp_path):
    good = save_like_torch_1_0(tmp_path / "good.pkl", as_fastai(cnn_model_1(2, width=2)))
    before = import_fastai_v1(good).network.state_dict()
    for opcodes in PICKLES.values():
        if len(opcodes) < 1000:
            (tmp_path / "bad.pkl").write_bytes(HEAD + opcodes + b"." + b"].")
            with warnings.catch_warnings(), pytest.raises(ValueError, match=r"bad\.pkl cannot be imported"):
                warnings.simplefilter("ignore", UnknownNames)
                import_fastai_v1(tmp_path / "bad.pkl")
    after = import_fastai_v1(good).network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("share", [0.0, 0.00003, 0.05, 0.15, 0.5, 0.99, 0.99999])
def test_truncated_files_are_named(legacy, tmp_path, share):
    content = (legacy / "cnn_w4.pkl").read_bytes()
    (tmp_path / "a.pkl").write_bytes(content[:int(share * len(content))])
    with pytest.raises(ValueError, match=r"a\.pkl cannot be imported"):
        import_fastai_v1(tmp_path / "a.pkl")


def test_damaged_files_end_in_a_result_or_a_named_error(legacy, tmp_path):
    content = (legacy / "cnn_w4.pkl").read_bytes()
    random.seed(0)
    for _ in range(150):
        damaged = bytearray(content)
        for _ in range(random.choice([1, 1, 3, 30])):
            damaged[random.randrange(80_000)] = random.randrange(256)  # where the pickles are
        (tmp_path / "a.pkl").write_bytes(damaged)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnknownNames)
            try:
                import_fastai_v1(tmp_path / "a.pkl")
            except ValueError as error:
                assert "a.pkl" in str(error)


def test_other_networks_are_refused_by_name(tmp_path):
    torch.save({"wd": 0.1}, tmp_path / "none.pkl", _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match=r"none\.pkl cannot be imported: it holds no model"):
        import_fastai_v1(tmp_path / "none.pkl")
    save_like_torch_1_0(tmp_path / "other.pkl", nn.Sequential(nn.Conv2d(3, 8, 3), nn.Linear(8, 2)))
    with pytest.raises(ValueError, match=r"other\.pkl .* another network than cnn-model-1, the nearest: 0 has padding"):
        import_fastai_v1(tmp_path / "other.pkl")
    save_like_torch_1_0(tmp_path / "labels.pkl", as_fastai(cnn_model_1(3, width=2)))
    with pytest.raises(ValueError, match=r"labels\.pkl .*: 1\.8 has out_features 3, expected 2"):
        import_fastai_v1(tmp_path / "labels.pkl")


@pytest.mark.parametrize(("content", "reason"), [
    (b"", "it is empty"),
    (b"PK\3\4", "it is a zip archive, as torch 1.6 and later"),
    (b"\n<!DOCTYPE html><html>", "it is a web page"), (b"<html><head>", "it is a web page"),
    (b"version https://git-lfs.github.com/spec/v1\n", "it is the pointer that Git LFS keeps"),
    (pickle.dumps([1], 4), "it is a pickle of protocol 4"),
    (pickle.dumps([1], 2), "it is not in the format that torch wrote before version 1.6"),
    (b"\x10\0\0\0\0\0\0\0{", "it is a .safetensors file by its content; name it so"),
    (b"notes", "its opcode b'n' is none that torch wrote"),
])
@pytest.mark.parametrize("read", [read_spec, load_tagger, import_fastai_v1])
def test_what_is_no_network_is_called_by_what_it_is(tmp_path, read, content, reason):
    (tmp_path / "a.pkl").write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.pkl cannot be imported: {reason}"):
        read(tmp_path / "a.pkl")


@pytest.mark.parametrize("suffix", [".pkl", ".safetensors"])
@pytest.mark.parametrize("read", [read_spec, load_tagger])
def test_a_folder_and_a_missing_file_are_said(tmp_path, read, suffix):
    (tmp_path / f"a{suffix}").mkdir()
    with pytest.raises(ValueError, match=rf"a{suffix} cannot be \w+: it is a folder; give a file"):
        read(tmp_path / f"a{suffix}")
    with pytest.raises(FileNotFoundError, match=f"b{suffix}"):
        read(tmp_path / f"b{suffix}")


def test_stages_10_and_11_are_models_3_and_4():
    assert stage_and_fold("weights/vgg16/work/stage-10_fold-3.pkl") == (3, 3)
    assert stage_and_fold("stage-11_fold-9.pkl") == (4, 9)
    assert stage_and_fold("stage-2_fold-0.pkl") == (2, 0)
    assert stage_and_fold("stage-2_fold-0.safetensors") == (2, 0)
    assert stage_and_fold("stage-5_fold-0.pkl") is None
    assert stage_and_fold("export.pkl") is None


def author_folder(legacy, root, folds=2):
    """The author's file names in the author's folders."""
    for folder, name in (("cnn-model-1", "cnn_w4"), ("vgg16", "vgg_w4")):
        (root / folder / "work").mkdir(parents=True)
        for stage in (2, 10, 11):
            for fold in range(folds):
                shutil.copy(legacy / f"{name}.pkl", root / folder / f"work/stage-{stage}_fold-{fold}.pkl")
    return root


@pytest.mark.filterwarnings("ignore:there is no model")
def test_a_folder_is_converted_and_never_overwritten(legacy, tmp_path, capsys):
    source, dest = author_folder(legacy, tmp_path / "author"), tmp_path / "ours"
    (source / "vgg16/work/stage-2_fold-1.pkl").write_bytes(b"\x80\x02")
    assert main([str(source), str(dest)]) == 1
    said = capsys.readouterr()
    assert said.out.count(" -> ") == 11
    assert "stage-10_fold-0.pkl -> " in said.out
    assert "stage-2_fold-1.pkl cannot be imported" in said.err
    converted = find_weights(dest)
    assert len(converted) == 11
    assert read_spec(dest / "vgg16/stage-4_fold-1.safetensors").stage == 4
    images = torch.rand(2, 1, 128, 128)
    with torch.no_grad():
        assert torch.equal(load_tagger(dest / "cnn-model-1/stage-3_fold-1.safetensors")(images),
                           load_tagger(source / "cnn-model-1/work/stage-10_fold-1.pkl")(images))
    with pytest.raises(ValueError, match=r"stage-10_fold-1.pkl is another network: fold is 1, expected 0\."):
        load_tagger(source / "cnn-model-1/work/stage-10_fold-1.pkl",
                    expected=read_spec(dest / "cnn-model-1/stage-3_fold-0.safetensors"))
    before = {path: path.stat().st_mtime_ns for path in converted}
    assert main([str(source), str(dest)]) == 1
    assert capsys.readouterr().err.count("exists; delete it or give another folder") == 11
    assert before == {path: path.stat().st_mtime_ns for path in find_weights(dest)}


def test_the_package_unpickles_nowhere():
    """No module imports pickle, and none calls torch.load or anything of that name."""
    for path in Path(freesound_tagging.__file__).parent.rglob("*.py"):
        source = path.read_text()
        nodes = list(ast.walk(ast.parse(source)))
        imported = {name.name for node in nodes if isinstance(node, ast.Import | ast.ImportFrom) for name in node.names}
        imported |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
        assert not imported & {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "shelve", "load"}, path
        called = {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)}
        assert not called & {"load", "torch.load", "torch.serialization.load"}, path
        assert "allow_pickle" not in source, path


def test_a_folder_without_exports_and_a_file_that_is_not_there_are_said(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    gone = tmp_path / "stage-2_fold-0.pkl"
    assert main([str(tmp_path / "empty"), str(gone), str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said == [f"{tmp_path / 'empty'}: no .pkl in it or below; give the folder of the exported learners",
                    f"{gone}: no such file"]

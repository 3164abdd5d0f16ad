"""The author's kind of weight files: read to the number, and never run."""

import ast
import os
import pickle
import random
import shutil
import subprocess
import tokenize
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import freesound_tagging
from freesound_tagging.networks.fastai_v1 import UnsafePickle
from freesound_tagging.networks.models import cnn_model_1
from freesound_tagging.networks.weights import (
    find_weights,
    import_fastai_v1,
    load_tagger,
    main,
    read_spec,
    stage_and_fold,
)


@pytest.fixture(scope="session")
def legacy(shared):
    return shared / "legacy-weights"


def save_like_torch_1_0(path, model, classes=("Bark", "Meow"), mean=(0.5, 0.4, 0.3)):
    """A file as Learner.export wrote it, of layers that need no fastai 1."""
    processor = nn.Identity()
    processor.classes = list(classes)
    export = {"wd": 0.01, "model": model, "data": {"y_proc": [processor], "normalize": {
        "mean": torch.tensor(mean), "std": torch.tensor([0.2] * 3), "do_x": True}}}
    torch.save(export, path, _use_new_zipfile_serialization=False)
    return path


def without_pooling(network):
    """Our network less the one layer that is of this package and has no weights."""
    return nn.Sequential(network[0], nn.Sequential(*list(network[1])[1:]))


@pytest.mark.parametrize(("name", "architecture"), [("cnn_w4", "cnn-model-1"), ("vgg_w4", "vgg16")])
def test_real_exports_give_the_expected_outputs(legacy, name, architecture):
    tagger = import_fastai_v1(legacy / f"{name}.pkl")
    expected = np.load(legacy / f"{name}.expected.npz")
    with torch.no_grad():
        outputs = torch.sigmoid(tagger(torch.as_tensor(expected["x"])[:, None])).numpy()
    np.testing.assert_allclose(outputs, expected["y"], atol=1e-5, rtol=0)
    assert (tagger.spec.architecture, tagger.spec.width) == (architecture, 4)
    assert tagger.spec.vocabulary == tuple(expected["classes"])
    assert tagger.spec.mean == pytest.approx((0.485, 0.456, 0.406))
    assert not tagger.training


def test_a_network_of_the_published_width_comes_back_weight_for_weight(tmp_path):
    network = cnn_model_1(3)
    path = save_like_torch_1_0(tmp_path / "stage-2_fold-0.pkl", without_pooling(network), "abc", (0.1, 0.2, 0.3))
    tagger = import_fastai_v1(path)
    assert tagger.spec.width == 64
    assert tagger.spec.vocabulary == ("a", "b", "c")
    assert tagger.spec.mean == pytest.approx((0.1, 0.2, 0.3))
    for name, tensor in network.state_dict().items():
        assert torch.equal(tagger.network.state_dict()[name], tensor), name


class Malicious:
    """Unpickled by pickle.load this calls a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("where", ["alone", "in the model", "as a class", "in the list of storages"])
@pytest.mark.parametrize("function", ["os.system", "builtins.eval", "subprocess.Popen", "builtins.getattr",
                                      "shutil.rmtree", "pickle.loads"])
def test_a_malicious_file_loads_nothing_and_runs_nothing(tmp_path, function, where):
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
    content = {"alone": call, "in the model": {"model": [call]}, "as a class": {"model": call.call[0]},
               "in the list of storages": {}}[where]
    parts = [weights_magic(), 1001, {"little_endian": True}, content]
    parts.append(call if where == "in the list of storages" else [])
    path = tmp_path / "stage-2_fold-0.pkl"
    path.write_bytes(b"".join(pickle.dumps(part, 2) for part in parts))
    with pytest.raises(UnsafePickle, match=r"stage-2_fold-0\.pkl was not loaded: it names"):
        import_fastai_v1(path)
    assert not trace.exists()
    assert (tmp_path / "victim").exists()
    assert main([str(path), str(tmp_path / "out")]) == 1
    assert not (tmp_path / "out").exists()


def weights_magic():
    return 0x1950A86A20F9469CFC6C


def test_the_malicious_files_would_run_if_they_were_unpickled(tmp_path):
    pickle.loads(pickle.dumps(Malicious(os.system, f"touch {tmp_path / 'trace'}")))
    assert (tmp_path / "trace").exists()


def test_functions_of_known_libraries_are_not_called_either(tmp_path):
    trace = tmp_path / "trace"
    evil = f"ctorch.utils.cpp_extension\n_run_ninja_build\n(V{trace}\ntR.".encode()
    content = b"".join([pickle.dumps(part, 2) for part in (weights_magic(), 1001, {})]) + evil + pickle.dumps([], 2)
    (tmp_path / "a.pkl").write_bytes(content)
    with pytest.raises(ValueError, match="holds no model"):
        import_fastai_v1(tmp_path / "a.pkl")
    assert not trace.exists()


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
        try:
            import_fastai_v1(tmp_path / "a.pkl")
        except ValueError as error:
            assert "a.pkl" in str(error)


def test_other_files_are_refused_by_name(tmp_path):
    torch.save({"model": 1}, tmp_path / "new.pkl")
    with pytest.raises(ValueError, match=r"new\.pkl cannot be imported"):
        import_fastai_v1(tmp_path / "new.pkl")
    torch.save({"wd": 0.1}, tmp_path / "none.pkl", _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match=r"none\.pkl cannot be imported: it holds no model"):
        import_fastai_v1(tmp_path / "none.pkl")
    save_like_torch_1_0(tmp_path / "other.pkl", nn.Sequential(nn.Conv2d(3, 8, 3), nn.Linear(8, 2)))
    with pytest.raises(ValueError, match=r"other\.pkl holds another network than cnn-model-1 or vgg16: 2 layers"):
        import_fastai_v1(tmp_path / "other.pkl")
    wider = without_pooling(cnn_model_1(2, width=4))
    wider[1][1] = nn.Dropout(0.1)
    wider[1][2] = nn.Linear(64, 256)
    save_like_torch_1_0(tmp_path / "size.pkl", wider)
    with pytest.raises(ValueError, match=r"size\.pkl holds another network"):
        import_fastai_v1(tmp_path / "size.pkl")


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


def test_the_package_unpickles_nowhere_else():
    """No code names pickle, and none torch.load, anywhere outside of the importer."""
    package = Path(freesound_tagging.__file__).parent
    for path in package.rglob("*.py"):
        source = path.read_text()
        if path.name != "fastai_v1.py":
            tokens = tokenize.generate_tokens(iter(source.splitlines(True)).__next__)
            names = {token.string for token in tokens if token.type == tokenize.NAME}
            assert not {name for name in names - {"UnsafePickle"} if "pickle" in name.lower()}, path
        called = {ast.unparse(node.func) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)}
        assert not called & {"load", "torch.load", "torch.serialization.load"}, path
        assert "allow_pickle" not in source, path

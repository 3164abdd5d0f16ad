"""Networks beside the two published ones: of one's own and of timm."""

import copy
import dataclasses
import importlib
import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from freesound_tagging.images.mel import MelConfig
from freesound_tagging.networks import models
from freesound_tagging.networks.check import check_network
from freesound_tagging.networks.head import BodyAndHead
from freesound_tagging.networks.models import create, register
from freesound_tagging.networks.tagger import NetworkSpec, Tagger, fold_batchnorm
from freesound_tagging.networks.tracing import normalized_convolutions
from freesound_tagging.networks.weights import find_weights, load_tagger, read_spec, save_tagger

LABELS = ("Bark", "Meow")


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """The folder of own_networks.py, of which each test begins to know nothing."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setattr(models, "NETWORKS", dict(models.NETWORKS))


def spec_of(network, **options):
    return NetworkSpec(network, options, LABELS, MelConfig(), (0.4, 0.5, 0.6), (0.1, 0.2, 0.3))


def trained(spec):
    """A network whose normalization has something to do."""
    tagger = Tagger(spec).train()
    for _ in range(3):
        tagger(torch.rand(4, 1, 128, 128))
    return tagger.eval()


def test_a_network_is_made_by_its_name():
    assert isinstance(create("cnn-model-1", 2, width=2), BodyAndHead)
    network = create("own_networks:residual", 5, channels=3)
    assert network(torch.rand(2, 3, 64, 64)).shape == (2, 5)
    with pytest.raises(ValueError, match="own_networks:residual has no option 'width': expected one of channels"):
        create("own_networks:residual", 5, width=3)
    with pytest.raises(ValueError, match="own_networks:wrong needs the option way"):
        create("own_networks:wrong", 5)
    with pytest.raises(ValueError, match="own_networks:nothing_taken takes no arguments: expected a function of the"):
        create("own_networks:nothing_taken", 5)
    for name in ("own_networks:nothing", "own_networks:WIDTH", "no.such.module:network", ".own_networks:residual"):
        with pytest.raises(ImportError, match=f"network '{name}' cannot be imported .* expected package.module:func"):
            create(name, 5)


def test_the_head_begins_as_in_the_authors_torch():
    """torch 1.0.1 drew the weights of batch normalization from U(0, 1); fastai 1 sets the body's to 1."""
    network = create("cnn-model-1", 80)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm1d):
            assert 0 <= layer.weight.min() < 0.05 and 0.95 < layer.weight.max() <= 1
            assert layer.weight.mean().item() == pytest.approx(0.5, abs=0.06)
        if isinstance(layer, nn.BatchNorm2d):
            assert (layer.weight == 1).all()


@pytest.mark.parametrize("name", ["own_networks:residual", "own_networks:unlike", "own_networks:by_numpy"])
def test_a_network_of_ones_own_is_kept_with_its_options(tmp_path, name):
    tagger, images = trained(spec_of(name)), torch.rand(3, 1, 128, 128)
    assert dict(tagger.spec.options) == ({"channels": 4} if name.endswith("residual") else {})
    save_tagger(tagger, tmp_path / "a.safetensors")
    before = torch.get_rng_state()
    loaded = load_tagger(tmp_path / "a.safetensors", expected=tagger.spec)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(loaded(images), tagger(images))


def test_other_networks_and_options_are_refused_by_name(tmp_path):
    spec = spec_of("own_networks:residual", channels=4)
    save_tagger(Tagger(spec), tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=r"a.safetensors is another network: channels is 4, expected 5\. Put"):
        read_spec(tmp_path / "a.safetensors", dataclasses.replace(spec, options={"channels": 5}))
    with pytest.raises(ValueError, match="network is 'own_networks:residual', expected 'cnn-model-1'"):
        read_spec(tmp_path / "a.safetensors", spec_of("cnn-model-1"))
    third = dataclasses.replace(spec_of("own_networks:staged", stage=2), stage=3)
    save_tagger(Tagger(third), tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=r"another network: stage is 3, expected 4\. Put"):
        read_spec(tmp_path / "a.safetensors", dataclasses.replace(third, stage=4))


@pytest.mark.parametrize("name", ["spy_networks:network", "os:kill", "torch.hub:load", "timm.models:load_checkpoint"])
@pytest.mark.parametrize("format", [1, 2])
def test_no_code_is_imported_because_a_file_names_it(tmp_path, monkeypatch, name, format):
    """Nor called, of a module that this program has imported for something else."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "spy_networks.py").write_text("raise SystemExit('imported')")
    described = {"version": "0", "network": name, "options": {"sig": 9}, "architecture": name, "width": 9, "mel": {}}
    safetensors.torch.save_file({"x": torch.zeros(1)}, tmp_path / "a.safetensors",
                                {f"freesound-tagging-{format}": json.dumps(described)})
    for read in (read_spec, load_tagger):
        with pytest.raises(ValueError, match=rf"a\.safetensors cannot be loaded: its network is '{name}', and no code "
                           "is imported because a file names it; if you trust it, give the profile by which"):
            read(tmp_path / "a.safetensors")


def test_weights_whose_network_nobody_named_are_not_passed_over(tmp_path):
    """Of a run of one stage: nothing is known of what votes in it, and that is what is said."""
    described = {"version": "0", "network": "os:kill", "options": {}, "mel": {}}
    safetensors.torch.save_file({"x": torch.zeros(1)}, tmp_path / "stage-1_fold-0.safetensors",
                                {"freesound-tagging-2": json.dumps(described)})
    with pytest.raises(ValueError, match=r"stage-1_fold-0.*no code is imported because a file names it"):
        find_weights(tmp_path)


def test_a_file_may_ask_for_code_that_the_program_has_asked_for(tmp_path):
    save_tagger(Tagger(spec_of("own_networks:residual")), tmp_path / "a.safetensors")
    del models.NETWORKS["own_networks:residual"]
    with pytest.raises(ValueError, match=r"register with that name first"):
        load_tagger(tmp_path / "a.safetensors")
    register("own_networks:residual")
    load_tagger(tmp_path / "a.safetensors")


def test_a_normalization_whose_input_goes_elsewhere_too_is_not_folded():
    tagger, images = trained(spec_of("own_networks:residual")), torch.rand(3, 1, 128, 128)
    assert normalized_convolutions(tagger.network) == [("1.second", "1.after_second")]
    before = tagger(images)
    folded = fold_batchnorm(tagger)
    assert [name for name, layer in folded.network.named_modules() if isinstance(layer, nn.BatchNorm2d)] == [
        "1.after_first"]
    torch.testing.assert_close(folded(images), before, atol=1e-5, rtol=1e-5)


def test_what_cannot_be_traced_is_left_as_it_is():
    tagger, images = trained(spec_of("own_networks:unlike")), torch.rand(3, 1, 128, 128)
    before = tagger(images)
    assert torch.equal(fold_batchnorm(tagger)(images), before)


class Waits(nn.Module):
    """Says that it computes, and waits half a second for something else."""

    def __init__(self, computes, awaited):
        super().__init__()
        self.computes, self.awaited = computes, awaited
        self.layers = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))

    def forward(self, x):
        self.computes.set()
        self.awaited.wait(0.5)
        return self.layers(x)


@pytest.mark.parametrize("other", [normalized_convolutions, lambda network: network(torch.ones(1, 3, 2, 2))])
def test_threads_do_not_trace_what_others_compute(other):
    first, second, over = (threading.Event() for _ in range(3))
    call = nn.Module.__call__
    with ThreadPoolExecutor(1) as thread:
        traced = thread.submit(normalized_convolutions, Waits(first, second).eval())
        traced.add_done_callback(lambda _: over.set())
        assert first.wait(5)
        other(Waits(second, over).eval())
    assert traced.result() == [("layers.0", "layers.1")] and nn.Module.__call__ is call


@pytest.mark.parametrize("way", ["looks", "uses"])
def test_a_network_whose_code_looks_into_its_layers_predicts_as_it_was_trained(way):
    """At a normalization's attributes, or at a convolution's weights."""
    tagger, images = trained(spec_of("own_networks:wrong", way=way)), torch.rand(3, 1, 128, 128)
    assert normalized_convolutions(tagger.network)
    before = tagger(images)
    torch.testing.assert_close(fold_batchnorm(tagger)(images), before)
    check_network(spec_of("own_networks:wrong", way=way))


def test_a_function_of_a_module_that_was_read_again_is_the_new_one(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    source = ("from torch import nn\n"
              "def network(n_classes):\n    return nn.Sequential(nn.Flatten(), nn.Linear(12, {}))\n")
    (tmp_path / "changing_network.py").write_text(source.format("n_classes"))
    assert create("changing_network:network", 2)[1].out_features == 2
    assert spec_of("changing_network:network").outline()[1].out_features == len(LABELS)
    (tmp_path / "changing_network.py").write_text(source.format("n_classes + 7"))
    importlib.invalidate_caches()
    importlib.reload(sys.modules["changing_network"])
    assert create("changing_network:network", 2)[1].out_features == 9
    assert spec_of("changing_network:network").outline()[1].out_features == len(LABELS) + 7


def test_layers_that_are_used_twice_or_do_more_are_not_folded():
    convolution = nn.Conv2d(3, 3, 1)
    twice = nn.Sequential(convolution, nn.BatchNorm2d(3), convolution, nn.BatchNorm2d(3)).eval()
    assert normalized_convolutions(twice) == []
    hooked = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)).eval()
    assert normalized_convolutions(hooked) == [("0", "1")]
    hooked[0].register_forward_hook(lambda *_: None)
    assert normalized_convolutions(hooked) == []
    assert normalized_convolutions(nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(
        3, track_running_stats=False)).eval()) == []
    assert normalized_convolutions(nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 3, 1)),
                                                 nn.BatchNorm2d(3)).eval()) == []


@pytest.mark.parametrize(("name", "options"), [
    ("cnn-model-1", {"width": 2}), ("vgg16", {"width": 2}), ("own_networks:residual", {}), ("own_networks:unlike", {})])
def test_a_network_that_can_be_trained_passes_and_draws_nothing(name, options):
    before = torch.get_rng_state()
    check_network(spec_of(name, **options))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("way", "reason"), [
    ("too many", r"a training step .*: it gave logits of shape \(2, 4\), expected \(batch, labels\), \(2, 2\)"),
    ("infinite", "a training step .*: it gave logits that are not finite"),
    ("raises", "a training step .*: 'nothing here'"),
    ("no gradient", "a training step .*: element 0 of tensors does not require grad"),
    ("normalizes", "prediction on .*: it gave an image other logits alone than beside others"),
    ("shares", "being written and read .*: .*share memory"),
])
def test_a_network_that_cannot_be_trained_is_named_with_what_was_expected(way, reason):
    with pytest.raises(ValueError, match=rf"network own_networks:wrong \(way='{way}'\) failed in {reason}") as caught:
        check_network(spec_of("own_networks:wrong", way=way))
    assert "\n" not in str(caught.value)


@pytest.fixture
def timm():
    return pytest.importorskip("timm")


def test_a_body_of_timm_gets_the_published_head(timm):
    spec = spec_of("timm:resnet10t")
    assert dict(spec.options) == {"pretrained": False}
    check_network(spec)
    tagger, images = trained(spec), torch.rand(3, 1, 128, 128)
    body = timm.create_model("resnet10t", num_classes=0, global_pool="")
    body.load_state_dict(tagger.network.body.state_dict())
    features = body.eval()((images - tagger.mean) / tagger.std)
    pooled = torch.cat([features.amax((2, 3)), features.mean((2, 3))], 1)
    expected = copy.deepcopy(tagger.network.head[1:])(pooled)
    torch.testing.assert_close(tagger(images), expected, atol=1e-4, rtol=1e-4)
    folded = fold_batchnorm(tagger)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in folded.modules())
    torch.testing.assert_close(folded(images), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("name", "options", "reason"), [
    ("resnet0", {}, "has none of this name; expected one of timm.list_models"),
    ("resnet18.of_mine", {}, "has none of this name"),
    ("hf-hub:someone/resnet", {}, "has none of this name"),
    ("vit_tiny_patch16_224", {}, "expected a convolutional one that takes images of 128 x 128"),
    ("resnet18", {"checkpoint_path": "a.pth"}, "has no option 'checkpoint_path': expected one of pretrained"),
])
def test_what_timm_does_not_have_or_is_no_feature_map_is_refused(timm, name, options, reason):
    with pytest.raises(ValueError, match=reason) as caught:
        spec_of(f"timm:{name}", **options)
    assert "\n" not in str(caught.value)


def test_pretrained_weights_that_cannot_be_had_are_said_in_one_line(timm):
    """There are none of this network."""
    spec = spec_of("timm:cs3darknet_s", pretrained=True)
    with pytest.raises(ValueError, match=r"timm:cs3darknet_s: its pretrained weights cannot be had .*pretrained=False"):
        spec.build()


def test_weights_of_a_file_are_not_downloaded_first(timm, tmp_path):
    """A network that began with pretrained weights says so, and is read where those cannot be had."""
    tagger = Tagger(spec_of("timm:resnet10t")).eval()
    save_tagger(tagger, tmp_path / "a.safetensors")
    content = (tmp_path / "a.safetensors").read_bytes()
    before, after = (json.dumps(json.dumps({"pretrained": value}))[1:-1].encode() for value in (False, True))
    assert before in content
    (tmp_path / "a.safetensors").write_bytes(content.replace(before, after + b" "))
    loaded, images = load_tagger(tmp_path / "a.safetensors"), torch.rand(2, 1, 128, 128)
    assert dict(loaded.spec.options) == {"pretrained": True}
    assert torch.equal(loaded(images), tagger(images))


def test_without_timm_the_name_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ImportError, match=r"network timm:resnet18 needs timm .*: pip install timm"):
        spec_of("timm:resnet18")

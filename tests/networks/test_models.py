import dataclasses
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torchvision
from scipy import stats
from torch import nn

from freesound_tagging.images.excerpts import to_images
from freesound_tagging.images.mel import MelConfig
from freesound_tagging.machine.device import default_device, inference_precision, runs_on, training_precision
from freesound_tagging.networks.head import ConcatPool
from freesound_tagging.networks.models import cnn_model_1, vgg16_bn
from freesound_tagging.networks.tagger import NetworkSpec, Tagger, fold_batchnorm

SPEC = NetworkSpec("cnn-model-1", {"width": 2}, ("Bark", "Meow"), MelConfig(), (0.4, 0.5, 0.6), (0.1, 0.2, 0.3))


def layers(network):
    """Layers without children, as (kind, what defines them)."""
    describe = {
        nn.Conv2d: lambda m: (m.in_channels, m.out_channels, m.kernel_size, m.stride, m.padding, m.bias is not None),
        nn.BatchNorm2d: lambda m: m.num_features, nn.BatchNorm1d: lambda m: m.num_features,
        nn.Linear: lambda m: (m.in_features, m.out_features, m.bias is not None),
        nn.Dropout: lambda m: m.p, nn.AvgPool2d: lambda m: m.kernel_size,
        nn.AdaptiveAvgPool2d: lambda m: (m.output_size,) * 2 if isinstance(m.output_size, int) else m.output_size,
    }
    return [(type(m).__name__, describe.get(type(m), lambda m: None)(m))
            for m in network.modules() if not list(m.children())]


HEAD = [("ConcatPool", None), ("BatchNorm1d", 1024), ("Dropout", 0.25), ("Linear", (1024, 512, True)), ("ReLU", None),
        ("BatchNorm1d", 512), ("Dropout", 0.5), ("Linear", (512, 80, True))]


def test_cnn_model_1_has_the_layers_and_parameters_of_table_1():
    network = cnn_model_1(80)
    table_1 = []
    for n_in, n_out in ((3, 64), (64, 128), (128, 256), (256, 512)):
        for channels in (n_in, n_out):
            table_1 += [("Conv2d", (channels, n_out, (3, 3), (1, 1), (1, 1), True)), ("BatchNorm2d", n_out),
                        ("ReLU", None)]
        table_1.append(("AvgPool2d", 2))
    assert layers(network) == table_1 + HEAD
    assert sum(parameter.numel() for parameter in network.parameters()) == 5_258_128


def test_vgg16_has_torchvisions_body_and_its_pool_weight_for_weight():
    """What fastai 1.0.51 keeps of torchvision's network: all but the classifier."""
    ours, theirs = vgg16_bn(80), torchvision.models.vgg16_bn(weights=None)
    body = nn.Sequential(*theirs.features, theirs.avgpool)
    assert layers(ours[0]) == layers(body)
    assert layers(ours[1]) == HEAD
    ours[0].load_state_dict(body.state_dict())  # every name and shape
    images = torch.rand(1, 3, 128, 128)
    torch.testing.assert_close(ours[0].eval()(images), body.eval()(images))
    assert layers(vgg16_bn(80, body_pool=0)[0]) == layers(theirs.features)


def test_the_pool_before_the_head_weights_the_mean_and_leaves_the_maximum():
    """4 x 4 spread to 7 x 7: of 7 windows a side, rows 0 and 3 are in 2 windows (one of them shared with 1 and 2)."""
    x = torch.rand(2, 3, 4, 4)
    side = torch.tensor([1 + 1 / 2, 1 / 2 + 1 + 1 / 2, 1 / 2 + 1 + 1 / 2, 1 / 2 + 1]) / 7
    maximum, mean = ConcatPool()(nn.AdaptiveAvgPool2d(7)(x)).split(3, 1)
    torch.testing.assert_close(maximum, x.amax((2, 3)))
    torch.testing.assert_close(mean, (x * side[:, None] * side).sum((2, 3)))


def test_a_description_has_what_is_published_unless_it_says_otherwise():
    def options(network, **given):
        return dict(dataclasses.replace(SPEC, network=network, options=given).options)
    assert options("cnn-model-1") == {"width": 64}
    assert options("vgg16") == {"width": 64, "body_pool": 7}
    assert {type(value) for value in options("vgg16", width=np.int64(2)).values()} == {int}
    assert options("vgg16", body_pool=0, width=2) == {"width": 2, "body_pool": 0}
    assert {SPEC, dataclasses.replace(SPEC, options=dict(SPEC.options))} == {SPEC}


@pytest.mark.parametrize("build", [cnn_model_1, vgg16_bn])
def test_a_narrow_network_gives_a_logit_a_label(build):
    assert build(12, width=4).eval()(torch.rand(2, 3, 128, 128)).shape == (2, 12)


def test_convolutions_start_kaiming_normal_without_bias():
    for layer in cnn_model_1(80)[0]:
        if isinstance(layer, nn.Conv2d):
            fan_in = layer.in_channels * 9
            assert layer.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.05)
            assert not layer.bias.any()


@pytest.mark.parametrize("build", [cnn_model_1, vgg16_bn])
def test_batch_normalizations_of_the_body_start_at_1_and_those_of_the_head_from_0_to_1(build):
    """torch 1.0.1's BatchNorm.reset_parameters draws weights from U(0, 1); the author's ConvBlock and torchvision 0.2.2
    set those of the bodies to 1."""
    torch.manual_seed(0)
    body, head = build(80)
    for layer in body:
        if isinstance(layer, nn.BatchNorm2d):
            assert (layer.weight == 1).all()
            assert (layer.bias == 0).all()
    first = [layer for layer in head if isinstance(layer, nn.BatchNorm1d)]
    assert [len(layer.weight) for layer in first] == [1024, 512]
    for layer in first:
        assert stats.kstest(layer.weight.detach(), "uniform").pvalue > 0.01
        assert (layer.bias == 0).all()


def test_the_head_starts_as_a_network_of_fastai_1_does(shared):
    """Its recorded first weights: linear layers aside, which `cnn_learner` makes Kaiming-normal."""
    recorded = np.load(shared / "author-stack/one-cycle.npz")
    theirs = np.concatenate([recorded["first.1.weight"], recorded["first.5.weight"]])
    torch.manual_seed(0)
    ours = torch.cat([layer.weight for layer in cnn_model_1(80)[1] if isinstance(layer, nn.BatchNorm1d)]).detach()
    assert stats.ks_2samp(theirs, ours).pvalue > 0.05
    assert stats.ks_2samp(theirs, torch.ones(1536)).pvalue < 1e-6, "and not as a network of today's torch"


def test_equal_maxima_pass_the_same_gradient_as_in_torchs_own_pool():
    """`amax` shares a gradient among equal maxima, torch 1.0.1's pool gave it to the first: after a ReLU only zeros are
    equal, and through these no gradient goes."""
    images = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(0)) - 1.5  # many channels of zeros
    images[0] = -1
    gradients = []
    for pool in (lambda x: x.amax((2, 3)), lambda x: nn.functional.adaptive_max_pool2d(x, 1).flatten(1)):
        x = images.clone().requires_grad_()
        (pool(x.relu()) * torch.arange(1.0, 4)).sum().backward()
        gradients.append(x.grad)
    assert torch.equal(*gradients)
    assert gradients[0].any()


def test_concat_pooling_puts_the_maximum_first():
    x = torch.tensor([[[[1.0, 3.0], [0.0, 0.0]], [[2.0, 2.0], [2.0, 6.0]]]])
    assert ConcatPool()(x).tolist() == [[3, 6, 1, 3]]


def test_images_are_upright_in_0_to_1():
    excerpts = torch.arange(6, dtype=torch.uint8).reshape(1, 3, 2) * 51  # 3 frames of 2 mel bands
    images = to_images(excerpts)
    torch.testing.assert_close(images, torch.tensor([[[[0, 0.4, 0.8], [0.2, 0.6, 1.0]]]]))


def test_a_tagger_normalizes_each_of_the_three_channels():
    tagger = Tagger(SPEC).eval()
    images = torch.rand(2, 1, 128, 128)
    channels = torch.cat([(images - mean) / std for mean, std in zip(SPEC.mean, SPEC.std)], 1)
    torch.testing.assert_close(tagger(images), tagger.network(channels))


@pytest.mark.parametrize("images", [torch.zeros(3, 128, 128), torch.zeros(2, 1, 128, 128, dtype=torch.uint8)])
def test_a_stores_bytes_and_images_without_channels_are_no_images(images):
    """Bytes would be taken for numbers up to 255, and three images without channels for one of three."""
    with pytest.raises(ValueError, match=r"images of shape .*: expected floats from 0 to 1 of shape \(batch, 1, mel"):
        Tagger(SPEC)(images)


def test_a_tagger_computes_in_bfloat16_but_answers_in_float32():
    tagger = Tagger(SPEC).eval()
    images = torch.rand(2, 1, 128, 128)
    full = tagger(images)
    tagger.precision = torch.bfloat16
    half = tagger(images)
    assert half.dtype == torch.float32
    assert not torch.equal(half, full)
    torch.testing.assert_close(half, full, atol=0.1, rtol=0.1)


@pytest.mark.parametrize("network", ["cnn-model-1", "vgg16"])
def test_folding_batch_normalization_changes_no_output(network):
    tagger = Tagger(dataclasses.replace(SPEC, network=network, options={"width": 8}))
    images = torch.rand(4, 1, 128, 128)
    for _ in range(3):
        tagger.train()(images)  # gives the normalization something to do
    before = tagger.eval()(images)
    folded = fold_batchnorm(tagger)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in folded.modules())
    torch.testing.assert_close(folded(images), before, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("avx512_bf16", "amx", "used"), [
    (False, False, torch.float32), (True, False, torch.bfloat16), (False, True, torch.bfloat16),
    (None, None, torch.float32)])
def test_the_cpus_precision_is_one_it_can_compute_in(monkeypatch, avx512_bf16, amx, used):
    """AVX-512 without products of bfloat16 trains in it, and predicts in float32; so does a torch that cannot say."""
    assert training_precision(torch.device("cpu")) in (torch.bfloat16, torch.float32)
    for name, said in (("_is_avx512_bf16_supported", avx512_bf16), ("_is_amx_tile_supported", amx)):
        if said is None:
            monkeypatch.delattr(torch.cpu, name, raising=False)
        else:
            monkeypatch.setattr(torch.cpu, name, lambda said=said: said, raising=False)
    for onednn in (True, False):
        monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda onednn=onednn: onednn)
        assert inference_precision(torch.device("cpu")) == (used if onednn else torch.float32)
        assert inference_precision(torch.device("mps")) == torch.float32
    monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace())  # as torch for macOS has it
    assert training_precision(torch.device("cpu")) == inference_precision(torch.device("cpu")) == torch.float32


@pytest.mark.parametrize("wrong", [
    {"network": "resnet"}, {"network": ["vgg16"]}, {"options": 64}, {"options": {"width": "64"}},
    {"options": {"width": -1}}, {"options": {"width": 0}}, {"options": {"width": 10**9}}, {"options": {"width": 2.0}},
    {"options": {"width": True}}, {"options": {"width": [2]}}, {"options": {"depth": 2}}, {"options": {2: 2}},
    {"network": "vgg16", "options": {"body_pool": 5}}, {"network": "vgg16", "options": {"body_pool": False}},
{"vocabulary": ()}, {"vocabulary": "Bark"},
    {"vocabulary": ("Bark", 5)}, {"vocabulary": 5}, {"mel": None}, {"mel": {}}, {"mean": (0.5,)},
    {"mean": (0.5, 0.5, float("nan"))}, {"mean": (0.5, 0.5, "0.5")}, {"mean": 0.5}, {"std": (0.1, 0.0, 0.1)},
    {"std": (0.1, float("inf"), 0.1)}, {"std": (0.1, 10**400, 0.1)}, {"stage": "2"}, {"stage": 2.0}, {"fold": -1},
    {"options": {"body_pool": 7}},
])
def test_descriptions_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        dataclasses.replace(SPEC, **wrong)


@pytest.mark.parametrize("wrong", [
    {"sample_rate": "44100"}, {"sample_rate": True}, {"n_mels": 128.5}, {"n_fft": None}, {"f_min": float("nan")},
    {"min_seconds": float("inf")}, {"hop_length": 10**400}, {"trim_db": -60}, {"padding": ["reflect"]}, {"f_max": [1]},
])
def test_settings_of_images_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match=rf"MelConfig\.{next(iter(wrong))}=.*expected"):
        MelConfig(**wrong)


def test_numbers_of_a_description_may_be_numpys():
    numpys = dataclasses.replace(SPEC, mean=(np.float32(0.5),) * 3, fold=np.int64(1), voting=(np.int64(2),))
    assert numpys == dataclasses.replace(SPEC, mean=(0.5,) * 3, fold=1, voting=(2,))
    assert [type(value) for value in (*numpys.mean, numpys.fold, *numpys.voting)] == [float] * 3 + [int] * 2


def test_given_weights_are_taken_and_not_copied():
    weights = SPEC.build().state_dict()
    tagger = Tagger(SPEC, weights=weights)
    for name, tensor in tagger.network.state_dict().items():
        assert torch.equal(tensor, weights[name]), name
        assert tensor.ndim == 4 or tensor.data_ptr() == weights[name].data_ptr(), name  # 4: put in another order
    new = Tagger(SPEC)
    for ours, news in zip((*tagger.parameters(), *tagger.buffers()), (*new.parameters(), *new.buffers())):
        assert (ours.device, ours.dtype, ours.stride()) == (news.device, news.dtype, news.stride())
        assert ours.requires_grad == news.requires_grad


@pytest.mark.parametrize(("capability", "built", "runs"), [
    ((6, 0), ["sm_70", "sm_75", "sm_80", "sm_86", "sm_90"], False),  # Kaggle's P100 and a torch of today
    ((6, 0), ["sm_50", "sm_60", "sm_70"], True),
    ((6, 1), ["sm_60", "sm_70"], True),
    ((7, 5), ["sm_70", "sm_80"], True),
    ((7, 0), ["sm_75", "sm_80"], False),
    ((12, 0), ["sm_80", "sm_90"], False),
    ((12, 0), ["sm_80", "compute_90"], True),
    ((10, 0), ["sm_90", "sm_100", "sm_120"], True),
    ((9, 0), ["sm_90a"], True),
    ((11, 0), ["gfx906", "gfx1100"], True),
])
def test_which_gpus_a_torch_runs_on(capability, built, runs):
    assert runs_on(capability, built) == runs


def test_a_gpu_that_torch_was_not_built_for_is_said_and_the_cpu_taken(monkeypatch):
    for name, value in (("is_available", True), ("get_arch_list", ["sm_75", "sm_90"]),
                        ("get_device_capability", (6, 0)), ("get_device_name", "Tesla P100-PCIE-16GB")):
        monkeypatch.setattr(torch.cuda, name, lambda value=value: value)
    with pytest.warns(UserWarning, match=r"Tesla P100-PCIE-16GB is of compute capability 6\.0, .*\(sm_75, sm_90\)"):
        assert default_device() == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    assert default_device() == torch.device("cuda")


@pytest.mark.parametrize("network", ["cnn-model-1", "vgg16"])
def test_few_images_at_a_time_on_a_cpu_give_what_all_at_once_give_to_the_bit(network):
    """At full width, where the head's products round as their number of rows says."""
    torch.manual_seed(0)
    tagger = Tagger(dataclasses.replace(SPEC, network=network, options={})).eval()
    images = torch.rand(19, 1, 128, 128)
    with torch.no_grad():
        at_once = tagger.network(((images - tagger.mean) / tagger.std).contiguous(memory_format=torch.channels_last))
        assert torch.equal(tagger(images), at_once)


def test_what_a_network_is_of_is_known_without_torchs_compiler():
    """Which torch imports to draw for tensors that have no numbers: more than a second of each command."""
    code = ("import sys\nfrom freesound_tagging.images.mel import MelConfig\n"
            "from freesound_tagging.networks.tagger import NetworkSpec\n"
            "for network in ('cnn-model-1', 'vgg16'):\n"
            "    NetworkSpec(network, {'width': 2}, ('a', 'b'), MelConfig(), (0,) * 3, (1,) * 3).outline()\n"
            "print('torch._dynamo' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile as sf
import torch

from freesound_tagging.images.excerpts import pixels_on, window_starts
from freesound_tagging.images.mel import MelConfig
from freesound_tagging.networks.tagger import NetworkSpec, Tagger
from freesound_tagging.networks.weights import find_weights, load_tagger, save_tagger
from freesound_tagging.prediction import inference
from freesound_tagging.prediction.ensemble import Ensemble
from freesound_tagging.prediction.inference import ensemble_mean, predict

LABELS = tuple(f"label {i}" for i in range(5))


def tagger_of(seed, **changes):
    torch.manual_seed(seed)
    spec = {"network": "cnn-model-1", "options": {"width": 2}, "vocabulary": LABELS, "mel": MelConfig(),
            "mean": (0.4,) * 3, "std": (0.2,) * 3, "stage": 2, "fold": seed}
    return Tagger(NetworkSpec(**spec | changes)).eval()


def test_averaged_predictions_equal_a_plain_loop(demo_stores):
    store, tagger = demo_stores["test"], tagger_of(0)
    plain = []
    with torch.no_grad():
        for clip in range(len(store)):
            image = torch.tensor(store[clip] / 255, dtype=torch.float32)
            windows = []
            for start in window_starts(image.shape[1]):
                window = image[:, start:start + 128].expand(1, 3, -1, -1)
                windows.append(torch.sigmoid(tagger.network((window - 0.4) / 0.2)))
            plain.append(torch.cat(windows).mean(0).numpy())
    for batch_size in (1, 7, 256):
        ours = predict(tagger, pixels_on("cpu", store), store.starts, store.lengths, batch_size)
        np.testing.assert_allclose(ours, plain, atol=1e-5)


def test_no_clips_give_no_predictions(demo_stores):
    tagger = tagger_of(0)
    assert predict(tagger, pixels_on("cpu", demo_stores["test"]), [], []).shape == (0, 5)


def test_predicting_leaves_a_network_in_the_mode_it_was_in(demo_stores):
    store, tagger = demo_stores["test"], tagger_of(0).train()
    before = tagger.network[0][1].running_mean.clone()
    predict(tagger, pixels_on("cpu", store), store.starts[:2], store.lengths[:2])
    assert tagger.training
    assert torch.equal(tagger.network[0][1].running_mean, before)


def test_an_ensemble_is_the_mean_of_its_networks(demo_stores, tmp_path):
    store = demo_stores["test"]
    taggers = [tagger_of(0), tagger_of(1, network="vgg16", options={"width": 4})]
    paths = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for tagger, path in zip(taggers, paths):
        save_tagger(tagger, path)
    both = Ensemble.load(paths, "cpu", torch.float32).predict(store, progress=False)
    alone = [predict(tagger, pixels_on("cpu", store), store.starts, store.lengths) for tagger in taggers]
    np.testing.assert_allclose(both, alone, atol=1e-6)
    np.testing.assert_allclose(ensemble_mean(both), (alone[0] + alone[1]) / 2, rtol=1e-6)


@pytest.mark.parametrize(("tolerance", "used"), [(1.0, torch.bfloat16), (1e-9, torch.float32)])
def test_half_precision_is_used_where_it_changes_little(demo_stores, tmp_path, monkeypatch, tolerance, used):
    """As on a GPU, with the half precision that a CPU has."""
    save_tagger(tagger_of(0), tmp_path / "a.safetensors")
    exact, half = (Ensemble.load(tmp_path / "a.safetensors", "cpu", precision).predict(
        demo_stores["test"], progress=False) for precision in (torch.float32, torch.bfloat16))
    monkeypatch.setattr(inference, "inference_precision", lambda device: torch.bfloat16)
    monkeypatch.setattr(inference, "TOLERANCE", tolerance)
    networks, quickly = Ensemble.load(tmp_path / "a.safetensors", "cpu"), half if used == torch.bfloat16 else exact
    for pays_from, expected in ((1000, exact), (10, quickly), (1000, exact), (10, quickly)):
        monkeypatch.setattr(inference, "PAYS_FROM", pays_from)
        np.testing.assert_array_equal(networks.predict(demo_stores["test"], progress=False), expected)
        if pays_from == 10:  # what is chosen once stays
            monkeypatch.setattr(inference, "TOLERANCE", 0.5 if used == torch.float32 else 0)
    np.testing.assert_array_equal(networks.select([True]).predict(demo_stores["test"], progress=False), quickly)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(networks)).predict(
        demo_stores["test"], progress=False), quickly)
    assert 0 < np.abs(half - exact).mean() < 5e-3


def test_a_listening_is_in_one_precision_from_its_first_window_to_its_last(demo, tmp_path, monkeypatch):
    """By how long its sounds are together, whatever comes at a time, and whichever cannot be read."""
    save_tagger(tagger_of(0), tmp_path / "a.safetensors")
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    paths = [tmp_path / "bad.wav", *demo.test["path"][:4]]
    seconds = sum(sf.info(path).duration for path in paths[1:])
    monkeypatch.setattr(inference, "inference_precision", lambda device: torch.bfloat16)
    monkeypatch.setattr(inference, "TOLERANCE", 1)

    def heard(networks, paths, batch_size=3):
        return np.stack([sound.probabilities for sound in networks.listen(paths, batch_size) if not sound.problem])
    exact, half = (heard(Ensemble.load(tmp_path / "a.safetensors", "cpu", precision), paths)
                   for precision in ("float32", "bfloat16"))
    windows = seconds / (48 * 694 / 44_100)
    for pays_from, expected in ((windows + 1, exact), (windows - 1, half)):
        monkeypatch.setattr(inference, "PAYS_FROM", pays_from)
        networks = Ensemble.load(tmp_path / "a.safetensors", "cpu")
        np.testing.assert_array_equal(heard(networks, paths), expected)
    np.testing.assert_array_equal(heard(networks, paths[:2]), exact[:1])  # few again, of an ensemble that heard many
    assert np.abs(half - exact).max() > 1e-5


def test_while_one_thread_hears_much_another_hears_little(demo_stores, tmp_path, monkeypatch):
    """And whichever comes first, each gets what it would alone."""
    for number in range(2):
        save_tagger(tagger_of(number), tmp_path / f"{number}.safetensors")
    paths, pixels = sorted(tmp_path.glob("*.safetensors")), demo_stores["test"][0][:, :128].T[None]
    store, little = demo_stores["test"], np.ascontiguousarray(pixels)
    monkeypatch.setattr(inference, "inference_precision", lambda device: torch.bfloat16)
    monkeypatch.setattr(inference, "TOLERANCE", 1)
    half = Ensemble.load(paths, "cpu", "bfloat16").predict(store, progress=False)
    exact = Ensemble.load(paths, "cpu", "float32")._look_at(None, little)
    monkeypatch.setattr(inference, "PAYS_FROM", 10)
    networks = Ensemble.load(paths, "cpu")
    with ThreadPoolExecutor(2) as threads:
        much = threads.submit(networks.predict, store, progress=False)
        while not much.done():
            np.testing.assert_array_equal(networks._look_at(lambda: 1, little), exact)
    np.testing.assert_array_equal(much.result(), half)
    np.testing.assert_array_equal(networks.predict(store, progress=False), half)


def test_the_same_model_of_the_same_fold_does_not_count_twice(demo_stores, tmp_path):
    for name in ("a", "b"):
        save_tagger(tagger_of(0), tmp_path / f"{name}.safetensors")
    with pytest.raises(ValueError, match=r"b\.safetensors and .*a\.safetensors have the same weights; delete"):
        Ensemble.load([tmp_path / "a.safetensors", tmp_path / "b.safetensors"])


@pytest.mark.parametrize(("change", "message"), [
    ({"vocabulary": LABELS[::-1]}, r"b\.safetensors has another vocabulary"),
    ({"mel": MelConfig(hop_length=347)}, r"b\.safetensors was trained on images of MelConfig.*hop_length=347"),
])
def test_networks_that_do_not_belong_together_are_refused(demo_stores, tmp_path, change, message):
    save_tagger(tagger_of(0), tmp_path / "a.safetensors")
    save_tagger(tagger_of(1, **change), tmp_path / "b.safetensors")
    with pytest.raises(ValueError, match=message):
        Ensemble.load([tmp_path / "a.safetensors", tmp_path / "b.safetensors"])


@pytest.mark.parametrize(("asked", "differs"), [
    ((*LABELS[:4], "label 9"), "label 4, label 9"), (LABELS[::-1], "their order"), (LABELS[:4], "label 4")])
def test_networks_for_other_labels_than_the_data_sets_are_refused(tmp_path, asked, differs):
    save_tagger(tagger_of(0), tmp_path / "a.safetensors")
    Ensemble.load(tmp_path / "a.safetensors", "cpu", vocabulary=list(LABELS))
    with pytest.raises(ValueError, match=rf"a\.safetensors was trained on other labels .*\(what differs: {differs}\)"):
        Ensemble.load(tmp_path / "a.safetensors", "cpu", vocabulary=asked)


def test_a_network_that_gives_no_numbers_is_named(finished_run, demo_stores, tmp_path):
    broken = load_tagger(find_weights(finished_run.weights)[0])
    next(broken.network.parameters()).data[:] = np.nan
    save_tagger(broken, tmp_path / "stage-2_fold-0.safetensors")
    with pytest.raises(ValueError, match=r"stage-2_fold-0\.safetensors gives probabilities that are not numbers"):
        Ensemble.load(tmp_path / "stage-2_fold-0.safetensors").predict(demo_stores["test"], progress=False)


def test_a_network_that_is_too_large_for_the_precision_that_was_asked_for_is_not_blamed(finished_run, demo_stores,
                                                                                        tmp_path):
    large = load_tagger(find_weights(finished_run.weights)[0])
    for name in ("weight", "bias"):  # 100,000 is no float16
        getattr(large.network.head[3], name).data *= 1e5
    save_tagger(large, tmp_path / "stage-2_fold-0.safetensors")
    asked = Ensemble.load(tmp_path / "stage-2_fold-0.safetensors", "cpu", "float16")
    with pytest.raises(ValueError, match="not numbers in float16; leave precision out, or give float32"):
        asked.predict(demo_stores["test"], progress=False)
    Ensemble.load(tmp_path / "stage-2_fold-0.safetensors", "cpu").predict(demo_stores["test"], progress=False)


@pytest.mark.parametrize("size", [0, -1, 2.5])
def test_windows_are_predicted_at_least_one_at_a_time(demo_stores, tmp_path, size):
    save_tagger(tagger_of(0), tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=f"batch_size={size}: expected a whole number, at least 1"):
        Ensemble.load(tmp_path / "a.safetensors", "cpu").predict(demo_stores["test"], batch_size=size)


def test_a_network_under_the_name_of_another_is_refused(demo_stores, tmp_path):
    save_tagger(tagger_of(0), tmp_path / "stage-4_fold-1.safetensors")
    with pytest.raises(ValueError, match="is named as model 4 of fold 1 and is model 2 of fold 0"):
        Ensemble.load(tmp_path / "stage-4_fold-1.safetensors")

import pytest

from freesound_tagging.networks.weights import find_weights, load_tagger
from freesound_tagging.training.__main__ import main


def test_the_command_trains_both_networks_and_goes_on(demo, tmp_path, capsys):
    command = [str(demo.root), "--output", str(tmp_path), "--profile", "tiny", "--seed", "3"]
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "cnn-model-1, cross-validated:" in shown and "vgg16, cross-validated:" in shown
    paths = find_weights(tmp_path / "weights")
    assert len(paths) == 2 * 3 * 2, "models 2, 3 and 4 of two folds of two networks"
    assert {load_tagger(path).spec.network for path in paths} == {"cnn-model-1", "vgg16"}
    table = (tmp_path / "work/cnn-model-1/table.txt").read_text()
    assert table.strip() in shown
    for network in ("cnn-model-1", "vgg16"):
        assert (tmp_path / f"weights/{network}/README.md").read_text().startswith(f"# {network}: ")
    written = [path.stat().st_mtime_ns for path in paths]
    assert main(command) == 0
    assert [path.stat().st_mtime_ns for path in paths] == written, "finished folds are not trained again"
    assert main([*command, "--folds", "3"]) == 1
    assert "n_folds was 2 and is 3" in capsys.readouterr().err


def test_no_data_is_said(tmp_path, capsys):
    assert main([str(tmp_path / "nowhere")]) == 1
    assert "nowhere" in capsys.readouterr().err


def test_folds_and_seeds_that_cannot_be_are_said_before_anything_is_computed(demo, tmp_path, capsys):
    command = [str(demo.root), "--output", str(tmp_path / "run"), "--profile", "tiny"]
    assert main([*command, "--folds", "1000"]) == 1
    assert "n_folds=1000: expected 2 to 36, the clips of the smaller set" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*command, "--seed", "-1"])
    assert "--seed -1: expected 0 to 4294967295" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()

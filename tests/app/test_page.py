"""The page: what its functions give, and what it keeps and lets go."""

import asyncio
import json
import os
import threading
import time
import types

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import torch

from freesound_tagging.app.downloads import write_download
from freesound_tagging.app.hearing import Stopped, TooLong, hear, overview
from freesound_tagging.app.live import Live, hear_chunk
from freesound_tagging.app.page import _page
from freesound_tagging.app.turns import Turns
from freesound_tagging.app.view import events_view, sound_view, strip_view
from freesound_tagging.app.visits import Visits
from freesound_tagging.images.mel import load_clip, log_mel, to_image
from freesound_tagging.prediction import Ensemble, events

RATE = 44_100
LABELS = ("Bark", "Hiss & <b>hum</b>", "Meow", "Purr", "Sigh", "Tap")  # of `weights`


@pytest.fixture(scope="module")
def networks(weights):
    return Ensemble.load(weights, "cpu", torch.float32)


@pytest.fixture
def visits(tmp_path):
    (tmp_path / "uploads").mkdir()
    return Visits(tmp_path / "sounds", tmp_path / "uploads", most=3)


def noise(seconds, seed=0):
    return np.random.default_rng(seed).standard_normal(round(seconds * RATE)).astype(np.float32) / 10


def uploaded(visits, name="noise.wav", signal=None):
    path = visits.uploads / name
    sf.write(path, noise(4) if signal is None else signal, RATE, subtype="FLOAT")
    return path


def listened(networks, visits, path):
    visit = visits.begin("me", path)
    visit.heard = hear(networks, Turns(), visit, 90, lambda *_: None)
    return visit


def test_a_sound_is_heard_as_by_the_command(networks, visits):
    path = uploaded(visits)
    expected, = networks.listen(path)
    visit = listened(networks, visits, path)
    np.testing.assert_allclose(visit.heard.timeline, expected.timeline, atol=1e-6)
    np.testing.assert_allclose(visit.heard.probabilities, expected.probabilities, atol=1e-6)
    assert visit.heard.timeline.attrs == expected.timeline.attrs


def test_who_came_while_a_long_sound_is_heard_is_next_when_it_passes_on():
    turns, order = Turns(), []

    def short(name):
        with turns:
            order.append(name)

    with turns:
        others = []
        for name in ("first", "second"):
            others.append(threading.Thread(target=short, args=(name,)))
            others[-1].start()
            while turns._next < len(others) + 1:  # until it waits
                pass
        order.append("long")
        turns.pass_on()
        order.append("long")
        turns.pass_on()
        order.append("long")
    for other in others:
        other.join()
    assert order == ["long", "first", "second", "long", "long"]


def test_a_short_sound_does_not_wait_for_a_long_one(networks, visits):
    """40 s are 2 batches. Who comes with a short sound while the first is told of is done before the second."""
    turns, order = Turns(), []
    long, short = (visits.begin(name, uploaded(visits, f"{name}.wav", noise(seconds, seconds)))
                   for name, seconds in (("long", 40), ("short", 3)))

    def tell(heard, lasting):
        assert lasting == 40
        order.append("long")
        if len(order) == 1:
            thread.start()
            while turns._next < 2:
                pass

    thread = threading.Thread(target=lambda: hear(networks, turns, short, 90, lambda *_: order.append("short")))
    hear(networks, turns, long, 90, tell)
    thread.join()
    assert order == ["long", "short", "long"]


def test_listening_is_stopped_when_nobody_waits(networks, visits):
    visit, told = visits.begin("me", uploaded(visits, signal=noise(80))), []

    def tell(*seconds):
        told.append(seconds)
        visits.end("me")

    with pytest.raises(Stopped):
        hear(networks, Turns(), visit, 90, tell)
    assert len(told) == 1
    assert not visit.folder.exists()


def test_of_a_sound_that_nobody_waits_for_it_is_not_said_that_it_lasts_too_long(networks, visits, monkeypatch):
    visit, look_at = visits.begin("me", uploaded(visits, signal=noise(61))), networks._look_at

    def stopped_meanwhile(*given):
        visits.end("me")
        return look_at(*given)

    monkeypatch.setattr(networks, "_look_at", stopped_meanwhile)
    with pytest.raises(Stopped):
        hear(networks, Turns(), visit, 1, lambda *_: None)


def test_an_error_of_a_sound_leaves_the_one_that_has_taken_its_place(networks, visits, tmp_path, monkeypatch):
    pytest.importorskip("gradio")
    async def functions():  # else Gradio makes a loop, which it leaves open
        return {function.name: function.fn for function in _page(networks, visits, 90, tmp_path).fns.values()}

    of_page, me = asyncio.run(functions()), types.SimpleNamespace(session_hash="me")
    take, listen, look_at = of_page["take"], of_page["listen"], networks._look_at

    def break_down(*_):
        monkeypatch.setattr(networks, "_look_at", look_at)
        take({"path": uploaded(visits, "right.wav")}, me)
        raise ValueError("the networks gave what is no number")

    monkeypatch.setattr(networks, "_look_at", break_down)
    take({"path": uploaded(visits, "wrong.wav")}, me)
    assert "no number" not in str(listen(0.3, me))
    assert "right.wav" in listen(0.3, me)[0]


def test_the_events_follow_the_slider_whichever_way_it_is_moved(networks, visits, tmp_path):
    """Gradio calls it released after the mouse alone, not after an arrow key; what is typed begins with 0."""
    pytest.importorskip("gradio")
    async def functions():
        return {function.name: function for function in _page(networks, visits, 90, tmp_path).fns.values()}

    events_of = asyncio.run(functions())["events_of"]
    assert [event for _, event in events_of.targets] == ["change"] and not events_of.preprocess
    me, visit = types.SimpleNamespace(session_hash="me"), listened(networks, visits, uploaded(visits))
    for threshold in (0.05, 0.4, 0.95):
        assert events_of.fn(threshold, me) == events_view(visit, threshold)
    for typed in (0, 7, None):
        assert "<" not in str(events_of.fn(typed, me)), "the table stays as it is"
    assert events_of.fn(0.4, types.SimpleNamespace(session_hash="you")) == ""


def test_a_sound_that_lasts_too_long_is_refused_in_a_line(networks, visits):
    visit = visits.begin("me", uploaded(visits, "night.wav", noise(61)))
    with pytest.raises(TooLong, match=r"^night\.wav lasts more than 1 minutes; cut it, .*--max-minutes"):
        hear(networks, Turns(), visit, 1, lambda *_: None)


def test_what_is_wrong_with_a_file_is_a_line_with_its_name_alone(networks, visits):
    (visits.uploads / "bad one.wav").write_text("no sound")
    problem = listened(networks, visits, visits.uploads / "bad one.wav").heard.problem
    assert problem.startswith("bad one.wav cannot be read as audio") and str(visits.folder) not in problem
    (visits.uploads / "voice.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(100))
    problem = listened(networks, visits, visits.uploads / "voice.m4a").heard.problem
    assert "(ffmpeg -i voice.m4a voice.wav converts it)" in problem
    assert "is silent throughout" in listened(networks, visits, uploaded(visits, signal=0 * noise(3))).heard.remark


def test_no_file_is_taken_that_was_not_uploaded(visits, tmp_path):
    secret = tmp_path / "secret.wav"
    sf.write(secret, noise(2), RATE)
    (visits.uploads / "link.wav").symlink_to(secret)
    for path in (secret, visits.uploads / "../secret.wav", visits.uploads / "link.wav", visits.uploads,
                 "http://127.0.0.1/secret.wav"):
        with pytest.raises(ValueError, match="no file that was uploaded here"):
            visits.begin("me", path)
    assert secret.exists() and visits.of("me") is None and not visits.folder.exists()


def test_a_page_has_one_sound_and_all_pages_as_many_as_there_is_room_for(visits):
    first, second = (visits.begin("me", uploaded(visits)) for _ in range(2))
    assert first.stopped.is_set() and not first.folder.exists()
    others = [visits.begin(session, uploaded(visits)) for session in "abc"]  # the fourth: room is for three
    assert second.stopped.is_set() and not second.folder.exists()
    assert [other.path.exists() for other in others] == [True, True, True]
    visits.end("a")
    assert not others[0].folder.exists() and visits.of("a") is None


@pytest.mark.parametrize("links", [True, False])
def test_two_who_give_the_same_have_a_sound_each(visits, monkeypatch, links):
    """By the content's hash Gradio has one path for both."""
    def without_links(*_):
        raise OSError("Operation not permitted")

    if not links:
        monkeypatch.setattr(os, "link", without_links)
    (visits.uploads / "hash").mkdir()
    content = uploaded(visits, "hash/door.wav").read_bytes()
    mine, yours = (visits.begin(name, visits.uploads / "hash/door.wav") for name in ("me", "you"))
    visits.sweep(-1)
    assert list(visits.uploads.iterdir()) == []
    visits.end("me")
    assert not mine.path.exists() and yours.path.read_bytes() == content and yours.path.name == "door.wav"


def test_an_upload_is_deleted_after_a_minute(visits):
    old, new = visits.uploads / "old", visits.uploads / "new"
    for folder in (old, new):
        folder.mkdir()
        (folder / "audio.wav").touch()
    (broken_off := visits.uploads / "part").touch()
    for path in (old, broken_off):
        os.utime(path, (time.time() - 61,) * 2)
    visits.sweep()
    assert list(visits.uploads.rglob("*.wav")) == [new / "audio.wav"] and not broken_off.exists()


def test_a_sound_is_found_by_its_token_once_it_was_heard(networks, visits):
    visit = visits.begin("me", uploaded(visits))
    assert visits.find(visit.token) is None
    visit.heard = hear(networks, Turns(), visit, 90, lambda *_: None)
    assert visits.find(visit.token) is visit
    assert visits.find(visit.token[:-1]) is visits.find("") is visits.find("é") is None


def test_the_spectrogram_of_a_short_sound_is_its_clips_image(networks, visits):
    path = uploaded(visits)
    expected = to_image(log_mel(load_clip(path)))
    image, config = overview(listened(networks, visits, path), networks.mel)
    assert config.hop_length == 694
    np.testing.assert_array_equal(image[:, :expected.shape[1]], expected)
    assert image.shape[1] - expected.shape[1] in (-1, 0)


def test_a_spectrogram_keeps_the_loudest_of_frames_that_share_a_column(networks, visits):
    path = uploaded(visits, signal=noise(20))
    expected = to_image(log_mel(load_clip(path)))
    image, config = overview(listened(networks, visits, path), networks.mel, columns=100)
    together = config.hop_length // 694
    assert 50 < image.shape[1] <= 100
    for column in (0, 17, 40):
        np.testing.assert_array_equal(image[:, column], expected[:, column * together:(column + 1) * together].max(1))


def test_downloads_are_the_commands_formats(networks, visits, weights, tmp_path, capsys):
    from freesound_tagging.__main__ import main

    path = uploaded(visits, "door.wav", np.r_[noise(6), 0 * noise(6)])
    copy = tmp_path / "door.wav"
    copy.write_bytes(path.read_bytes())
    visit = listened(networks, visits, path)
    threshold = float(np.float32(visit.heard.timeline.to_numpy().mean()))
    arguments = [str(copy), "--weights", str(weights), "--threshold", f"{threshold}", "--top", str(len(LABELS))]
    assert main([*arguments, "--json", "--timeline", str(tmp_path / "labels.txt")]) == 0
    expected = json.loads(capsys.readouterr().out)
    assert write_download("txt", visit, threshold).read_text() == (tmp_path / "labels.txt").read_text() != ""
    ours = json.loads(write_download("json", visit, threshold).read_text())
    assert len(ours["events"]) == len(expected["events"]) > 0
    assert [event["label"] for event in ours["events"]] == [event["label"] for event in expected["events"]]
    assert ours["path"] == "door.wav" and ours["seconds"] == expected["seconds"] == 12
    assert {found["label"]: found["probability"] for found in ours["labels"]} == pytest.approx(
        {found["label"]: found["probability"] for found in expected["labels"]}, abs=2e-3)  # half precision there
    table = pd.read_csv(write_download("csv", visit, threshold), index_col="second")
    assert {*zip(table.pop("path"), table.pop("duration"))} == {("door.wav", 12)} and table.pop("window").nunique() == 1
    np.testing.assert_allclose(table, visit.heard.timeline, atol=1e-6)


def test_the_events_are_buttons_that_jump_and_words_are_no_markup(networks, visits):
    visit = listened(networks, visits, uploaded(visits, "a<i>&b.wav"))
    threshold = 0.05
    view = sound_view(visit, *overview(visit, networks.mel)) + events_view(visit, threshold)
    table = events(visit.heard.timeline, threshold)
    assert view.count("<button") == len(table) > 0
    for start in table["start"]:
        assert f"player.currentTime = {start:.2f}" in view
    assert "<b>" not in view and "<i>" not in view
    assert "a&lt;i&gt;&amp;b.wav" in view and "Hiss &amp; &lt;b&gt;hum&lt;/b&gt;" in view
    assert view.count('<div class="bar">') == 5
    assert "No event: no label reaches 1 in any window" in events_view(visit, 1)


def test_a_microphone_is_heard_like_a_file_of_its_last_two_seconds(networks, tmp_path):
    """Chunks of 0.76 s: the first two seconds are there with the third, then each gives a column."""
    step = round(networks.mel.hop_seconds * RATE)
    assert step / RATE == pytest.approx(0.755, abs=1e-3)
    signal, live = noise(5), Live()
    for number in range(5):
        sf.write(tmp_path / "chunk.wav", signal[number * step:(number + 1) * step], RATE, subtype="FLOAT")
        live = hear_chunk(networks, Turns(), live, tmp_path / "chunk.wav", tmp_path)
        assert len(live.columns) == max(0, number - 1)
        if live.columns:
            end = (number + 1) * step
            seconds = max(networks.mel.min_seconds, networks.mel.excerpt_seconds)
            sf.write(tmp_path / "last.wav", signal[end - round(seconds * RATE):end], RATE, subtype="FLOAT")
            np.testing.assert_allclose(live.columns[-1], networks.tag(tmp_path / "last.wav").iloc[0], atol=1e-6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["chunk.wav", "last.wav"]


def test_a_microphone_is_heard_every_three_quarters_of_a_second_however_its_sound_comes(networks, tmp_path):
    """10 s in pieces of 0.1 s: the first two seconds are there after 2.1 s, and 10.8 steps of 0.755 s after them."""
    live, signal = Live(), noise(10)
    for second in np.arange(0, 10, 0.1):
        sf.write(tmp_path / "chunk.wav", signal[round(second * RATE):round((second + 0.1) * RATE)], RATE)
        live = hear_chunk(networks, Turns(), live, tmp_path / "chunk.wav", tmp_path)
    assert len(live.columns) in (11, 12)


def test_a_microphone_that_hears_nothing_has_empty_strips(networks, tmp_path):
    live = Live()
    sf.write(tmp_path / "chunk.wav", 0 * noise(3), RATE)
    live = hear_chunk(networks, Turns(), live, tmp_path / "chunk.wav", tmp_path)
    np.testing.assert_array_equal(live.columns, np.zeros((1, len(LABELS))))
    assert "<rect" not in strip_view(live.columns, LABELS)


def test_strips_are_those_of_the_most_probable_labels_and_end_now():
    columns = [np.array([0.9, 0, 0.2, 0, 0, 0], np.float32), np.array([0, 0, 0.7, 0.1, 0, 0], np.float32)]
    view = strip_view(columns, LABELS, most=60, top=2)
    assert view.index("Bark") < view.index("Meow") and "Purr" not in view
    assert 'x="58" width="1.05" height="1" fill="#3b82f6" fill-opacity="0.90"' in view
    assert 'x="59" width="1.05" height="1" fill="#3b82f6" fill-opacity="0.70"' in view

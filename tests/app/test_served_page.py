"""The page as it is served by its command: a browser's requests over HTTP, its bounds, and what it leaves behind."""

import io
import json
import shutil
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from freesound_tagging.prediction import Calibration


def noise(seconds):
    """A WAV file's content."""
    content = io.BytesIO()
    sf.write(content, np.random.default_rng(0).standard_normal(round(seconds * 44_100)) / 10, 44_100, format="WAV")
    return content.getvalue()


@pytest.fixture(scope="module")
def page(serve, tmp_path_factory):
    with serve(tmp_path_factory.mktemp("served"), "--max-minutes", "1") as address, Visitor(address) as visitor:
        yield visitor


class Visitor:
    """Speaks to the page as its script in a browser does."""

    def __init__(self, address):
        import httpx

        self.http = httpx.Client(base_url=address, trust_env=False, timeout=60)
        self.functions = self.http.get("config").json()["dependencies"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.http.close()

    def upload(self, name, content):
        answer = self.http.post("gradio_api/upload", files={"files": (name, content)})
        return answer.json()[0] if answer.is_success else answer

    def call(self, number, *data, session="me"):
        self.http.post("gradio_api/queue/join",
                       json={"fn_index": number, "data": data, "session_hash": session}).raise_for_status()
        with self.http.stream("GET", "gradio_api/queue/data", params={"session_hash": session}) as lines:
            for line in lines.iter_lines():
                found = json.loads(line[6:]) if line.startswith("data: ") else {}
                if found.get("msg") == "process_completed":
                    return found["output"]

    def listen(self, path, session="me"):
        """What the page shows of a sound: HTML of the sound and of its events."""
        take, listen = (next(function["id"] for function in self.functions if len(function["outputs"]) == outputs)
                        for outputs in (5, 3))
        taken = self.call(take, {"path": path, "meta": {"_type": "gradio.FileData"}}, session=session)
        if "data" not in taken:
            return taken["error"]
        heard = self.call(listen, 0.3, session=session)["data"]
        return heard[:2] if isinstance(heard[0], str) else taken["data"][1:3]


def test_a_browser_gets_what_was_heard_plays_it_and_takes_it_home(page):
    content = noise(4)
    path = page.upload("noise.wav", content)
    shown, table = page.listen(path)
    assert "noise.wav" in shown and "Audacity" in table
    assert Path(path).exists(), "for others who upload the same, until it is swept away"
    sound = shown.split('src="')[1].split('"')[0]
    played = page.http.get(sound)
    assert played.content == content and played.headers["content-type"].startswith("audio/")
    assert page.http.get(sound, headers={"Range": "bytes=100-199"}).content == content[100:200]
    labels = page.http.get(sound.replace("/sound", "/txt"), params={"threshold": 0.05})
    assert labels.headers["content-disposition"] == 'attachment; filename="noise.wav.txt"'
    assert len(labels.text.splitlines()[0].split("\t")) == 3
    assert page.http.get(sound.replace("/sound", "/txt?threshold=x")).status_code == 400
    assert page.http.get(sound.replace("/sound", "/else")).status_code == 404
    assert page.http.get("heard/é/sound").status_code == 404
    page.listen(page.upload("noise.wav", content))
    assert page.http.get(sound).status_code == 404, "another sound has taken its place"


def test_two_who_drop_the_same_file_are_both_shown_it(page):
    me, you = (page.upload("same.wav", noise(3)) for _ in "ab")
    assert me == you
    for session in ("me", "you"):
        assert "<audio" in page.listen(me, session)[0]


def test_a_bad_file_and_a_long_one_get_their_line(page):
    assert "bad.wav cannot be read as audio" in page.listen(page.upload("bad.wav", b"no sound"))[0]
    shown, table = page.listen(page.upload("long.wav", noise(70)))
    assert "long.wav lasts more than 1 minutes" in shown and table == ""
    assert page.upload("huge.wav", bytes(25 << 20)).status_code == 413


def test_nobody_waits_for_the_end_of_others_however_many_there_are(serve, tmp_path):
    """Five minutes are 13 batches, and a reading."""
    long, done = noise(300), []

    def listen(name, content):
        with Visitor(address) as visitor:
            assert "<audio" in visitor.listen(visitor.upload(name, content), name)[0]
        done.append(name)

    with serve(tmp_path) as address, ThreadPoolExecutor(7) as people:
        waiting = [people.submit(listen, f"{number}.wav", long) for number in range(6)]
        while len(list(tmp_path.glob("*/sounds/*/*.wav"))) < 6:
            time.sleep(0.02)
        waiting.append(people.submit(listen, "short.wav", noise(3)))
        for one in waiting:
            one.result()
    assert done[0] == "short.wav"


def test_a_file_of_the_machines_is_not_read(page, tmp_path):
    secret = tmp_path / "secret.wav"
    secret.write_bytes(noise(3))
    assert "secret.wav" not in str(page.listen(str(secret))).replace(str(secret), "")
    assert secret.exists()


def test_no_address_is_fetched(page):
    assert "is an address; expected a file that was uploaded here" in page.listen("http://localhost:1/a.wav")


def test_the_browser_is_told_to_ask_no_other_machine(page):
    answer = page.http.get("")
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'self' data: blob:"
    assert not any("http" in sources or "*" in sources for sources in policy.values())
    assert "fonts.googleapis.com" not in answer.text
    config = page.http.get("config").json()
    assert config["analytics_enabled"] is False
    assert page.http.get("openapi.json").status_code == page.http.get("docs").status_code == 404


def test_the_page_is_reached_by_this_machine_alone(page):
    """Who listens on all addresses answers on this one, too."""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", page.http.base_url.port), timeout=5)


def test_what_was_uploaded_is_gone_when_the_page_is_closed(serve, tmp_path):
    """By SIGTERM here."""
    with serve(tmp_path) as address:
        with Visitor(address) as visitor:
            visitor.listen(visitor.upload("noise.wav", noise(3)))
            visitor.upload("other.wav", b"never listened to")
        assert {path.name for path in tmp_path.rglob("*.wav")} == {"noise.wav", "other.wav"}
    assert not [path for path in tmp_path.rglob("*") if path.is_file()], "an empty folder of Gradio's may be left"


def test_calibrated_probabilities_are_said_and_an_event_is_from_even_odds_on(page, serve, weights, tmp_path):
    def shown(visitor):
        parts = visitor.http.get("config").json()["components"]
        slider, = (part["props"]["value"] for part in parts if part["type"] == "slider")
        return slider, any("windows of 2 s, calibrated." in str(part["props"].get("value")) for part in parts)
    assert shown(page) == (0.3, False)
    ours = shutil.copytree(weights, tmp_path / "weights")
    Calibration(1.5, 1.0, {"labels": 6, "stages": [2]}).write(ours)
    with serve(tmp_path, "--weights", str(ours)) as address, Visitor(address) as visitor:
        assert shown(visitor) == (0.5, True)

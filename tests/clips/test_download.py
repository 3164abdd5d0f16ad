"""Fetching from a local server that arranges small files as Zenodo does, and misbehaves where a test asks for it."""

import hashlib
import http.server
import json
import os
import shutil
import subprocess
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from freesound_tagging.clips import download as module
from freesound_tagging.clips.__main__ import main
from freesound_tagging.clips.archives import opened_archive
from freesound_tagging.clips.dataset import FSDKaggle2019
from freesound_tagging.clips.download import ARCHIVES, download
from freesound_tagging.machine.files import only_writer

pytestmark = pytest.mark.skipif(not shutil.which("zip"), reason="the program zip is not installed")


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """The four archives as on Zenodo, the noisy one really split by zip -s, and the tree that they were made of."""
    tree, archives = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("archives")
    rng = np.random.default_rng(0)
    meta = tree / ARCHIVES["meta"]
    meta.mkdir()
    for name, table, count, extra in (("curated", "train_curated", 3, ""), ("noisy", "train_noisy", 4, ""),
                                      ("test", "test", 2, ",usage")):
        folder = tree / ARCHIVES[name]
        folder.mkdir()
        rows = [f"fname,labels{extra},license"]
        for clip in range(count):
            sf.write(folder / f"{name}{clip}.wav", rng.uniform(-1, 1, 60_000), 44_100)  # noise: it does not compress
            rows.append(f"{name}{clip}.wav,Bark{',Public' if extra else ''},CC0")
        (meta / f"{table}_post_competition.csv").write_text("\n".join(rows) + "\n")
    for name, folder in ARCHIVES.items():
        split = ["-s", "128k"] if name == "noisy" else []
        subprocess.run(["zip", "-q", "-r", *split, archives / f"{folder}.zip", folder], cwd=tree, check=True)
    assert len(list(archives.glob("*.z0*"))) >= 2, "really split"
    return archives, tree


class Zenodo(http.server.BaseHTTPRequestHandler):
    """Serves the record and its files, with ranges. `broken_after` closes a connection early, `wrong` lies."""

    def do_GET(self):
        server = self.server
        if self.path == "/record":
            address = f"http://127.0.0.1:{server.server_address[1]}"
            files = [{"key": path.name, "size": path.stat().st_size,
                      "links": {"self": f"{address}/{path.name}/content"},
                      "checksum": "md5:" + hashlib.md5(path.read_bytes()).hexdigest()}
                     for path in sorted(server.folder.glob("*.z*"))]
            return self.answer(200, json.dumps({"files": files}).encode())
        name = self.path.split("/")[1]
        content = (server.folder / name).read_bytes()
        if name in server.wrong:
            content = bytes(len(content))
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])
        server.served.append((name, start))
        return self.answer(206 if start else 200, content[start:], server.broken_after.pop(name, None))

    def answer(self, status, content, stop=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:stop])

    def log_message(self, *_):
        pass


@pytest.fixture
def zenodo(archives):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Zenodo)
    server.folder, server.wrong, server.broken_after, server.served = archives[0], set(), {}, []
    server.record = f"http://127.0.0.1:{server.server_address[1]}/record"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def tree_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes()
            for path in Path(folder).rglob("*") if path.is_file()}


def test_everything_is_fetched_and_unpacked(archives, zenodo, tmp_path, capsys):
    download(tmp_path / "input", record=zenodo.record)
    assert tree_of(tmp_path / "input") == tree_of(archives[1])
    assert "to fetch: " in capsys.readouterr().out
    data = FSDKaggle2019(tmp_path / "input")
    assert (data.layout, len(data.curated), len(data.noisy), len(data.test)) == ("Zenodo", 3, 4, 2)
    zenodo.served.clear()
    download(tmp_path / "input", record=zenodo.record)
    assert zenodo.served == [], "what is unpacked is not fetched again"


def test_only_some_sets_are_fetched(zenodo, tmp_path):
    assert main(["download", str(tmp_path / "input"), "--only", "meta", "test", "--record", zenodo.record]) == 0
    assert sorted(path.name for path in (tmp_path / "input").iterdir()) == sorted(
        [ARCHIVES["meta"], ARCHIVES["test"]])


def test_a_broken_download_goes_on_where_it_broke(archives, zenodo, tmp_path, capsys):
    name = f"{ARCHIVES['curated']}.zip"
    zenodo.broken_after[name] = 200_000
    arguments = ["download", str(tmp_path / "input"), "--only", "meta", "curated", "--record", zenodo.record]
    assert main(arguments) == 1
    assert capsys.readouterr().err
    assert (tmp_path / "input" / ARCHIVES["meta"]).is_dir(), "what was complete is kept"
    assert not (tmp_path / "input" / ARCHIVES["curated"]).exists()
    part = tmp_path / "input/archives" / f"{name}.part"
    assert 0 < part.stat().st_size <= 200_000
    have = part.stat().st_size
    zenodo.served.clear()
    assert main(arguments) == 0
    assert zenodo.served == [(name, have)]
    assert tree_of(tmp_path / "input" / ARCHIVES["curated"]) == tree_of(archives[1] / ARCHIVES["curated"])
    assert not (tmp_path / "input/archives").exists()


def test_a_part_of_the_split_archive_that_broke_does_not_lose_the_others(archives, zenodo, tmp_path):
    parts = sorted(path.name for path in archives[0].glob(f"{ARCHIVES['noisy']}.*"))
    zenodo.broken_after[parts[1]] = 1000
    arguments = ["download", str(tmp_path / "input"), "--only", "noisy", "--record", zenodo.record]
    assert main(arguments) == 1
    assert main(arguments) == 0
    assert [name for name, _ in zenodo.served] == [*parts[:2], parts[1], *parts[2:]]
    assert tree_of(tmp_path / "input" / ARCHIVES["noisy"]) == tree_of(archives[1] / ARCHIVES["noisy"])


def test_a_wrong_checksum_is_named_and_fetched_anew(zenodo, tmp_path):
    name = f"{ARCHIVES['test']}.zip"
    zenodo.wrong.add(name)
    with pytest.raises(ValueError, match=rf"{name} was fetched whole, but its checksum is not the record's md5:"):
        download(tmp_path / "input", ["test"], zenodo.record)
    assert not (tmp_path / "input" / ARCHIVES["test"]).exists()
    assert not list((tmp_path / "input").rglob(f"{name}*"))
    zenodo.wrong.clear()
    download(tmp_path / "input", ["test"], zenodo.record)
    assert (tmp_path / "input" / ARCHIVES["test"]).is_dir()


def test_a_disk_too_small_is_said_before_anything_is_fetched(zenodo, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=100_000)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OSError, match=r"has 0\.1 MB free, and about .* MB are needed"):
        download(tmp_path / "input", record=zenodo.record)
    assert zenodo.served == []


@pytest.mark.parametrize("broken", [False, True])
def test_the_room_that_is_asked_for_is_what_is_used(zenodo, tmp_path, monkeypatch, broken):
    """At most a third more, as recordings can be packed, and the noise here cannot; what is there already counts."""
    root, name = tmp_path / "input", f"{ARCHIVES['noisy']}.z01"
    if broken:
        zenodo.broken_after[name] = 100_000
        with pytest.raises(OSError, match="onnection broke"):
            download(root, record=zenodo.record)
    before = sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) if broken else 0
    wanted = [name for name in ARCHIVES if not (root / ARCHIVES[name]).exists()]
    _, asked = module._room(module._parts_of(wanted, zenodo.record), root / "archives")
    used, extract = [], zipfile.ZipFile.extract

    def measured(*arguments):
        extract(*arguments)
        used.append(sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) - before)
    monkeypatch.setattr(zipfile.ZipFile, "extract", measured)
    download(root, record=zenodo.record)
    assert max(used) <= asked <= max(used) * 4 / 3
    assert max(used) > 2 * (480_000 - before), "the largest archive and what it holds"


@pytest.mark.parametrize("options", [[], ["-fz"]], ids=["", "zip64"])
def test_a_split_archive_is_read_as_it_is(archives, tmp_path, options):
    """Entries begin in any part and go over the ends of parts; of a large archive's places there are 64 bits."""
    subprocess.run(["zip", "-q", "-r", *options, "-s", "128k", tmp_path / "a.zip", ARCHIVES["noisy"]], cwd=archives[1],
                   check=True)
    parts = sorted(tmp_path.glob("a.z*"))
    assert len(parts) >= 3
    with opened_archive(parts) as archive:
        archive.extractall(tmp_path / "out")
    assert tree_of(tmp_path / "out" / ARCHIVES["noisy"]) == tree_of(archives[1] / ARCHIVES["noisy"])


def test_a_damaged_part_that_is_too_long_is_begun_anew(archives, zenodo, tmp_path):
    part = tmp_path / "input/archives" / f"{ARCHIVES['meta']}.zip.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(100_000))
    download(tmp_path / "input", ["meta"], zenodo.record)
    assert tree_of(tmp_path / "input" / ARCHIVES["meta"]) == tree_of(archives[1] / ARCHIVES["meta"])


def test_a_record_without_the_archive_and_an_unreachable_one_are_errors(zenodo, tmp_path, capsys):
    zenodo.folder = tmp_path
    (tmp_path / "other.zip").touch()
    with pytest.raises(ValueError, match=rf"has no {ARCHIVES['meta']}\.zip; it has other\.zip"):
        download(tmp_path / "input", ["meta"], zenodo.record)
    assert main(["download", str(tmp_path / "input"), "--record", "http://127.0.0.1:1/record"]) == 1
    assert "127.0.0.1" in capsys.readouterr().err


@pytest.mark.parametrize("page", ["<html>", "[]", "null", '{"metadata": {}}', '{"files": [{"filename": "a.zip"}]}'])
def test_an_address_of_something_else_than_a_record_is_said(zenodo, tmp_path, page):
    zenodo.folder = tmp_path
    (tmp_path / "records").write_text(page)
    address = zenodo.record.replace("record", "records")
    with pytest.raises(ValueError, match=rf"^{address} is no record at Zenodo's interface; give an address such"):
        download(tmp_path / "input", ["meta"], address)


@pytest.mark.parametrize("folder", ["../", "/tmp/", "sub/"])
def test_an_archive_that_would_go_elsewhere_is_not_taken(zenodo, tmp_path, monkeypatch, folder):
    name = f"{folder}{ARCHIVES['meta']}.zip"
    monkeypatch.setattr(module.requests.Response, "json", lambda answer: {"files": [
        {"key": name, "size": 1, "checksum": "md5:0", "links": {"self": "http://127.0.0.1:1/x"}}]})
    with pytest.raises(ValueError, match=rf"has no {ARCHIVES['meta']}\.zip; it has {name}"):
        download(tmp_path / "input", ["meta"], zenodo.record)


def test_a_second_download_into_the_same_folder_is_told_who_has_it(zenodo, tmp_path):
    with only_writer(tmp_path / "input/archives", "testing"), pytest.raises(
            RuntimeError, match=rf"process {os.getpid()} on .* is downloading into it"):
        download(tmp_path / "input", ["meta"], zenodo.record)
    assert zenodo.served == []

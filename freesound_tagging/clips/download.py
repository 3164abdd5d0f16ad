"""Fetching the data set from Zenodo: record 3612637, 25 GB of zip archives, one of them split."""

import contextlib
import shutil
import sys
from pathlib import Path

import pooch
import requests
from tqdm import tqdm

from ..machine.files import as_path, only_writer
from .archives import opened_archive

RECORD = "https://zenodo.org/api/records/3612637"
ARCHIVES = {  # the archive of each set; it holds a folder of the same name
    "meta": "FSDKaggle2019.meta",
    "test": "FSDKaggle2019.audio_test",
    "curated": "FSDKaggle2019.audio_train_curated",
    "noisy": "FSDKaggle2019.audio_train_noisy",
}
# What an archive becomes, in its bytes: all are 25 GB, and the 103 hours that they hold, in 16 bits at 44,100 Hz, 32.8.
UNPACKED = 4 / 3
CHUNK = 1 << 16  # bytes; of a broken connection at most so many are lost


def download(dest, only=tuple(ARCHIVES), record=RECORD):
    """Fetch sets of FSDKaggle2019, check them and unpack them, one after the other, the largest first.

    What is complete is never fetched again: an unpacked folder, an archive, and the part of an archive that came before
    an interruption. Archives are deleted once they are unpacked.

    Parameters
    ----------
    dest : path
        Becomes a data set in Zenodo's layout.
    only : sequence of {"meta", "test", "curated", "noisy"}
        The sets to fetch.
    record : str
        Address of the record at Zenodo's interface; sizes, checksums and addresses of the archives are taken from it.

    Returns
    -------
    list of pathlib.Path
        The folders, those that were there already among them.

    Raises
    ------
    OSError
        If the connection breaks or the disk is too small. Run again to go on.
    RuntimeError
        If another process downloads into the same folder. The message says which.
    ValueError
        If an archive's checksum is wrong, the record has no such archive, or its address is of something else.
    """
    dest = as_path(dest)
    dest.mkdir(parents=True, exist_ok=True)
    archives = dest / "archives"
    wanted = [name for name in only if not (dest / ARCHIVES[name]).is_dir()]
    for name in set(only) - set(wanted):
        print(f"{dest / ARCHIVES[name]} is there already")
    if wanted:
        with only_writer(archives, "downloading into it"):
            _download(wanted, dest, archives, record)
        for left in (".lock", ".holder"):
            (archives / left).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            archives.rmdir()
    return [dest / ARCHIVES[name] for name in only]


def _download(wanted, dest, archives, record):
    parts = _parts_of(wanted, record)
    _check_disk(dest, archives, parts)
    for name, files in parts.items():
        _unpack([_fetch(file, archives) for file in files], ARCHIVES[name], dest)
        for path in archives.glob(f"{ARCHIVES[name]}.*"):
            path.unlink()


def _parts_of(wanted, record):
    """The files of each set's archive: name, size in bytes, checksum and address; the .zip last.

    The tables come first, then the largest set, as least is on the disk then.
    """
    answer = requests.get(record, timeout=60)
    answer.raise_for_status()
    try:
        files = [{"name": file["key"], "size": file["size"], "checksum": file["checksum"], "url": file["links"]["self"]}
                 for file in answer.json()["files"]]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{record} is no record at Zenodo's interface; give an address such as {RECORD}") from None
    parts = {name: sorted((file for file in files if file["name"].rpartition(".")[0] == ARCHIVES[name]),
                          key=lambda file: file["name"]) for name in wanted}
    for name, found in parts.items():
        if not found or not found[-1]["name"].endswith(".zip"):
            raise ValueError(f"{record} has no {ARCHIVES[name]}.zip; it has {', '.join(f['name'] for f in files)}")
    return dict(sorted(parts.items(), key=lambda item: (item[0] != "meta", -_size(item[1]))))


def _size(files):
    return sum(file["size"] for file in files)


def _room(parts, archives):
    """What is to be fetched, and the most that will be on the disk at a time beyond what is: both in bytes."""
    fetch = need = more = 0
    for files in parts.values():
        here = sum(path.stat().st_size for file in files for path in archives.glob(f"{file['name']}*"))
        lacking = max(_size(files) - here, 0)
        unpacked = int(_size(files) * UNPACKED)
        fetch, need = fetch + lacking, max(need, more + lacking + unpacked)
        more += lacking + unpacked - _size(files)  # the archive is deleted
    return fetch, need


def _check_disk(dest, archives, parts):
    (fetch, need), free = _room(parts, archives), shutil.disk_usage(dest).free
    print(f"to fetch: {_gigabytes(fetch)}; needed on disk while unpacking: about {_gigabytes(need)}; "
          f"free: {_gigabytes(free)}", flush=True)
    if need > free:
        raise OSError(f"{dest} has {_gigabytes(free)} free, and about {_gigabytes(need)} are needed; "
                      "free some, give another disk, or fetch less with --only")


def _gigabytes(count):
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def _fetch(file, archives):
    def resume(url, output_file, _):
        _download_on(url, archives / f"{file['name']}.part", file)
        (archives / f"{file['name']}.part").replace(output_file)

    pooch.get_logger().setLevel("WARNING")
    try:
        return Path(pooch.retrieve(file["url"], file["checksum"], file["name"], archives, downloader=resume))
    except ValueError as error:
        raise ValueError(f"{file['name']} was fetched whole, but its checksum is not the record's "
                         f"{file['checksum']}: it was deleted; run again to fetch it anew") from error


def _download_on(url, part, file):
    """Fetch what is missing of a file; what came stays in `part`."""
    have = part.stat().st_size if part.exists() else 0
    if have > file["size"]:
        part.unlink()
        have = 0
    if have == file["size"]:
        return
    with requests.get(url, stream=True, timeout=60, headers={"Range": f"bytes={have}-"} if have else {}) as answer:
        answer.raise_for_status()
        resumed = answer.status_code == requests.codes.partial_content
        with open(part, "ab" if resumed else "wb") as out, tqdm(
                desc=file["name"], total=file["size"], initial=have if resumed else 0, unit="B", unit_scale=True,
                file=sys.stdout) as bar:
            for chunk in answer.iter_content(CHUNK):
                out.write(chunk)
                bar.update(len(chunk))
    if part.stat().st_size < file["size"]:
        raise OSError(f"the connection broke at {_gigabytes(part.stat().st_size)} of {file['name']}'s "
                      f"{_gigabytes(file['size'])}; run again to go on from there")


def _unpack(paths, name, dest):
    """Unpack an archive of one folder from its parts; the folder appears whole or not at all."""
    part = dest / f".{name}.part"
    shutil.rmtree(part, ignore_errors=True)
    with opened_archive(paths) as content:
        need, free = sum(info.file_size for info in content.infolist()), shutil.disk_usage(dest).free
        if need > free:
            raise OSError(f"unpacking {paths[-1].name} needs {_gigabytes(need)}, and {_gigabytes(free)} are free")
        for info in tqdm(content.infolist(), f"unpacking {name}", unit="file", file=sys.stdout):
            content.extract(info, part)
    inner = part / name
    (inner if inner.is_dir() else part).replace(dest / name)
    shutil.rmtree(part, ignore_errors=True)

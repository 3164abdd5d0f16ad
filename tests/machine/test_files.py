import os
import resource
import socket
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest

from freesound_tagging.machine.commands import a_path, command, printable
from freesound_tagging.machine.files import as_path, check_writable, only_writer, output_file, whole_file


@pytest.mark.parametrize("pid", ["old", "", "12x", "9" * 30, "1.2"])
def test_a_stray_part_of_no_process_stops_nobody(tmp_path, pid):
    stray = tmp_path / f".name.csv.{socket.gethostname()}.{pid}.part"
    stray.touch()
    with whole_file(tmp_path / "name.csv") as part:
        part.write_text("whole")
    assert (tmp_path / "name.csv").read_text() == "whole"


def test_what_a_killed_process_left_is_removed_and_what_another_writes_is_not(tmp_path):
    pid = os.fork() or os._exit(0)
    os.waitpid(pid, 0)
    dead, alive = (tmp_path / f".[a]*.csv.{socket.gethostname()}.{number}.part" for number in (pid, os.getppid()))
    for path in (dead, alive):
        path.touch()
    with whole_file(tmp_path / "[a]*.csv") as part:
        part.write_text("whole")
    assert (tmp_path / "[a]*.csv").exists() and alive.exists() and not dead.exists()


def test_a_folder_of_many_files_is_not_looked_through_for_each(tmp_path, monkeypatch):
    """300 files are there: by hand, it is listed for the 1st one, the 5th, the 9th and so on."""
    for number in range(300):
        (tmp_path / f"{number}.txt").touch()
    listed, listing = [], os.listdir
    monkeypatch.setattr(os, "listdir", lambda folder: listed.append(folder) or listing(folder))
    monkeypatch.setattr(os, "scandir", None)  # by which pathlib looks
    for number in range(21):
        with whole_file(tmp_path / f"{number}.wav") as part:
            part.touch()
    assert listed == [tmp_path] * 6


def test_a_disk_with_no_room_at_all_is_said_with_the_folder(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with pytest.raises(OSError) as caught, only_writer(tmp_path / "store", "building"):
            raise AssertionError("nothing is built")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(tmp_path / "store") in str(caught.value) and "free some and run again" in str(caught.value)
    with only_writer(tmp_path / "store", "building"):
        assert (tmp_path / "store/.holder").read_text().startswith("process ")


def test_names_of_any_length_that_the_system_has(tmp_path):
    name, longer = "a" * 251 + ".csv", "a" * 252 + ".csv"
    check_writable(tmp_path / name)
    with whole_file(tmp_path / name) as part:
        part.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with pytest.raises(OSError, match=r"a\.csv cannot be written \(File name too long\); give another name"):
        check_writable(tmp_path / longer)


@pytest.mark.skipif(not os.path.exists("/dev/stdout"), reason="there is no /dev/stdout")
@pytest.mark.parametrize("name", ["/dev/stdout", "out.txt"])
def test_what_is_written_to_a_redirected_output_stands_between_what_is_printed(tmp_path, name):
    code = f"""
from freesound_tagging.machine.files import output_file
print("before")
with output_file({name!r}) as part:
    part.write_text("written\\n")
print("after")
"""
    with open(tmp_path / "out.txt", "w") as out:
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, stdout=out, check=True)
    assert (tmp_path / "out.txt").read_text() == "before\nwritten\nafter\n"


def test_a_link_into_a_folder_that_cannot_be_made_is_found_before_the_work(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "link.csv").symlink_to(tmp_path / "file/t.csv")
    with pytest.raises(OSError, match=r"link\.csv cannot be written"):
        check_writable(tmp_path / "link.csv")


def test_a_commands_warnings_and_errors_are_a_line_each_and_libraries_warnings_none(capsys):
    @command
    def main(arguments):
        for _ in range(2):
            warnings.warn_explicit("a clip is missing", UserWarning, "x.py", 1, "freesound_tagging.x", registry)
        warnings.warn("a library is old", stacklevel=1)
        raise ValueError(f"{arguments}: expected\nless")
    registry = {}
    assert main("much") == 1
    assert capsys.readouterr().err == "a clip is missing\nmuch: expected less\n"


def test_threads_that_write_one_file_have_a_part_each(tmp_path):
    wrong, contents = [], ["a" * 50_000, "b" * 50_000]

    def write(content):
        for _ in range(100):
            try:
                with whole_file(tmp_path / "t.csv") as part:
                    part.write_text(content)
                if (tmp_path / "t.csv").read_text() not in contents:
                    wrong.append("torn")
            except OSError as error:
                wrong.append(error)
    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"], "no part is left"


def test_a_tilde_is_the_home_folder_where_no_shell_has_seen_it(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert as_path("~/run") == a_path("~/run") == tmp_path / "home/run"
    assert as_path("a/~") == Path("a/~") and as_path("~nobody of this name/a") == Path("~nobody of this name/a")
    check_writable("~/t.csv")
    for write, name in ((whole_file, "t.csv"), (output_file, "u.csv")):
        with write(f"~/{name}") as part:
            part.write_text("whole")
    assert sorted(path.name for path in (tmp_path / "home").iterdir()) == ["t.csv", "u.csv"]
    assert [path.name for path in tmp_path.iterdir()] == ["home"], "no folder is named ~"


def test_what_a_terminal_would_obey_is_printed_with_escapes(capsys):
    assert printable("\x1b[31mB\xe4r\n\x9b2J\x7f") == "\\x1b[31mB\xe4r\\n\\x9b2J\\x7f"
    assert printable("\u72ac, caf\xe9") == "\u72ac, caf\xe9"

    @command
    def main(_):
        warnings.warn_explicit("\x1b[2J is no clip", UserWarning, "x.py", 1, "freesound_tagging.x", {})
        raise ValueError("\x1b[2J is no label")
    assert main(None) == 1
    assert capsys.readouterr().err == "\\x1b[2J is no clip\n\\x1b[2J is no label\n"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how much memory a process has had")
def test_a_process_that_a_large_one_started_says_what_it_has_had_itself():
    """200 MB at first, and as much again."""
    code = ("import sys; from freesound_tagging.machine.processes import peak_memory; before = peak_memory(); "
            "grown = bytearray(200_000_000); print(before, peak_memory())")
    large = bytearray(400_000_000)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert before < 200_000_000 < len(large), "nothing of its parent's"
    assert 190_000_000 < after - before < 250_000_000

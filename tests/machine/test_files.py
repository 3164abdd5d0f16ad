import os
import socket
import warnings

import pytest

from freesound_tagging.machine.commands import command
from freesound_tagging.machine.files import check_writable, whole_file


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


def test_names_of_any_length_that_the_system_has(tmp_path):
    name, longer = "a" * 251 + ".csv", "a" * 252 + ".csv"
    check_writable(tmp_path / name)
    with whole_file(tmp_path / name) as part:
        part.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with pytest.raises(OSError, match=r"a\.csv cannot be written \(File name too long\); give another name"):
        check_writable(tmp_path / longer)


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

import os
import socket
import warnings

import pytest

from freesound_tagging.machine.commands import command
from freesound_tagging.machine.files import whole_file


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

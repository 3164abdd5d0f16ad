import os
import socket

import pytest

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

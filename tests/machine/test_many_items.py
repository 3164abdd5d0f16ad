"""What is done to many items: in this process as long as others would not be done sooner, and in order."""

import os
import time

import pytest

from freesound_tagging.machine import processes
from freesound_tagging.machine.processes import in_order


def where(seconds):
    """Which process has taken so long."""
    time.sleep(seconds)
    return os.getpid()


@pytest.mark.parametrize(("seconds", "n_jobs"), [
    ([0.01] * 40, 2),  # 0.2 s could be saved by two processes, which take 2 s to start
    ([0.3] * 6, 2),  # known after 0.6 s: 0.45 s
    ([0.6, *[0.001] * 40], 2),  # the first one waited for an import
    ([0.15] * 5, 1),
])
def test_what_is_done_soon_is_done_here(monkeypatch, seconds, n_jobs):
    if n_jobs == 1:
        monkeypatch.setattr(processes, "SECONDS_TO_START", 0)
    found = list(in_order(where, [(length,) for length in seconds], n_jobs))
    assert found == [os.getpid()] * len(seconds)


def test_what_takes_longer_goes_on_in_other_processes(monkeypatch):
    """0.45 s to be saved after 0.6 s, where processes are said to start in 0.4 s."""
    monkeypatch.setattr(processes, "SECONDS_TO_START", 0.4)
    found = list(in_order(where, [(0.3,)] * 6, 2))
    assert found[:3] == [os.getpid()] * 3
    assert os.getpid() not in found[3:] and len(found) == 6
    assert len(set(found[3:])) == 2, "few are divided among all"


def test_many_items_go_there_at_once():
    found = list(in_order(where, [(0,)] * 500, 2))
    assert os.getpid() not in found and len(found) == 500
    assert set(in_order(where, [(0,)] * 500, 1)) == {os.getpid()}


def test_results_are_in_order_and_nobody_asks_for_more_than_is_there(many_processes):
    assert list(in_order(divmod, [(number, 7) for number in range(30)], 2)) == [
        divmod(number, 7) for number in range(30)]
    assert list(in_order(divmod, [], 2)) == []
    assert list(in_order(divmod, [(9, 7)], 2)) == [(1, 2)]

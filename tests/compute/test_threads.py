"""Threads that share parts: all parts are done, or all threads have stopped."""

from __future__ import annotations

import _thread
import gc
import threading
import time

import pytest

from napari_lucyd.compute.threads import ThreadTeam


def members() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "lucyd-team"]


def test_every_part_is_done_once_and_by_several_threads():
    done, workers = [], set()

    def part(number):
        done.append(number)
        workers.add(threading.get_ident())
        time.sleep(0.01)

    team = ThreadTeam(3)
    team.run(part, [(number,) for number in range(20)])
    assert sorted(done) == list(range(20)) and 1 < len(workers) <= 3
    team.run(part, [])
    team.run(part, [(20,)])
    assert done[-1] == 20


def test_what_a_part_raises_is_raised():
    def part(number):
        if number == 2:
            raise OSError("no such part")

    team = ThreadTeam(2)
    with pytest.raises(OSError, match="no such part"):
        team.run(part, [(number,) for number in range(5)])
    team.run(part, [(1,)])


def test_an_interrupted_run_waits_for_what_is_at_work_and_leaves_out_the_rest(ctrl_c):
    begun, ended = [], []

    def part(number):
        begun.append(number)
        if number == 0:
            _thread.interrupt_main()
        time.sleep(0.2 if number == 1 else 0.05)
        ended.append(number)

    with pytest.raises(KeyboardInterrupt):
        ThreadTeam(2).run(part, [(number,) for number in range(50)])
    assert sorted(begun) == sorted(ended) and 1 in ended and len(begun) < 50
    time.sleep(0.1)
    assert sorted(begun) == sorted(ended)


def test_threads_end_with_their_team():
    before = len(members())
    team = ThreadTeam(2)
    assert len(members()) == before + 2
    held = object()
    team.run(lambda thing: None, [(held,)])
    del team
    gc.collect()
    deadline = time.monotonic() + 10
    while len(members()) > before:
        assert time.monotonic() < deadline
        time.sleep(0.01)

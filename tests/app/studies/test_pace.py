"""How long a study still takes, from what its runs have taken."""

import pytest

from dregcli.app.studies.pace import Pace


class _Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


def test_nothing_is_known_before_the_first_progress(clock) -> None:
    pace = Pace(["a", "b"], clock=clock)
    assert (pace.seconds_left(), pace.runs_left) == (None, 2)
    pace.begin("a")
    clock.now += 5
    assert (pace.seconds_left(), pace.runs_left) == (None, 2)


def test_the_present_run_tells_of_itself_and_of_all_after_it(clock) -> None:
    pace = Pace(["a", "b", "a"], clock=clock)
    present = pace.begin("a")
    clock.now += 10
    present.advance(0.25, first=0.0)
    assert pace.seconds_left() == 30 + 2 * 40


def test_finished_runs_tell_of_their_own_kind_and_on_average_of_others(clock) -> None:
    pace = Pace(["slow", "fast", "slow", "fast", "new"], clock=clock)
    for kind, seconds in (("slow", 90), ("fast", 10)):
        present = pace.begin(kind)
        clock.now += seconds
        present.advance(1.0, first=0.0)
        pace.end(present, trained=True)
    assert pace.runs_left == 3
    assert pace.seconds_left() == 90 + 10 + 50
    # Before its own progress, a run is as those of its kind were; and then as it is.
    present = pace.begin("slow")
    clock.now += 30
    assert pace.seconds_left() == 60 + 10 + 50
    present.advance(0.1, first=0.0)
    assert pace.seconds_left() == 270 + 10 + 50
    pace.end(present, trained=True)
    # It has taken 30 seconds in the end, and the mean of its kind is 60.
    assert pace.seconds_left() == 10 + (60 + 10) / 2


def test_what_was_taken_by_others_or_continued_tells_nothing_of_a_whole_run(clock) -> None:
    pace = Pace(["a", "a", "a"], clock=clock)
    present = pace.begin("a")
    pace.end(present, trained=False)
    assert (pace.seconds_left(), pace.runs_left) == (None, 2)
    present = pace.begin("a")
    clock.now += 10
    present.advance(0.75, first=0.5)  # a quarter of the steps in 10 seconds
    assert pace.seconds_left() == 10 + 40
    pace.end(present, trained=True)
    assert (pace.seconds_left(), pace.runs_left) == (None, 1)


def test_a_run_that_is_begun_again_is_not_counted_twice(clock) -> None:
    pace = Pace(["a"], clock=clock)
    for _ in range(2):
        present = pace.begin("a")
        assert pace.runs_left == 1
        pace.end(present, trained=False)
        assert pace.runs_left == 0


def test_of_several_at_once_each_that_waits_begins_where_the_first_of_the_others_ends(clock) -> None:
    pace = Pace(["a", "a", "a", "b"], at_once=2, clock=clock)
    first, second = pace.begin("a"), pace.begin("a")
    clock.now += 10
    first.advance(0.25, first=0.0)  # 40 seconds in all
    assert pace.seconds_left() == 30 + 40, "30 and 30; then a and b of 40 each"
    pace.end(second, trained=True)
    assert pace.runs_left == 3
    # Its kind takes 10 seconds: the two that wait go through the free place, before the first one ends.
    assert pace.seconds_left() == 30
    assert Pace(["a"], at_once=0, clock=clock).seconds_left() is None


def test_what_comes_before_the_steps_happens_once(clock) -> None:
    pace = Pace(["a", "a"], clock=clock)
    present = pace.begin("a")
    clock.now += 7
    present.take_steps()
    clock.now += 10
    present.advance(0.25, first=0.0)
    assert pace.seconds_left() == 30 + 47

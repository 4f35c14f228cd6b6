"""Seeds as they are typed."""

import pytest

from dregcli.specs.number_lists import MOST_SEEDS, parse_seeds


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("0-4", (0, 1, 2, 3, 4)),
        ("3", (3,)),
        ("0,2,5-7", (0, 2, 5, 6, 7)),
        ("5-7, 0", (5, 6, 7, 0)),
        ("4-4", (4,)),
        ("007", (7,)),
        (f"{2**63 - 1}", (2**63 - 1,)),
        (f"0-{MOST_SEEDS - 1}", tuple(range(MOST_SEEDS))),
    ],
)
def test_seeds_and_ranges(text: str, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(text) == (seeds, [])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "got ''"),
        ("a,0,-1,2-", "got 'a', '-1', '2-'"),
        ("1.5", "got '1.5'"),
        ("٣", "got '٣'"),
        ("0-4-5", "got '0-4-5'"),
        (f"{2**63}", f"got '{2**63}'"),
        (f"0-{2**63}", f"got '0-{2**63}'"),
        ("9" * 5000, "whole numbers from 0"),
        ("4-0", "'4-0' ends before it begins: write 0-4."),
        ("0-4,2", "2 is given twice."),
        ("0-9,0-9", "0, 1, 2, 3, 4 and 5 more are given twice."),
        (f"0-{MOST_SEEDS}", f"at most {MOST_SEEDS:,} seeds at once, got {MOST_SEEDS + 1:,}."),
        (f"0-{2**63 - 1}", "at most"),
    ],
)
def test_what_is_no_list_of_seeds(text: str, told: str) -> None:
    seeds, (fault,) = parse_seeds(text)
    assert seeds == ()
    assert fault.field == "seeds"
    assert told in fault.message


def test_all_faults_of_a_list_at_once() -> None:
    _, faults = parse_seeds("x,4-0,2,2")
    assert len(faults) == 3

"""Groups of runs over their seeds."""

from typing import Any

import pytest

from dregcli.names import RunStatus, Split
from dregcli.report.groups import RunRow, group_rows


def row(summary: Any, seed: int = 0) -> RunRow:
    return RunRow("runs/a/v001", "a", "v001", "same", {"seed": seed}, RunStatus.COMPLETED, summary, [])


@pytest.mark.parametrize(
    "bound", [[-90.0], "high", -90.0, None, {}, {"test": [1]}, {"test": True}, {"test": "-90"}, {"test": None}]
)
def test_a_summary_that_dreg_did_not_write_has_no_bound(bound: object) -> None:
    assert row({"bound": bound, "bound_before": bound}).bound(Split.TEST) is None
    (group,) = group_rows([row({"bound": bound, "bound_before": bound})])
    assert group.bound(Split.TEST) is group.before(Split.TEST) is group.gain(Split.TEST) is None


def test_a_bound_over_seeds() -> None:
    (group,) = group_rows([row({"bound": {"test": value}}, seed) for seed, value in enumerate((-90.0, -92.0))])
    found = group.bound(Split.TEST)
    assert found is not None
    assert (found.mean, found.stderr, found.n) == (-91.0, pytest.approx(1.0), 2)

"""``dreg train --noise antithetic`` and what other commands do with such a run."""

import pytest

from dregcli.specs.run import experiment_of, group_hash
from tests.support.cli import SMALL, run
from tests.support.data_few import few_digits


@pytest.fixture(autouse=True)
def _few_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    few_digits(monkeypatch)


def test_a_run_with_antithetic_samples(capsys, ready) -> None:
    made = ready(*SMALL, "--noise", "antithetic", name="pairs")
    spec = made.spec()
    assert spec["noise"] == "antithetic"
    independent = {name: value for name, value in spec.items() if name != "noise"}
    assert experiment_of(independent)["noise"] == "iid"
    assert group_hash({**spec, "noise": "iid"}) == group_hash(independent) != group_hash(spec)
    assert run(capsys, "eval", "pairs", "--k", 4).code == 0
    for command in ("bias-check", "variance"):
        refused = run(capsys, command, "pairs", "--k", 4)
        assert refused.code == 2
        assert "--noise antithetic, but this command draws independent samples" in refused.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--estimator", "vimco"), "'vimco' needs independent samples. 'iwae' takes reparam, dreg"),
        (("--k", 5), "give an even number, such as --k 6"),
        (("--posterior", "full"), "whose posterior is one diagonal Gaussian. Use --noise iid"),
        (("--track-estimators", "stl"), "'stl' is biased for 'iwae' with any noise"),
    ],
)
def test_what_cannot_be_is_refused_before_work(capsys, tmp_path, words: tuple[object, ...], message: str) -> None:
    refused = run(capsys, "train", *SMALL, "--noise", "antithetic", *words)
    assert refused.code == 2
    assert message in refused.err
    assert not list(tmp_path.glob("**/v001"))

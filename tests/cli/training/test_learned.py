"""What an estimator learns, from ``dreg train`` to the commands that use it."""

import signal

import numpy as np
import pytest

from dregcli.app.loading.restore import trained_pair
from dregcli.engine.checksum import tensors_sha256
from dregcli.engine.pairs import resolve_pair
from dregcli.engine.training import Trainer
from dregcli.errors import StoreFormatError
from dregcli.store.checkpoints import Checkpoint
from dregcli.store.run import Run
from dregcli.store.runs import RunStore
from tests.support.cli import SMALL, run, usual
from tests.support.data_few import few_digits

SCALARS = ("alpha", "beta", "gamma", "delta")
LEARNING = (*SMALL, *usual("--estimator", "dreg-cv", "--checkpoint-every", 4), "--eval-every", 10)


@pytest.fixture(autouse=True)
def _few_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    few_digits(monkeypatch)


def _only(tmp_path, reference: str) -> Run:
    (found,) = RunStore(tmp_path / "runs").resolve(reference)
    return found


def test_the_scalars_are_logged_kept_and_told(capsys, tmp_path) -> None:
    outcome = run(capsys, "train", *LEARNING, "--name", "x", "--json")
    assert outcome.code == 0, outcome.err
    learned = outcome.json["learned"]
    assert tuple(learned) == SCALARS
    found = _only(tmp_path, "x")
    rows = found.metrics("train")
    checkpoint = found.load_checkpoint("last")
    for name, value in learned.items():
        assert value != 0.0
        assert len(set(rows[f"dreg-cv.{name}"])) == 4, "it moves between rows"
        assert rows[f"dreg-cv.{name}"][-1] == value
        assert checkpoint.optimizer[f"estimator/{name}/value"].item() == value
    assert found.info().summary["learned"] == learned
    pair = trained_pair(found, checkpoint)
    assert vars(pair.estimator) == learned
    earlier = trained_pair(found, found.load_checkpoint(16))
    assert vars(earlier.estimator) != learned
    text = run(capsys, "train", *LEARNING).out
    assert f"learned by dreg-cv: alpha {learned['alpha']:.4g}, beta" in text


def test_other_estimators_learn_nothing(capsys, tmp_path) -> None:
    outcome = run(capsys, "train", *SMALL, "--name", "x", "--json")
    assert "learned" not in outcome.json
    found = _only(tmp_path, "x")
    assert not any("." in column for column in found.metrics("train"))
    assert trained_pair(found, found.load_checkpoint("last")) == resolve_pair("iwae", "dreg", 4)


def test_resume_continues_them_bit_for_bit(capsys, ready, monkeypatch, tmp_path) -> None:
    """Cut at step 13, inside a window of 5 steps, and gone on."""
    ready(*LEARNING, name="whole")
    advance = Trainer.advance

    def stops(trainer: Trainer) -> None:
        advance(trainer)
        if trainer.step == 13:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "advance", stops)
        assert run(capsys, "train", *LEARNING, "--name", "cut").code == 130
    assert run(capsys, "train", "--resume", "cut").code == 0
    whole, cut = _only(tmp_path, "whole"), _only(tmp_path, "cut")
    a, b = whole.load_checkpoint("last"), cut.load_checkpoint("last")
    assert tensors_sha256({**a.model, **a.optimizer}) == tensors_sha256({**b.model, **b.optimizer})
    assert whole.info().summary["learned"] == cut.info().summary["learned"]
    for name in SCALARS:
        column = f"dreg-cv.{name}"
        assert np.array_equal(whole.metrics("train")[column], cut.metrics("train")[column])


def test_a_checkpoint_without_them_is_a_clear_error(capsys, ready, tmp_path) -> None:
    found = ready(*LEARNING, name="x")
    kept = found.load_checkpoint("last")
    others = {name: tensor for name, tensor in kept.optimizer.items() if "estimator/" not in name}
    with pytest.raises(StoreFormatError, match="lacks 'estimator/alpha/value'"):
        trained_pair(found, Checkpoint(kept.step, kept.model, others, kept.state))


def test_an_objective_s_fit_is_logged_kept_and_used_by_diagnoses(capsys, tmp_path) -> None:
    moments = ("--objective", "tvo:partitions=3,schedule=moments")
    outcome = run(capsys, "train", *SMALL, *moments, "--name", "x", "--json")
    assert outcome.code == 0, outcome.err
    fitted = outcome.json["fitted"]
    assert list(fitted) == ["b1", "b2"]
    found = _only(tmp_path, "x")
    assert {name: found.metrics("train")[f"tvo.{name}"][-1] for name in fitted} == fitted
    assert found.spec()["objective"] == "tvo:partitions=3,beta=0.02,rule=left,schedule=moments"
    pair = trained_pair(found, found.load_checkpoint("last"))
    assert pair.objective.fitted_values == fitted
    values = ", ".join(f"{name} {value:.4g}" for name, value in fitted.items())
    few = ("--examples", 4, "--max-batches", 100)
    own = run(capsys, "bias-check", "x", *few)
    assert f"tvo:partitions=3,schedule=moments, as in its training: {values}" in own.err
    other = run(capsys, "bias-check", "x", *few, "--objective", "tvo:partitions=4,schedule=moments")
    assert "tvo:partitions=4,schedule=moments, fitted to the frozen model at K=4: b1 0." in other.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("train", *SMALL, "--objective", "tvo:schedule=moments,beta=0.3"),
            "beta has no effect with schedule=moments",
        ),
        (
            ("train", *SMALL, "--track-estimators", "tvo:schedule=moments/dreg"),
            "is not the run's objective: the poin",
        ),
        (("variance", "--toy", "--objective", "tvo:schedule=moments"), "use schedule=log or schedule=linear here"),
    ],
)
def test_a_fit_without_its_training_is_refused(capsys, words: tuple[str, ...], said: str) -> None:
    outcome = run(capsys, *words)
    assert outcome.code == 2
    assert said in outcome.err

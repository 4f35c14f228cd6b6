"""``dreg advise`` as a user sees it: one screen, a command that works, and what is refused."""

import shlex

import pytest

from dregcli.app.diagnosis import advise, new_model
from dregcli.cli.main import main
from dregcli.store.run import Run
from dregcli.store.runs import RunStore
from tests.support.cli import SMALL, Outcome, run

QUICK = ("--replicates", 20, "--budget", 0.1)
WORDS = ("--estimator", "reparam,dreg,stl,vimco")


@pytest.fixture
def trained(ready) -> Run:
    return ready(*SMALL, "--eval-every", 0, name="t")


@pytest.fixture(autouse=True)
def _few_lessons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dregcli.engine.diagnostics.learn.STEPS", 3)


def _advise(capsys, *arguments: object) -> Outcome:
    return run(capsys, "advise", *arguments)


def _next(said: Outcome) -> list[str]:
    last = said.out.rstrip().splitlines()[-1]
    assert last.startswith("next: dreg ")
    return shlex.split(last)[2:]


def test_one_screen_that_ends_with_a_command_that_works(capsys, monkeypatch, trained: Run) -> None:
    monkeypatch.setattr(advise._Session, "_left", lambda _: 1e3)  # other objectives whatever this machine does beside
    said = _advise(capsys, "t/v001", *QUICK, *WORDS)
    assert said.code == 0, said.err
    lines = said.out.rstrip().splitlines()
    assert len(lines) <= 24
    assert all(len(line) <= 100 for line in lines[:-1])
    text = " ".join(said.out.split())
    for part in (
        "use iwae/",
        "K=4",
        "SNR² a second",
        "of 4 (",
        "nats from the posterior",
        "Other objectives",
        "rws/",
    ):
        assert part in text, part
    assert not any("iwae/stl" in line for line in lines if line.startswith("use "))
    words = _next(said)
    assert words[0] == "train"
    assert main([*words, *(("--dry-run",) if "--config" in words else ("--quiet",))]) == 0
    assert not trained.results("variance"), "an advice keeps nothing"


def test_json_has_every_pair_with_its_errors_and_repeats(capsys, trained: Run) -> None:
    arguments = ("t/v001", *QUICK, *WORDS, "--json")
    first, second = (_advise(capsys, *arguments) for _ in range(2))
    assert first.code == 0, first.err
    found = first.json
    assert {"objective", "estimator", "k", "next", "biased"} <= set(found["advice"])
    pairs = {each["estimator"]: each for each in found["pairs"]}
    assert set(pairs) == {"reparam", "dreg", "stl", "vimco"}
    assert {name for name, each in pairs.items() if each["biased"]} == {"stl"}
    assert pairs["stl"]["follows"] == "iwae + rws"
    assert [each["k"] for each in found["other_k"]] == [1, 16]
    assert found["other_k"][1]["gain"]["value"] > 0.0 > found["other_k"][0]["gain"]["value"]
    assert found["other_objectives"] == [], "the budget is too small for them"
    for each in pairs.values():
        assert each["variance"]["value"] > 0.0
        assert each["milliseconds"]["value"] > 0.0
    # Everything but the times is the same again.
    again = {each["estimator"]: each for each in second.json["pairs"]}
    assert all(each["variance"] == again[name]["variance"] for name, each in pairs.items())
    assert found["bounds"] == second.json["bounds"]


def test_a_biased_pair_alone_is_advised_with_its_bias(capsys, trained: Run) -> None:
    said = _advise(capsys, trained.path, *QUICK, "--estimator", "stl")
    text = " ".join(said.out.split())
    assert "use iwae/stl, although it is biased by" in text
    assert "(it follows iwae + rws)" in text


def test_a_model_is_trained_first_where_no_run_is_named(capsys, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(new_model, "TRAINING_STEPS", 3)
    said = _advise(capsys, "--k", 1, *QUICK, "--estimator", "dreg,reparam")
    assert said.code == 0, said.err
    assert [each.name for each in RunStore(tmp_path / "runs").runs()] == ["bias-check-digits-iwae-dreg-k1"]
    words = _next(said)
    assert words[:3] == ["train", "--dataset", "digits"]
    assert "--resume" not in words


def test_discrete_latents_get_a_pair_without_a_path(capsys, ready) -> None:
    ready("--model", "sbn", "--k", 4, "--steps", 5, "--latent-dim", "6,4", "--estimator", "vimco", name="bits")
    said = _advise(capsys, "bits", *QUICK, "--json")
    assert said.code == 0, said.err
    assert {each["estimator"] for each in said.json["pairs"]}.isdisjoint({"reparam", "dreg", "stl"})
    assert said.json["advice"]["estimator"] not in ("reinforce",)


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (("--budget", 0), "budget: must be a number of seconds above 0"),
        (("--replicates", 19), "replicates: must be at least 20"),
        (("--k", 0), "k: must be at least 1"),
        (("--dataset", "digits"), "dataset: comes from the run"),
        (("--estimator", "dreg,rws/dreg"), "advice is about one"),
        (("--estimator", "nothing"), "nothing"),
        (("--checkpoint", "7"), "7"),
    ],
)
def test_refusals(capsys, trained: Run, arguments: tuple[object, ...], fault: str) -> None:
    said = _advise(capsys, trained.path, *arguments)
    assert said.code >= 2
    assert fault in said.err
    assert "Traceback" not in said.err


def test_a_stop_keeps_nothing_and_says_so(capsys, monkeypatch, trained: Run) -> None:
    import signal

    from dregcli.engine.diagnostics.step_study import StepStudy

    advance = StepStudy.advance

    def stopped(study: StepStudy) -> None:
        advance(study)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(StepStudy, "advance", stopped)
    said = _advise(capsys, trained.path, *QUICK, "--estimator", "dreg")
    assert said.code == 130
    assert "nothing is kept" in said.err

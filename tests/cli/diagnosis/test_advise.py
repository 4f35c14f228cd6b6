"""``dreg advise`` as a user sees it: one screen, a command that works, and what is refused."""

import math
import shlex
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dregcli.app.diagnosis import advise, advise_bounds, new_model, subject
from dregcli.app.diagnosis.advice import AtK
from dregcli.app.diagnosis.advice_measured import Bounds, Candidate, Estimate, Ratio
from dregcli.app.diagnosis.advice_next import next_command
from dregcli.app.diagnosis.subject import find_subject
from dregcli.app.loading.stored import spec_of
from dregcli.app.training.finetune import options_beyond
from dregcli.cli.main import main
from dregcli.engine.diagnostics.replicates import Drawn
from dregcli.engine.diagnostics.step_replicates import StepReplicates
from dregcli.engine.words import parse_objective
from dregcli.names import Network, RunStatus
from dregcli.store.run import Run
from dregcli.store.runs import RunStore
from tests.support.cli import SMALL, Outcome, run
from tests.support.listener import Recorder
from tests.support.own_models import write_model

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


def test_json_has_every_pair_with_its_errors_and_repeats(capsys, monkeypatch, trained: Run) -> None:
    arguments = ("t/v001", *QUICK, *WORDS, "--json")
    first = _advise(capsys, *arguments)
    # On a faster machine, where the budget would allow more examples and other objectives, too.
    monkeypatch.setattr(advise._Session, "_seconds", lambda *_: 1e-9)
    monkeypatch.setattr(advise._Session, "_others", lambda _: [])
    second = _advise(capsys, *arguments)
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
    said = _advise(capsys, "--k", 1, *QUICK, "--estimator", "dreg,reparam,stl")
    assert said.code == 0, said.err
    # Here stl is dreg, and unbiased; with more samples it is not, and they may be the next advice.
    assert "use iwae/stl" not in said.out
    assert [each.name for each in RunStore(tmp_path / "runs").runs()] == ["bias-check-digits-iwae-dreg-k1"]
    words = _next(said)
    assert words[:3] == ["train", "--dataset", "digits"]
    assert "--resume" not in words


def test_discrete_latents_get_a_pair_without_a_path(capsys, ready) -> None:
    own = "vimco:baseline=geometric"
    ready("--model", "sbn", "--k", 4, "--steps", 5, "--latent-dim", "6,4", "--estimator", own, name="bits")
    said = _advise(capsys, "bits", *QUICK, "--json")
    assert said.code == 0, said.err
    assert {"vimco", own} <= {each["estimator"] for each in said.json["pairs"]}, "the run's own pair is compared"
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


def test_bounds_are_those_of_the_objective(monkeypatch, trained: Run) -> None:
    request = advise.AdviseRequest(run="t/v001")
    of = find_subject(request, None, runs_dir=trained.root, data_dir=Path("none"), argv=[], listener=Recorder())
    monkeypatch.setattr(advise_bounds, "earlier_model", lambda _: (of.checkpoint // 2, of.model))

    def measured(word: str) -> Bounds:
        quick: dict[str, Any] = {"rows": 1, "k_chunk": None, "seed": 0, "between": lambda _: None}
        return advise_bounds.measure_bounds(of, parse_objective(word), (1, 4, 12), **quick)

    iwae, elbo, half, jvi = map(measured, ("iwae", "elbo", "ciwae:beta=.5", "jvi"))
    for k in (1, 4, 12):
        assert iwae.values[k] == pytest.approx(iwae.by_k[k], rel=1e-12)
        if 64 % k == 0:  # whole groups of all draws, as the ELBO has them
            mixed = [0.5 * (a + b) for a, b in zip(iwae.by_k[k], iwae.elbo, strict=True)]
            assert half.values[k] == pytest.approx(mixed, rel=1e-12)
        assert elbo.by_k[k] == iwae.by_k[k]
    assert sum(iwae.gains(4, 12)) > 0.0
    assert elbo.gains(4, 12) == [0.0] * len(elbo.elbo)
    assert (iwae.tightens, elbo.tightens, half.tightens, jvi.tightens) == (True, True, True, False)
    assert jvi.gains(4, 12) == pytest.approx(iwae.gains(4, 12)), "the IWAE bound stands in its place"
    assert set(measured("miwae:groups=4").values) == {4, 12}, "four groups need four samples"
    # The same model at both steps: nothing has risen, by any objective.
    for each in (iwae, elbo, half):
        assert each.rises == pytest.approx([0.0] * len(elbo.elbo), abs=1e-6)


def test_an_estimator_learns_again_for_another_k(capsys, monkeypatch, ready) -> None:
    """What the run learned at K = 4 is what it has at K = 4; a run with 16 samples would learn something else."""
    made = ready(*SMALL, "--eval-every", 0, "--estimator", "dreg-cv", name="cv")
    taught: list[int] = []
    learn = advise.learn_on_frozen

    def noted(*given: Any, k: int, **more: Any) -> Any:
        taught.append(k)
        return learn(*given, k=k, **more)

    monkeypatch.setattr(advise, "learn_on_frozen", noted)
    monkeypatch.setattr(subject, "learn_on_frozen", noted)
    said = _advise(capsys, made.path, *QUICK, "--estimator", "dreg-cv")
    assert said.code == 0, said.err
    assert taught == [16]


# The next command


def _command(
    run: Any,
    spec: Any,
    estimator: str = "dreg",
    *,
    objective: str = "iwae",
    k: int | None = None,
    cost: float = 1.0,
    name: str | None = "t",
) -> list[str]:
    """The words after ``dreg`` for a use of this pair and a move to K, whose steps take ``cost`` times as long."""
    subject = SimpleNamespace(run=run, spec=spec)
    code = SimpleNamespace(model=None, trust=False)
    request = SimpleNamespace(run=name, code=code, device="auto", capture=None)
    use = cast("Candidate", SimpleNamespace(objective=objective, estimator=estimator, k=spec.k))
    ratio, none = Ratio(math.log(cost), 0.0), Estimate(0.0, 0.0)
    moved = None if k is None else AtK(k, none, none, ratio, {}, ratio, none, pays=True)
    return shlex.split(next_command(cast("Any", subject), cast("Any", request), use, moved))[1:]


def _accepted(words: list[str]) -> bool:
    return main([*words, "--dry-run", "--quiet"]) == 0


def test_next_says_only_what_changes_and_is_accepted(trained: Run) -> None:
    spec, config = spec_of(trained), ["train", "--config", f"{trained.path}/spec.json"]
    assert _command(trained, spec) == ["train", "--resume", str(trained.path), "--steps", "40"]
    assert _command(trained, spec, "stl") == [*config, "--estimator", "stl"]
    assert _command(trained, spec, k=16, cost=3.0) == [*config, "--k", "16"]
    # Fewer samples pay by the steps for which they make room.
    lower = _command(trained, spec, k=1, cost=0.6)
    assert lower == [*config, "--k", "1", "--steps", "33"]
    assert _accepted(lower)
    assert _command(trained, spec, k=1, cost=1.1) == [*config, "--k", "1"]
    assert _command(trained, spec, k=1, cost=0.5, name=None)[-2:] == ["--steps", "4000"]
    # A run whose numbers depend on its length cannot get longer: resuming refuses it.
    for changes, words in (
        ({"lr_schedule": "cosine"}, ["--steps", "40"]),
        ({"patience": 3}, ["--steps", "40"]),
        ({"lr_schedule": "burda:stages=1"}, ["--steps", "40", "--lr-schedule", "cosine:end=0.1"]),
    ):
        assert _command(trained, spec.model_copy(update=changes)) == [*config, *words]


def test_next_of_a_run_that_stopped_early_waits_longer(trained: Run) -> None:
    """With more steps alone it would stop at the same step again."""
    info = SimpleNamespace(failures=(), summary={"stopped_early": True})
    stopped = SimpleNamespace(path=trained.path, status=lambda: RunStatus.COMPLETED, info=lambda: info)
    words = _command(stopped, spec_of(trained).model_copy(update={"patience": 3}))
    assert words[-4:] == ["--steps", "40", "--patience", "6"]


@pytest.mark.parametrize(
    ("status", "failures", "words"),
    [
        (RunStatus.RUNNING, (), ["report", "RUN", "--watch"]),
        (RunStatus.INTERRUPTED, (), ["train", "--resume", "RUN"]),
        (RunStatus.FAILED, ({"kind": "OutOfMemory"},), ["train", "--resume", "RUN"]),
        (RunStatus.FAILED, ({"kind": "Diverged"},), ["train", "--config", "RUN/spec.json", "--lr", "0.0005"]),
    ],
)
def test_next_of_a_run_that_is_not_completed(
    trained: Run, status: RunStatus, failures: tuple[dict[str, str], ...], words: list[str]
) -> None:
    info = SimpleNamespace(failures=failures, summary={})
    unfinished = SimpleNamespace(path=trained.path, status=lambda: status, info=lambda: info)
    assert _command(unfinished, spec_of(trained)) == [each.replace("RUN", str(trained.path)) for each in words]


def test_next_keeps_the_schedule_of_an_objective(ready) -> None:
    made = ready(*SMALL, "--eval-every", 0, "--objective", "vr-iwae:alpha=.9->0@10", name="annealed")
    spec = spec_of(made)
    assert _command(made, spec, objective="vr-iwae:alpha=0.0")[:2] == ["train", "--resume"]
    other = _command(made, spec, "reparam", objective="vr-iwae:alpha=0.0")
    assert other == ["train", "--config", f"{made.path}/spec.json", "--estimator", "reparam"]
    assert _accepted(other)
    # Steps for fewer samples are longer than the schedule, never shorter.
    assert _accepted(_command(made, spec, objective="vr-iwae:alpha=0.0", k=1, cost=0.5))


def test_next_of_a_run_of_the_encoder_alone_has_all_of_its_settings(capsys, trained: Run) -> None:
    words = ("--lr", 0.002, "--batch-size", 8, "--seed", 3, "--optimizer", "adamax", "--reset-encoder", "--steps", 10)
    first = run(capsys, "finetune-encoder", trained.path, *words, "--eval-every", 0, "--name", "q")
    assert first.code == 0, first.err
    (made,) = RunStore(trained.root).resolve("q/v001")
    said = _advise(capsys, made.path, *QUICK, "--estimator", "stl", "--json")
    assert said.code == 0, said.err
    # Only q is trained, so that the model's gradient has no say.
    assert [set(each["squared_snr_per_second_ratio"]) for each in said.json["other_k"]] == [{"encoder"}] * 2
    assert "and p" not in _advise(capsys, made.path, *QUICK, "--estimator", "stl").out
    spec = spec_of(made)
    again = run(capsys, *_command(made, spec, "stl"), "--name", "again", "--quiet")
    assert again.code == 0, again.err
    (other,) = RunStore(trained.root).resolve("again/v001")
    changed = {name for name, value in spec_of(other).model_dump().items() if value != getattr(spec, name)}
    assert changed - {"eval_every", "parent"} == {"estimator"}
    assert spec_of(other).parent == spec.parent
    assert options_beyond(spec_of(trained), spec)["lr"] == 0.002
    # In the time of 10 steps; the parent has 20.
    assert "15" in _command(made, spec, k=1, cost=10 / 15)


# Models whose gradients are not all there

PRIOR_ALONE = """
import torch
from torch import nn
from torch.distributions import Bernoulli, Independent, Normal

import dregcli
from dregcli import gaussian


class PriorAlone(dregcli.LatentModel):
    def __init__(self, data):
        super().__init__()
        pixels = data.mean.numel()
        self.encoder = nn.Linear(pixels, 4)
        self.place = nn.Parameter(torch.zeros(2))
        self.register_buffer("decoder", torch.randn(2, pixels, generator=torch.Generator().manual_seed(0)))

    def posterior(self, x, draw):
        draw("z", gaussian(self.encoder(x.flatten(1))))

    def model(self, z, given):
        given("z", Independent(Normal(self.place, 1.0), 1))
        return Independent(Bernoulli(logits=z["z"] @ self.decoder), 1)
"""


def test_a_model_whose_only_parameters_are_the_priors(capsys, tmp_path, ready) -> None:
    model = f"{write_model(tmp_path, PRIOR_ALONE, 'alone.py')}:PriorAlone"
    made = ready("--k", 4, "--steps", 3, "--batch-size", 16, "--model", model, "--eval-every", 0, name="alone")
    said = _advise(capsys, made.path, *QUICK, "--estimator", "dreg,reparam", "--json")
    assert said.code == 0, said.err
    assert [set(each["squared_snr_per_second_ratio"]) for each in said.json["other_k"]] == [{"encoder"}] * 2


def test_a_pair_without_a_finite_gradient_that_nobody_asked_for_is_left_out(
    capsys, monkeypatch, trained: Run
) -> None:
    draw = StepReplicates.draw

    def broken(source: StepReplicates, stream: Any, number: int, count: int, pairs: Any, k: int) -> Drawn:
        found = draw(source, stream, number, count, pairs, k)
        encoder = found.gradients[Network.ENCODER].clone()
        for i, pair in enumerate(pairs):
            if number and (pair.objective.name == "elbo" or pair.estimator.name == "vimco" or k == 1):
                encoder[i, 0, 0] = float("nan")
        return replace(found, gradients={**found.gradients, Network.ENCODER: encoder})

    monkeypatch.setattr(StepReplicates, "draw", broken)
    monkeypatch.setattr(advise._Session, "_left", lambda _: 1e3)
    said = _advise(capsys, trained.path, *QUICK, "--json")
    assert said.code == 0, said.err
    names = {each["estimator"] for each in said.json["pairs"]}
    assert "vimco" not in names
    assert {"dreg", "vimco-star"} <= names
    assert "left out: 'iwae/vimco:baseline=arithmetic' has no finite gradient at K=4." in said.err
    assert {"rws", "ciwae"} <= (others := {each["objective"] for each in said.json["other_objectives"]})
    assert "elbo" not in others
    assert [each["k"] for each in said.json["other_k"]] == [16], "nor has K = 1 a finite one"
    named = _advise(capsys, trained.path, *QUICK, "--estimator", "dreg,vimco")
    assert named.code == 21
    assert "'iwae/vimco:baseline=arithmetic' has no finite gradient at K=4." in named.err

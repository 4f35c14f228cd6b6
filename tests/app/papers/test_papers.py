"""Experiments end to end: what is run, what is drawn, and every number of the tables from the runs themselves."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest

from dregcli.app.diagnosis.variance_report import _whose
from dregcli.app.evaluation import evaluate
from dregcli.app.papers import toy
from dregcli.app.papers.asking import ask
from dregcli.app.papers.export import export_paper
from dregcli.app.papers.kind import Asked, PaperRequest
from dregcli.app.papers.kinds import KINDS, kind_of
from dregcli.app.papers.run import preview_paper, run_paper
from dregcli.app.papers.showing import NO_NUMBERS
from dregcli.app.papers.studies import Member, members_of, request_of, training_of
from dregcli.app.papers.study_lines import drawing_of
from dregcli.app.papers.toy_file import gradient_of, pair_of
from dregcli.app.studies import worker
from dregcli.app.studies.launch import planned
from dregcli.engine.diagnostics.variance_result import GradientOf
from dregcli.engine.models.gaussian_toy import POSTERIOR_VARIANCE, toy_problem
from dregcli.engine.randomness import Randomness
from dregcli.errors import RunNotFound, SpecError, UsageError
from dregcli.names import Network, Place, Split
from dregcli.report.aggregate import aggregate
from dregcli.report.papers.quantities import Wanted, evaluated
from dregcli.specs.papers import document
from dregcli.specs.run import spelt_out
from dregcli.store.runs import RunStore
from tests.support.data_few import few_digits
from tests.support.listener import Recorder
from tests.support.no_figures import no_ink
from tests.support.papers import TOY, TRAINING
from tests.support.quick_training import quick_training


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    quick_training(monkeypatch)
    few_digits(monkeypatch)
    no_ink(monkeypatch)
    monkeypatch.chdir(tmp_path)


def asked(text: str, *, scale: float = 1.0, **request: object) -> Asked:
    Path("my.toml").write_text(text)
    whole = PaperRequest("my.toml", scale=scale, settings={"threads": 1}, **request)  # pyright: ignore[reportArgumentType]
    return ask(whole, runs_dir=Path("runs"), data_dir=Path("data"), argv=["dreg"])


def test_the_kinds_are_those_of_files() -> None:
    assert set(KINDS) == set(document.KINDS)


def _at_other_k(member: Member, more: int) -> Member:
    assert member.group is not None
    rows = [replace(row, spec={**row.spec, "k": row.spec["k"] + more}) for row in member.group.rows]
    return replace(member, group=replace(member.group, rows=tuple(rows)))


def test_a_study_ends_with_numbers_of_its_own_runs_and_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = asked(TRAINING)
    first = Recorder()
    kind = kind_of(experiment.paper)
    assert kind.state(experiment).done == 0
    assert kind.results(experiment).missing == "4 runs missing"
    previewed = preview_paper(experiment, Recorder())
    assert previewed.preview is not None
    assert previewed.expected is not None
    assert len(previewed.preview.runs) == 4
    assert 0.0 < previewed.expected.seconds < 3600.0
    assert not Path("runs").exists(), "nothing is kept by looking"
    result = run_paper(experiment, first)
    assert any(note.startswith("this takes about ") for note in first.notes)
    assert (result.ran.exit_code, result.results.missing) == (0, "")
    specs = [(spelt_out(run.spec()), run) for run in RunStore(Path("runs")).runs()]
    runs = {(spec["objective"], spec["seed"]): run for spec, run in specs}
    values = [runs["iwae", seed].results("evals")[0].attrs["value"] for seed in (0, 1)]
    mean = aggregate(values, None)
    assert mean is not None
    (beside,) = result.results.compared
    assert beside.ours is not None
    assert (beside.ours.mean, beside.ours.stderr, beside.ours.n) == (mean.mean, mean.stderr, 2)
    assert beside.difference == mean.mean + 30.5
    assert beside.stderr == math.hypot(mean.stderr or 0.0, 0.1)
    bound, variance, likelihood, snr = result.results.drawings
    assert [line.label for line in bound.lines] == ["iwae/dreg", "rws/reparam"]
    for line, objective in zip(bound.lines, ("iwae", "rws"), strict=True):
        ends = [runs[objective, seed].info().summary["bounds"]["valid"]["value"] for seed in (0, 1)]
        assert line.points[0].y.mean == pytest.approx(fmean(ends), rel=1e-12)
        assert line.band is not None
        assert [*line.band.x] == [5.0, 10.0]
    (pair,) = bound.pairs
    ends = {
        each: [runs[each, seed].info().summary["bounds"]["valid"]["value"] for seed in (0, 1)]
        for each in ("iwae", "rws")
    }
    first, second = sorted(ends, key=lambda each: -fmean(ends[each]))
    differences = [one - other for one, other in zip(ends[first], ends[second], strict=True)]
    assert (pair.a.split("/")[0], pair.b.split("/")[0], pair.seeds) == (first, second, (0, 1))
    assert pair.difference == pytest.approx(fmean(differences), rel=1e-12)
    assert pair.stderr == pytest.approx(abs(differences[0] - differences[1]) / 2.0, rel=1e-9)
    assert not variance.pairs + likelihood.pairs + snr.pairs
    rows = [runs["rws", seed].metrics("train")["reparam.posterior_variance_window"][-1] for seed in (0, 1)]
    assert variance.lines[1].points[0].y.mean == pytest.approx(fmean(map(float, rows)), rel=1e-12)
    assert [(mark.label, mark.x, mark.y) for mark in likelihood.marks] == [("iwae/dreg", 2.0, -30.5)]
    assert likelihood.title == "test log p(x) with 6 samples"
    assert snr.floor == pytest.approx(math.sqrt(2.0 / (5 * math.pi)), rel=1e-12), "windows of five steps"
    assert variance.floor is None
    assert {path.name for path in experiment.out.iterdir()} >= {"my.png", "my.svg", "my.pdf"}
    json.dumps(result.as_json(), allow_nan=False)

    def never(*_: object, **__: object) -> None:
        pytest.fail("a run that is done was trained or evaluated again")

    monkeypatch.setattr(worker.train, "claim", never)
    monkeypatch.setattr(evaluate, "_evaluated", never)
    again = Recorder()
    assert run_paper(experiment, again).results.compared == result.results.compared
    assert kind.state(experiment).is_complete
    assert kind.expected(experiment) is None
    assert not any(note.startswith("this takes") for note in again.notes)
    done = members_of(planned(request_of(experiment), experiment.data_dir), RunStore(Path("runs")))
    apart = [_at_other_k(member, more) for more, member in enumerate(done)]
    assert not drawing_of(experiment.paper.figure[0], apart, []).pairs, "bounds at unlike K are not compared"
    group = done[0].group
    assert group is not None
    assert evaluated(group, Wanted(Split.TEST, 6, 20)) is not None
    assert evaluated(group, Wanted(Split.TEST, 6, 19)) is None, "of other examples"
    earlier = [replace(row, evals=[{**each, "checkpoint": 5} for each in row.evals]) for row in group.rows]
    assert evaluated(replace(group, rows=tuple(earlier)), Wanted(Split.TEST, 6, 20)) is None, "in mid-training"
    shutil.rmtree(runs["iwae", 1].path)
    shutil.rmtree(runs["rws", 1].path)
    shutil.rmtree(runs["rws", 0].path / "evals")
    partly = kind.results(experiment)
    assert partly.missing == "2 runs and 1 evaluation missing"
    assert partly.made is not None
    assert partly.made.length == "1 seed, 10 steps a run"


def test_tables_are_merged_as_those_of_a_sweep() -> None:
    """A model's options lie over those below by name, a pair names its objective, and lists are those of a sweep."""
    runs = """
[experiment.options]
model = "conv"
model-options = { latent_dim = 3, channels = 2 }
estimator = "rws/dreg"
steps = 10
[[experiment.runs]]
objective = "iwae"
model-options = { latent_dim = [4, 5] }
[[experiment.runs]]
model = "vae"
hidden = ["6", "7,8"]
epochs = 1
[[experiment.runs]]
estimator = "dreg,iwae/stl"
[[figure]]
y = "bound-valid"
"""
    paper = asked(TRAINING[: TRAINING.index("[experiment.options]")].replace("0-1", "0") + runs)
    specs = [each.spec for each in planned(request_of(paper), Path("data")).combinations]
    assert [(each.objective, each.estimator, each.model_options, each.hidden) for each in specs] == [
        ("iwae", "dreg", {"latent_dim": 4, "channels": 2}, None),
        ("iwae", "dreg", {"latent_dim": 5, "channels": 2}, None),
        ("rws", "dreg", {}, (6,)),
        ("rws", "dreg", {}, (7, 8)),
        ("rws", "dreg", {"latent_dim": 3, "channels": 2}, None),
        ("iwae", "stl", {"latent_dim": 3, "channels": 2}, None),
    ]
    assert {each.steps for each in specs} == {10, specs[2].steps}
    assert specs[2].steps != 10, "one pass"


def test_a_published_number_stays_at_the_papers_k() -> None:
    """A shorter version has a smaller K, at which the paper may have another number."""
    text = TRAINING.replace("k = 2\n", "k = 16\n").replace("k = 2 }", "k = 16 }")
    experiment = asked(text, scale=0.25)
    results = kind_of(experiment.paper).results(experiment)
    assert [mark.x for mark in results.drawings[2].marks] == [16.0]
    assert results.compared[0].label == "iwae/dreg (K=16 in the paper)"
    assert training_of(experiment.paper).options["k"] == 8


def test_runs_of_another_machine_count_for_the_table_and_other_runs_do_not() -> None:
    small = TRAINING.replace('seeds = "0-1"', 'seeds = "0"')
    run_paper(asked(small.replace("k = 2\n", 'k = 2\nbackward = "screened"\n')), Recorder())
    dense = asked(small.replace("k = 2\n", 'k = 2\nbackward = "dense"\n'))
    assert kind_of(dense.paper).results(dense).compared[0].ours is not None
    assert kind_of(dense.paper).state(dense).is_complete
    again = Recorder()
    assert run_paper(dense, again).ran.study is None, "what is there is not repeated"
    assert len(RunStore(Path("runs")).runs()) == 2
    (told,) = [note for note in again.notes if note.startswith("made elsewhere")]
    assert "/v001" in told
    more = asked(small.replace("k = 2\n", 'k = 2\nbackward = "dense"\n').replace('seeds = "0"', 'seeds = "0-1"'))
    found = kind_of(more.paper).preview(more, Recorder())
    assert found is not None
    assert {each.combination.spec.seed for each in found.runs} == {1}
    other = asked(small.replace("k = 2\n", "k = 2\nlr = 0.002\n"))
    assert kind_of(other.paper).results(other).compared[0].ours is None


def test_a_published_number_belongs_to_one_run() -> None:
    for before, after, told in (
        ('objective = "iwae", k = 2 }', "k = 2 }", "several runs have these settings: iwae/dreg or rws/reparam"),
        ('objective = "iwae", k = 2 }', 'objective = "jvi", k = 2 }', "no run has these settings"),
    ):
        experiment = asked(TRAINING.replace(before, after))
        with pytest.raises(SpecError, match=told) as caught:
            run_paper(experiment, Recorder())
        assert "published[1].at" in str(caught.value)
        assert not Path("runs").exists(), "before any work"


def test_the_toy_gives_closed_forms_and_is_not_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """At K = 1 the variance of b's path gradient is known; reparam adds that of the score; stl is dreg, unbiased.

    With z = m + s e, the path gradient at K = 1 is theta + x - 2 z + (z - m) / s^2, whose variance is (1 / s - 2 s)^2
    for every coordinate. Its estimate from R replicates of D coordinates has a relative error of sqrt(2 / (R D)):
    five of them are one false alarm in about a million.
    """
    experiment = asked(TOY)
    result = run_paper(experiment, Recorder())
    exact = (1.0 / math.sqrt(POSTERIOR_VARIANCE) - 2.0 * math.sqrt(POSTERIOR_VARIANCE)) ** 2
    variance, bias = result.results.drawings
    at_one = {line.label: line.points[0].y.mean for line in variance.lines}
    dimensions = toy_problem(Randomness(3)).x.shape[1]
    error = 5.0 * math.sqrt(2.0 / (2 * 400 * dimensions))
    assert at_one["iwae/dreg"] == pytest.approx(exact, rel=error)
    assert at_one["iwae/stl"] == at_one["iwae/dreg"]
    assert at_one["iwae/reparam"] > 5.0 * exact
    (stl,) = [line for line in bias.lines if line.label == "iwae/stl"]
    assert stl.points[0].y.mean == 0.0, "at K = 1, stl is dreg, on the same noise"
    assert stl.points[1].y.mean > 0.0
    value, slope, fitted = result.results.compared
    assert value.difference == pytest.approx(at_one["iwae/dreg"] - 0.1)
    files = sorted((experiment.out / "measured").iterdir())
    assert len(files) == 2
    reports = [json.loads(path.read_bytes())["report"] for path in files]
    slopes = [
        each["value"]
        for report in reports
        for each in report["slopes"]
        if (each["estimator"], each["statistic"], each["network"]) == ("reparam", "variance", "encoder")
    ]
    assert slope.ours is not None
    assert slope.ours.mean == pytest.approx(fmean(slopes), rel=1e-12)
    assert fitted.ours is not None
    assert fitted.ours.mean == pytest.approx(slope.ours.mean, rel=1e-9), "all K, and so the same line"
    monkeypatch.setattr(toy, "measure_variance", lambda *_, **__: pytest.fail("measured again"))
    assert run_paper(experiment, Recorder()).results.compared == result.results.compared
    files[0].write_bytes(b"{")
    with pytest.raises(Exception, match="cannot be read"):
        kind_of(experiment.paper).results(experiment)


def test_a_published_number_of_the_decoder_is_named_as_its_row_is() -> None:
    for word in ("iwae/dreg", "iwae/ovis-mc:exclusive=true"):
        pair = pair_of(word)
        whose = _whose(GradientOf.of_theta(Network.DECODER, pair))
        assert gradient_of(pair, "decoder") == (whose["objective"], whose["estimator"])
        assert (whose["estimator"] is None) == (word == "iwae/dreg")


def test_the_toy_has_no_runs_to_place() -> None:
    for request, told in (({"jobs": 2}, "jobs"), ({"on": Place.RAY}, "on"), ({"slurm": ("a=b",)}, "slurm")):
        with pytest.raises(SpecError, match=f"{told}: is about runs"):
            asked(TOY, **request)


def test_what_is_written_for_a_repository_says_what_it_is() -> None:
    experiment = asked(TOY, scale=0.05)
    with pytest.raises(RunNotFound, match="no results"):
        export_paper(experiment, Path("results"), Recorder())
    run_paper(experiment, Recorder())
    listener = Recorder()
    notes = Path("results/my-scale0.05.md")
    notes.parent.mkdir()
    notes.write_text("my notes")
    Path("results/my-scale0.05.json").write_text('{"paper": "another"}')
    with pytest.raises(UsageError, match="no earlier export of this experiment"):
        export_paper(experiment, notes.parent, listener)
    assert notes.read_text() == "my notes"
    assert len(list(notes.parent.iterdir())) == 2
    shutil.rmtree(notes.parent)
    exported = export_paper(experiment, Path("results"), listener)
    content = json.loads(exported.files[0].read_text())
    page = exported.files[1].read_text()
    assert [path.name for path in exported.files] == [
        "my-scale0.05.json",
        "my-scale0.05.md",
        "my-scale0.05.png",
        "my.toml",
    ]
    assert exported.files[3].read_text() == TOY, "the command needs it"
    assert "shorter than the paper" in page
    assert "dreg paper run my.toml --scale 0.05" in page
    assert content["scale"] == 0.05
    assert content["made"]["length"] == "1 seed, 20 replicates at each K"
    assert "minutes of work" in page
    assert str(Path.cwd()) not in page + json.dumps(content), "no places of this machine"
    assert sum(path.stat().st_size for path in exported.files) < 100_000
    assert not listener.warnings
    curve = asked(TOY[: TOY.index("[[published]]")], scale=0.05)
    assert (asked(TOY).is_shorter, asked(f'shorter = "1 of 9 K"\n{TOY}').is_shorter) == (False, True)
    assert NO_NUMBERS in export_paper(curve, Path("results"), Recorder()).files[1].read_text()

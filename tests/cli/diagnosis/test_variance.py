"""``dreg variance`` as a user sees it: what is told, what is kept, what an interruption costs, what is refused."""

import json
import signal
from pathlib import Path

import pytest

from dregcli.app.diagnosis import new_model, variance_report
from dregcli.app.diagnosis.variance_request import VarianceRequest
from dregcli.app.planning.executing import Shape
from dregcli.cli.diagnosis.variance_result import with_digits
from dregcli.engine.diagnostics.variance import VarianceStudy
from dregcli.engine.pairs import resolve_pair
from dregcli.store.run import Run
from dregcli.store.runs import RunStore
from tests.support.cli import SMALL, Outcome, run
from tests.support.no_figures import NO_VARIANCE, no_figures
from tests.support.store_faults import flip

FEW = ("--examples", 4, "--replicates", 20, "--k", "1,4", "--reference-k", 16)
TOY = ("--toy", "--replicates", 40, "--k", "1,4", "--reference-k", 16)
STATISTICS = {"variance", "snr", "power", "dsnr", "dsnr_floor", "cosine", "squared_bias"}
KEYS = {
    *("toy", "run", "checkpoint", "k", "replicates", "results", "slopes", "ess", "bound", "floor", "reference"),
    *("log_p", "settings", "seconds", "file", "figures", "asked"),
}


@pytest.fixture
def trained(ready) -> Run:
    return ready(*SMALL, "--eval-every", 0, name="t")


def _variance(capsys, *arguments: object) -> Outcome:
    return run(capsys, "variance", *arguments)


def _stop_after(monkeypatch: pytest.MonkeyPatch, draws: int) -> None:
    advance, count = VarianceStudy.advance, 0

    def acts(study: VarianceStudy) -> None:
        nonlocal count
        advance(study)
        count += 1
        if count == draws:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(VarianceStudy, "advance", acts)


@pytest.mark.usefixtures("real_figures")
def test_a_run_keeps_what_it_was_told_and_goes_on_where_it_was_stopped(capsys, monkeypatch, trained: Run) -> None:
    words = ("reparam", "dreg", "dreg-cv", "vimco", "rws/dreg")
    arguments = ("t/v001", *FEW, *(part for word in words for part in ("--estimator", word)), "--json")
    monkeypatch.setattr("dregcli.engine.diagnostics.learn.STEPS", 3)
    whole = _variance(capsys, *arguments)
    assert whole.code == 0, whole.err
    assert "not defined and left out: iwae/dreg-cv at K=1; iwae/vimco at K=1" in whole.err
    content = whole.json
    assert set(content) == KEYS
    assert (content["toy"], content["run"], content["checkpoint"]) == (False, str(trained.path), 20)
    assert (content["k"], content["replicates"], content["log_p"]) == ([1, 4], 20, None)
    for result in content["results"]:
        assert set(result) == {"objective", "estimator", "network", "promise", "k", "direction", *STATISTICS}
        nothing = (result["objective"], result["estimator"], result["k"]) == ("rws", "dreg", 1)  # v - v^2 = 0
        assert (result["variance"]["value"] == 0.0) == (result["snr"]["value"] is None) == nothing
        assert (result["variance"]["stderr"] > 0.0) == (not nothing)
    decoders = [(r["objective"], r["estimator"], r["k"]) for r in content["results"] if r["network"] == "decoder"]
    assert decoders == [("iwae", None, 1), ("iwae", None, 4), ("rws", None, 1), ("rws", None, 4)]
    of = {(r["estimator"].partition(":")[0], r["k"]) for r in content["results"] if r["network"] == "encoder"}
    assert {("reparam", 1), ("vimco", 4)} <= of
    assert ("vimco", 1) not in of
    assert content["settings"]["learned"], "dreg-cv was asked for by name"
    # What is kept is what was told, and the store takes it for whole.
    (kept,) = trained.results("variance")
    assert str(kept.path) == content["file"]
    assert json.dumps(kept.attrs["results"]) == json.dumps(content["results"])
    assert list(kept.arrays()["variance"]) == [r["variance"]["value"] for r in content["results"]]
    png, svg, pdf = map(Path, content["figures"])
    assert png.read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in svg.read_bytes()
    assert pdf.read_bytes().startswith(b"%PDF")
    no_figures(monkeypatch)
    # The reference is 2 draws, then there are 20 at each K.
    for draws in (1, 25):
        with monkeypatch.context() as patch:
            _stop_after(patch, draws)
            stopped = _variance(capsys, *arguments)
        assert stopped.code == 130
        assert "the work so far is saved" in stopped.json["error"]["what"]
        assert len(list((trained.path / "variance").glob("*.partial"))) == 1
    assert run(capsys, "runs", "verify", "t").code == 0
    done = _variance(capsys, *arguments)
    assert "continuing at K=4 of an earlier, unfinished measurement" in done.err
    assert done.json["results"] == content["results"]
    assert done.json["slopes"] == content["slopes"]
    assert Path(done.json["file"]).name == kept.path.stem + "-2.h5"
    assert not list((trained.path / "variance").glob("*.partial"))
    shown = run(capsys, "runs", "show", "t").out
    assert "encoder gradient variance at K=4: iwae/reparam " in shown


def test_a_corrupt_partial_is_measured_again(capsys, monkeypatch, trained: Run) -> None:
    arguments = ("t/v001", *FEW, "--estimator", "dreg", "--json")
    with monkeypatch.context() as patch:
        _stop_after(patch, 10)
        assert _variance(capsys, *arguments).code == 130
    (path,) = (trained.path / "variance").glob("*.partial")
    flip(path, 1000)
    done = _variance(capsys, *arguments)
    assert done.code == 0
    assert f"warning: the measurement starts over: {path} cannot be continued" in done.err


def test_the_toy_is_printed_and_written_where_it_was_asked_for_over_nothing(capsys, monkeypatch, tmp_path) -> None:
    text = _variance(capsys, *TOY)
    assert text.code == 0, text.err
    for part in (
        "encoder",
        "decoder",
        "iwae/reparam",
        "rws/dreg",
        "slopes of log",
        "exact log p(x)",
        "nothing is kept",
    ):
        assert part in text.out, part
    assert any(line.split()[:3] == ["iwae/vimco", "1", "-"] for line in text.out.splitlines())
    assert "not distinguishable from noise, and therefore not used for a slope" in " ".join(text.out.split())
    assert max(map(len, text.out.splitlines())) <= 118
    one = _variance(capsys, "--toy", "--replicates", 40, "--k", 4, "--reference-k", 16)
    assert one.code == 0, one.err
    assert "slope" not in one.out, "one K has no slope"
    assert "not distinguishable from noise: " in " ".join(one.out.split())
    out = tmp_path / "deep" / "toy"
    found = [_variance(capsys, *TOY, "--out", out, "--json").json for _ in range(2)]
    assert set(found[0]) == KEYS
    # Where an SNR could be of noise alone its value stands for nothing, whatever the standard error beside it.
    snrs = [result["snr"] for result in found[0]["results"] if result["snr"]["value"] is not None]
    assert {snr["at_floor"] for snr in snrs} == {True, False}
    assert all(snr["at_floor"] == (snr["value"] < 2.5 * found[0]["floor"]) for snr in snrs)
    rows = text.out.partition("slopes")[0]
    assert rows.count("at the floor") == sum(snr["at_floor"] for snr in snrs)
    names = sorted(path.name for path in out.iterdir())
    assert names == sorted(
        f"variance-toy-seed0{number}{suffix}" for number in ("", "-2") for suffix in (".json", ".pdf", ".png", ".svg")
    )
    assert json.loads(Path(found[0]["file"]).read_text())["results"] == found[0]["results"] == found[1]["results"]
    assert found[0]["log_p"]["model"] != found[0]["log_p"]["data"]
    bounds = [each["value"] for each in found[0]["bound"]]
    assert bounds[0] < bounds[1] < found[0]["log_p"]["model"]
    with monkeypatch.context() as patch:
        _stop_after(patch, 1)
        stopped = _variance(capsys, *TOY, "--out", tmp_path / "never")
    assert stopped.code == 130
    assert "work on the toy is not saved" in stopped.err
    assert not (tmp_path / "never").exists()


MODELS_ALONE = ("dataset", "task", "capture", "examples", "k-chunk", "model", "trust-code")


@pytest.mark.parametrize(
    ("arguments", "faults"),
    [
        (
            ("--toy", "--k", "4,0,x,4", "--replicates", 19, "--estimator", "nope", "--seed", -1),
            ("k: must be whole numbers", "got '0', 'x'", "k: 4 is given twice", "replicates: must be at least 20"),
        ),
        (("t", "--toy"), ("toy: cannot be given with a run",)),
        (("--toy", "--k", ""), ("k: must be whole numbers",)),
        (("--toy", "--k", "1,-4", "--checkpoint", "best"), ("got '-4'", "checkpoint: does not apply to the toy")),
        (
            (
                *("--toy", "--dataset", "mnist", "--task", "structured", "--capture", "names", "--examples", 7),
                *("--k-chunk", "banana", "--model", "x.py:Foo", "--trust-code"),
            ),
            tuple(f"{name}: does not apply to the toy: leave it out" for name in MODELS_ALONE),
        ),
        (("--toy", "--k", "1", "--estimator", "vimco"), ("k: ", "needs at least 2 samples, got 1")),
        (("--toy", "--reference-k", 8), ("reference-k: must be at least the largest K, 256, got 8",)),
        (("--toy", "--objective", "miwae:groups=3", "--k", "3,6", "--reference-k", 1024), ("reference-k: ",)),
        (("--objective", "miwae:groups=3", "--k", "3,6", "--reference-k", 1024), ("reference-k: ",)),
        (
            ("--k", "4,4", "--out", "x", "--replicates", 1),
            ("k: 4 is given twice", "out: only applies with --toy", "replicates:"),
        ),
        (("--k", "20", "--k-chunk", 20, "--reference-k", 40), ("k-chunk: must be a multiple of 16, or k itself",)),
        (("--k", "4", "--reference-k", 10**19), (f"reference-k: must be at most {2**20:,}, got {10**19}.",)),
        (("--k", "4", "--examples", 0, "--k-chunk", "x", "--device", "tpu"), ("examples:", "k-chunk:", "device:")),
    ],
)
def test_all_that_cannot_be_is_told_at_once(capsys, arguments, faults) -> None:
    outcome = _variance(capsys, *arguments)
    assert outcome.code == 2
    assert outcome.out == ""
    assert "Traceback" not in outcome.err
    for fault in faults:
        assert fault in outcome.err, outcome.err
    assert "training" not in outcome.err
    assert outcome.err.endswith("every option is shown by: dreg variance --help\n"), outcome.err


def test_the_default_reference_has_as_many_samples_as_the_objectives_allow() -> None:
    """1,026 is the next multiple of 3, and 1,029 of 3 and 7."""
    request = VarianceRequest(k="3,6")
    three, seven = (resolve_pair(f"miwae:groups={groups}", "dreg", 21) for groups in (3, 7))
    assert [request.with_reference(pairs).reference for pairs in ([three], [three, seven])] == [1026, 1029]
    assert VarianceRequest(k="3", reference_k=1024).with_reference([three]).reference == 1024, "typed"


@pytest.mark.usefixtures("trained")
def test_a_reference_is_computed_in_chunks_that_may_be_larger_than_k(capsys, monkeypatch) -> None:
    monkeypatch.setattr(Shape, "chunk", lambda *_, **__: 32)
    whole = ("t", "--k", 4, "--reference-k", 64, "--replicates", 20, "--estimator", "dreg", "--json")
    by_itself, typed = _variance(capsys, *whole), _variance(capsys, *whole, "--k-chunk", 32)
    assert by_itself.code == typed.code == 0, by_itself.err
    assert by_itself.json["settings"]["k_chunk"] == 32
    assert by_itself.json["results"] == typed.json["results"]


def test_pairs_are_left_out_only_where_they_are_not_defined(capsys) -> None:
    outcome = _variance(
        capsys,
        "--toy",
        "--replicates",
        20,
        "--k",
        "4,8",
        "--reference-k",
        16,
        "--json",
        *("--estimator", "miwae:groups=8/dreg", "--estimator", "dreg"),
    )
    assert outcome.code == 0, outcome.err
    assert "not defined and left out: miwae/dreg at K=4" in outcome.err
    found = [(r["objective"], r["k"]) for r in outcome.json["results"] if r["network"] == "encoder"]
    assert found == [("miwae:groups=8", 8), ("iwae", 4), ("iwae", 8)]


def test_without_a_run_the_one_of_bias_check_is_used(capsys, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(new_model, "TRAINING_STEPS", 3)
    few = ("--examples", 2, "--replicates", 20, "--k", "1", "--reference-k", 16, "--estimator", "dreg")
    first = _variance(capsys, *few, "--json")
    assert first.code == 0, first.err
    again = run(capsys, "bias-check", "--examples", 2, "--max-batches", 48, "--k", 64)
    assert "using" in again.err
    assert [found.name for found in RunStore(tmp_path / "runs").resolve(first.json["run"])] == [
        "bias-check-digits-iwae-dreg-k64"
    ]


@pytest.mark.parametrize(
    ("value", "stderr", "told"),
    [
        (0.0133, 0.0001, "0.01330(10)"),
        (0.81, 0.0042, "0.810(4)"),
        (1.5e-7, 7e-10, "1.500(7)e-07"),
        (4e-5, 0.0118, "0.000(12)"),
        (3.02e4, 500.0, "3.02(5)e+04"),
        (7962.0, 137.0, "7962(137)"),
        (-0.01, 0.02, "-0.01(2)"),
        (float("nan"), 1.0, "-"),
        (1.0, 0.0, "1"),
    ],
)
def test_numbers_have_their_error_in_the_last_digits(value: float, stderr: float, told: str) -> None:
    assert with_digits(value, stderr) == told


@pytest.mark.parametrize(
    ("options", "always"), [((), ["iwae/dreg", "iwae/reparam"]), (("--estimator", "vimco"), None)]
)
def test_the_figure_shows_the_pairs_that_were_asked_for(capsys, monkeypatch, trained: Run, options, always) -> None:
    monkeypatch.setattr("dregcli.engine.diagnostics.learn.STEPS", 3)
    shown: list[object] = []

    def figure(*_, always, **__) -> object:
        shown.append(always)
        return NO_VARIANCE

    monkeypatch.setattr(variance_report, "variance_figure", figure)
    found = _variance(capsys, "t/v001", *FEW, *options, "--json")
    assert found.code == 0, found.err
    assert [None if each is None else [*each] for each in shown] == [always]
    assert found.json["asked"] is (always is None)
    (kept,) = trained.results("variance")
    assert kept.attrs["asked"] is (always is None), "a report draws the same pairs"


@pytest.mark.parametrize("pair", ["iwae/dreg-alpha", "iwae/dreg-cv", "miwae/dreg"])
def test_the_pair_that_trained_is_always_in_the_figure(capsys, monkeypatch, pair) -> None:
    monkeypatch.setattr("dregcli.engine.diagnostics.learn.STEPS", 3)
    words = ("--estimator", pair, "--k", 8, "--name", "t", "--eval-every", 0)
    assert run(capsys, "train", *SMALL, *words).code == 0
    seen: list[tuple[set[str], list[str]]] = []

    def figure(curves, *, always, **_) -> object:
        seen.append(({curve.label.partition(" (")[0] for curve in curves}, [*always]))
        return NO_VARIANCE

    monkeypatch.setattr(variance_report, "variance_figure", figure)
    few = ("--examples", 4, "--replicates", 20, "--k", "8,16", "--reference-k", 16)
    found = _variance(capsys, "t/v001", *few)
    assert found.code == 0, found.err
    ((labels, always),) = seen
    assert set(always) <= labels
    assert always == [pair, f"{pair.partition('/')[0]}/reparam"]

"""The files of published experiments: all faults at once, each with its line."""

from pathlib import Path

import pytest

from dregcli.app.papers.asking import find_paper
from dregcli.errors import SpecError, UsageError
from dregcli.specs.papers.lines import Lines
from dregcli.specs.papers.named import paper_names, paper_path
from tests.support.papers import TOY, TRAINING
from tests.support.sweep import swept

NAMES = {
    *("tucker2018-toy", "tucker2018-mnist", "tucker2018-omniglot", "tucker2018-structured", "tucker2018-alpha"),
    *("rainforth2018-snr", "burda2015-1layer", "burda2015-2layer"),
    *("ovis2020-sbn", "mnih2016-vimco", "bauer2021-gdreg"),
}


def written(folder: Path, text: str) -> str:
    path = folder / "my.toml"
    path.write_text(text)
    return str(path)


def faults(folder: Path, text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        find_paper(written(folder, text))
    assert caught.value.hint
    assert "dreg paper show" in caught.value.hint
    assert caught.value.where == str(folder / "my.toml")
    return [str(each) for each in caught.value.faults]


def test_the_experiments_are_those_that_are_promised() -> None:
    assert set(paper_names()) == NAMES


@swept("name", paper_names())
def test_every_experiment_is_without_faults_and_says_where_its_numbers_are_from(name: str) -> None:
    paper = find_paper(name).paper
    for each in paper.published:
        assert (each.error is not None) == (each.read == "eye"), "a number read by eye has the error of reading"
        assert "[" not in each.source + each.what, "no mark of a note"
        if each.y == "log-likelihood":
            assert -150.0 < each.value < -80.0, "nats per example, larger is better"


def test_all_faults_of_a_file_come_at_once_each_with_its_line(tmp_path: Path) -> None:
    text = TRAINING.replace('title = "A tiny experiment"\n', "").replace('read = "eye"', 'read = "guess"')
    text = text.replace('seeds = "0-1"', 'seeds = "1-0"').replace("[[figure]]\n", "[[figure]]\nz = 1\n", 1)
    seeds, z, read = (text.splitlines().index(each) + 1 for each in ('seeds = "1-0"', "z = 1", 'read = "guess"'))
    assert faults(tmp_path, text) == [
        "line 1: title: is missing.",
        f"line {seeds}: experiment.seeds: '1-0' ends before it begins: write 0-1.",
        f"line {z}: figure[1].z: there is no such entry here.",
        f"line {read}: published[1].read: must be one of 'table', 'text', 'eye' or 'theory', got 'guess'.",
    ]


def test_what_the_form_does_not_show(tmp_path: Path) -> None:
    """Options, quantities and pairs, for each kind; every message has a line and a way out."""
    unbound = TRAINING.replace("steps = 10", 'steps = 10\nfinal_eval = "none"')
    for base, before, after, line, why in (
        (TRAINING, "steps = 10\n", "", 'estimator = "dreg"', "a run needs its length"),
        (TRAINING, "steps = 10", "steps = 0", "steps = 0", "steps: must be at least 1, got 0."),
        (
            TRAINING,
            "steps = 10",
            "lr-schedule = 1\nlr_schedule = 1\nsteps = 10",
            "[experiment.options]",
            "given twice",
        ),
        (TRAINING, "steps = 10", "stepps = 10\nsteps = 10", "stepps = 10", "Did you mean 'steps'?"),
        (TRAINING, '"rws/reparam"', '"rws/stl"', 'estimator = "rws/stl"', "estimator: "),
        (TRAINING, "k = 2\n", "k = 2\nseed = 3\n", "seed = 3", "write seeds below [experiment]"),
        (TRAINING, '"rws/reparam"', '["dreg", "iwae/dreg"]', 'estimator = ["dreg", "iwae/dreg"]', "is given twice"),
        (TRAINING, 'x = "k"', 'x = "estimator"', 'x = "estimator"', "is no number in any run"),
        (TRAINING, 'x = "k"', 'x = "epochs"', 'x = "epochs"', "must be step, or a setting of the runs"),
        (unbound, 'y = "log-likelihood"\nx', 'y = "bound-test"\nx', 'y = "bound-test"', 'write final_eval = "all"'),
        (TRAINING, 'y = "variance"', 'y = "variants"', 'y = "variants"', "must be one of bound-train"),
        (TRAINING, 'x = "k"', 'x = "z"', 'x = "z"', "must be step, or a setting of the runs"),
        (TRAINING, 'x = "k"', 'x = "estimator.alhpa"', 'x = "estimator.alhpa"', "is no number in any run"),
        (TRAINING, 'y = "bound-valid"', 'y = "bound-test"', 'y = "bound-test"', "at the end of training only"),
        (TRAINING, 'track_estimators = "reparam,dreg"\n', "", 'y = "variance"', "write track_estimators"),
        (TRAINING, 'read = "eye"', 'read = "eye"\nof = "slope"', 'of = "slope"', "on the toy only"),
        (TOY, '"iwae/stl"]', '"rws/stl"]', 'pairs = ["iwae/reparam", "iwae/dreg", "rws/stl"]', "'rws/stl': "),
        (TOY, "replicates = 400", "replicates = 3", "replicates = 3", "must be at least"),
        (TOY, "k = [1, 2]", "k = [2, 1]", "k = [2, 1]", "must ascend"),
        (TOY, "k = 1 }", "k = 8 }", 'at = { pair = "iwae/dreg", k = 8 }', "k must be one of 1,2, got 8."),
        (TOY, 'pair = "iwae/reparam" }', 'pair = "rws/dreg" }', 'at = { pair = "rws/dreg" }', "no pair of the"),
        (
            TOY,
            'reparam", k = 1',
            'reparam", k = 2',
            'at = { pair = "iwae/reparam", k = 2 }',
            "a slope begins at one of K=1",
        ),
        (TOY, 'y = "squared_bias"', 'y = "bias"', 'y = "bias"', "must be one of variance"),
    ):
        text = base.replace(before, after)
        assert text != base, before
        told = faults(tmp_path, text)
        at = text.splitlines().index(line) + 1
        near = range(at - 1, at + 1)  # a table's own line, or the line of the entry
        assert any(each.startswith(tuple(f"line {n}: " for n in near)) and why in each for each in told), (
            after,
            told,
        )


def test_an_evaluation_is_needed_for_its_quantities(tmp_path: Path) -> None:
    start, end = TRAINING.index("[experiment.evaluation]"), TRAINING.index("[[figure]]")
    told = faults(tmp_path, TRAINING[:start] + TRAINING[end:])
    assert len([each for each in told if "write an [experiment.evaluation]" in each]) == 2


def test_names_and_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Did you mean 'tucker2018-toy'"):
        paper_path("tucker2018-toi")
    with pytest.raises(UsageError, match="cannot be read"):
        find_paper(str(tmp_path / "none.toml"))
    for text in ("title = ", f"title = {'9' * 5000}", f"title = {'[' * 5000}"):
        with pytest.raises(UsageError, match="not valid TOML"):
            find_paper(written(tmp_path, text))
    assert find_paper(written(tmp_path, TRAINING)).name == "my"


def test_lines_of_entries() -> None:
    lines = Lines("a = 1\n[b.c]\nd = 2\n[[e]]\nf = 3\n[[e]]\nf = 4  # [[e]]\n[e.g]\nh = { i = 5 }\n")
    places = {("a",): 1, ("b", "c", "d"): 3, ("e", 0, "f"): 5, ("e", 1, "f"): 7, ("e", 1, "g", "h", "i"): 9}
    assert {place: lines.of(place) for place in places} == places
    assert (lines.of(("e", 1, "zzz")), lines.of(("zzz",))) == (6, 1)

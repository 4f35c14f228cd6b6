"""Figures show what was computed: their artists are read back and compared with the numbers."""

import math
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.text import Text
from scipy import stats

from dregcli.names import RunStatus
from dregcli.report.drawn import Drawn
from dregcli.report.figures import final as final_module
from dregcli.report.figures import layout, style
from dregcli.report.figures.bounds import bound_figure
from dregcli.report.figures.draw import draw_all
from dregcli.report.figures.final import final_figure
from dregcli.report.figures.gap import gap_figure
from dregcli.report.figures.sheet import Sheet
from dregcli.report.groups import RunRow
from dregcli.report.series import Band
from tests.support.artists import bands, ends, legend, line, lines, overlapping, touched, unwrapped, xy
from tests.support.report_rows import STEPS, grouped, learning, run_row

SEEDS = range(4)
TWO = [
    run_row(seed, estimator=word, level=level) for word, level in (("dreg", -89.0), ("stl", -90.0)) for seed in SEEDS
]


def _drawn(rows: list[RunRow], against="step") -> Drawn:
    found = bound_figure(grouped(rows)[3], against)
    assert found is not None
    return found


def band_faults(drawn: Drawn, rows: list[RunRow]) -> list[str]:
    """Every way in which the bold curves and bands are not Student's means and intervals over seeds."""
    (axes,) = drawn.figure.axes
    faults = []
    for estimator in dict.fromkeys(row.spec["estimator"] for row in rows):
        label = f"iwae/{estimator} ({len(SEEDS)} seeds)"
        values = np.stack([row.metrics["valid"]["bound"] for row in rows if row.spec["estimator"] == estimator])
        x, y = xy(line(axes, label))
        if x != pytest.approx(rows[0].metrics["valid"]["step"]) or y != pytest.approx(values.mean(axis=0)):
            faults.append("mean")
        at, low, high = ends(bands(axes)[label])
        expected = stats.t.interval(0.95, len(values) - 1, values.mean(axis=0), stats.sem(values))
        if at != pytest.approx(x) or low != pytest.approx(expected[0]) or high != pytest.approx(expected[1]):
            faults.append("band")
    return faults


def test_bold_is_the_mean_of_validation_and_the_band_is_students_interval() -> None:
    assert band_faults(_drawn(TWO), TWO) == []


@pytest.mark.parametrize("wrong", [lambda v: v.std(axis=0, ddof=1), lambda v: 1.96 * stats.sem(v)])
def test_a_band_of_anything_else_would_be_caught(monkeypatch, wrong) -> None:
    monkeypatch.setattr(Band, "_half", property(lambda band: wrong(band.values)))
    assert "band" in band_faults(_drawn(TWO), TWO)


def test_thin_is_the_mean_of_training_batches() -> None:
    (axes,) = _drawn(TWO).figure.axes
    x, y = xy(line(axes, "_train iwae/dreg (4 seeds)"))
    values = np.stack([row.metrics["train"]["bound"] for row in TWO[:4]])
    assert x.tolist() == STEPS.tolist()
    assert y == pytest.approx(values.mean(axis=0))
    bold = line(axes, "iwae/dreg (4 seeds)")
    assert bold.get_linewidth() > 1.5 * line(axes, "_train iwae/dreg (4 seeds)").get_linewidth()


def test_an_axis_with_the_k_of_validation_has_no_training_batches_of_another_k() -> None:
    unlike = [run_row(seed, estimator="stl", k=4, eval_k=64) for seed in range(2)]
    drawn = _drawn([*TWO[:4], *unlike])
    (axes,) = drawn.figure.axes
    assert [*lines(axes, "_train")] == ["_train iwae/dreg K=64 (4 seeds)"]
    assert "bound at K=64," in unwrapped(axes.get_ylabel())
    assert (
        "Thin: training batches. Training batches whose K is not that of validation are not drawn." in drawn.caption
    )
    assert "Thin" not in _drawn(unlike).caption
    alone = [replace(row, metrics={"train": row.metrics["train"]}) for row in unlike]
    drawn = _drawn(alone)
    assert "bound at K=4," in unwrapped(drawn.figure.axes[0].get_ylabel())
    assert "at K=4: iwae/stl (2 seeds): training only: train" in drawn.alt


def test_seconds_are_seconds() -> None:
    (axes,) = _drawn(TWO, "seconds").figure.axes
    x, _ = xy(line(axes, "iwae/dreg (4 seeds)"))
    assert x[-1] == pytest.approx(1000 / 50.0)
    assert axes.get_xlabel().startswith("seconds of optimisation")


def test_axes_have_units_and_the_alternative_text_has_the_numbers() -> None:
    drawn = _drawn(TWO)
    (axes,) = drawn.figure.axes
    assert axes.get_xlabel() == "optimisation steps"
    assert "nats per example (larger is better)" in unwrapped(axes.get_ylabel())
    assert "K=64" in axes.get_ylabel()
    last = np.mean([row.metrics["valid"]["bound"][-1] for row in TWO[:4]])
    assert f"iwae/dreg (4 seeds): valid {last:.2f} (95 % interval" in drawn.alt
    assert "nats per example, larger is better" in drawn.alt


def test_the_axis_leaves_out_the_steep_beginning_alone() -> None:
    (axes,) = _drawn(TWO).figure.axes
    low, high = axes.get_ylim()
    for row in TWO:
        late = row.metrics["train"]["bound"][STEPS >= 100].mean()
        assert low < late < high
    steep = {"train": {"step": np.arange(1, 101), "bound": np.concatenate([[-1e4] * 5, np.full(95, -90.0)])}}
    (axes,) = _drawn([run_row(0, metrics=steep)]).figure.axes
    assert axes.get_ylim()[0] > -100.0


def test_a_band_of_two_seeds_does_not_flatten_the_curves() -> None:
    rows = [run_row(seed, metrics=learning(seed, level=-90.0 + 15.0 * seed)) for seed in range(2)]
    (axes,) = _drawn(rows).figure.axes
    (found,) = bands(axes).values()
    _, low, high = ends(found)
    assert high.max() - low.min() > 150.0, "Student's t of one degree of freedom is 12.7"
    assert np.ptp(axes.get_ylim()) < 0.6 * (high.max() - low.min())


def test_one_legend_entry_a_group_and_every_look_is_another() -> None:
    words = [f"dreg-alpha:alpha=0.{i:02d}" for i in range(style.MARKERS.__len__())]
    rows = [run_row(seed, estimator=word) for word in words for seed in range(2)]
    drawn = _drawn(rows)
    (axes,) = drawn.figure.axes
    assert len(legend(drawn)) == len(set(legend(drawn))) == 12
    bold = [*lines(axes, "iwae/").values()]
    assert len({(each.get_color(), each.get_linestyle(), each.get_marker()) for each in bold}) == 12
    assert len({(each.get_linestyle(), each.get_marker()) for each in bold}) == 12, "in grey, too"
    assert len({each.get_color() for each in bold[:7]}) == 7
    (found,) = drawn.figure.legends
    drawn.render(".png")
    assert not found.get_window_extent().overlaps(axes.get_window_extent()), "the legend hides data"


def test_of_more_groups_than_can_be_told_apart_the_best_are_drawn() -> None:
    rows = [
        run_row(seed, estimator=f"dreg-alpha:alpha=0.{i:02d}", level=-90.0 - (7 * i) % 20, bound=-90.0 - (7 * i) % 20)
        for i in range(20)
        for seed in range(2)
    ]
    drawn = _drawn(rows)
    assert "the highest 12 of 20 groups, by test final bound at K=64" in drawn.title
    best = sorted(range(20), key=lambda i: (7 * i) % 20)[:12]
    assert legend(drawn) == [f"iwae/dreg-alpha:alpha={i / 100:g} (2 seeds)" for i in sorted(best)]


def test_one_seed_has_no_band_and_says_so() -> None:
    drawn = _drawn([run_row(0), *(run_row(seed, estimator="stl") for seed in range(2))])
    (axes,) = drawn.figure.axes
    assert legend(drawn) == ["iwae/dreg (1 seed, no band)", "iwae/stl (2 seeds)"]
    assert [*bands(axes)] == ["iwae/stl (2 seeds)"]
    assert "95 % interval" not in drawn.alt.split("iwae/stl")[0]


def test_a_seed_without_numbers_is_not_counted_and_one_with_some_has_the_others_left_out() -> None:
    rows = [run_row(seed) for seed in range(3)]
    nothing = {"valid": {"step": STEPS, "bound": np.full(len(STEPS), math.nan)}}
    some = learning(2)
    some["valid"]["bound"][3] = math.nan
    drawn = _drawn([rows[0], replace(rows[1], metrics=nothing), replace(rows[2], metrics=some)])
    (label,) = legend(drawn)
    assert label == "iwae/dreg (2 of 3 seeds)"
    _, y = xy(line(drawn.figure.axes[0], label))
    assert np.isfinite(y).all()


def test_without_validation_the_training_bound_has_the_band() -> None:
    rows = [run_row(seed, metrics={"train": learning(seed)["train"]}) for seed in range(3)]
    drawn = _drawn(rows)
    assert legend(drawn) == ["iwae/dreg (3 seeds): training only"]
    (axes,) = drawn.figure.axes
    _, y = xy(line(axes, "iwae/dreg (3 seeds): training only"))
    assert y == pytest.approx(np.mean([row.metrics["train"]["bound"] for row in rows], axis=0))
    assert len(bands(axes)) == 1
    assert gap_figure(grouped(rows)[3]) is None


def test_one_point_is_drawn() -> None:
    one = {"train": {"step": np.array([10]), "bound": np.array([-90.0]), "seconds": np.array([1.0])}}
    one["valid"] = {"step": np.array([10]), "bound": np.array([-91.0])}
    figures = draw_all(*grouped([run_row(0, metrics=one)])[:3])
    assert [each.name for each in figures] == ["final-bounds", "bound-steps", "bound-seconds", "generalisation-gap"]
    assert all(not touched(each.render(".png")) and not overlapping(each) for each in figures)


def test_a_dollar_sign_of_a_name_begins_no_formula() -> None:
    groups, names, comparisons, _ = grouped(
        [run_row(seed, estimator=word) for word in ("dreg", "stl") for seed in (0, 1)]
    )
    odd = dict(zip(names, ("a$_{$b", "$x^2$"), strict=True))
    for drawn in draw_all(groups, odd, comparisons):
        assert overlapping(drawn) == [], "drawn without an error"
        words = [*drawn.figure.findobj(Text)]
        assert any("$x^2$" in text.get_text() for text in words)
        assert not any(text.get_parse_math() for text in words)


def test_nothing_is_drawn_of_nothing() -> None:
    assert draw_all([], {}, []) == []
    crashed = run_row(0, metrics={}, status=RunStatus.CRASHED)
    assert draw_all(*grouped([crashed])[:3]) == []


def test_the_gap_is_training_less_validation_where_both_are_known() -> None:
    def metrics(seed: int) -> dict:
        steps = np.arange(1, 31) * 10
        valid = {"step": steps[9::10], "bound": np.array([-95.0, -93.0, -91.0]) + seed}
        return {"train": {"step": steps, "bound": np.full(30, -90.0)}, "valid": valid}

    drawn = gap_figure(grouped([run_row(seed, metrics=metrics(seed)) for seed in range(3)])[3])
    assert drawn is not None
    (axes,) = drawn.figure.axes
    x, y = xy(line(axes, "iwae/dreg (3 seeds)"))
    assert (x[0], x[-1]) == (100.0, 300.0)
    assert y == pytest.approx(5.0 - (x - 100.0) / 50.0 - 1.0)
    caption = drawn.figure.legends[0].get_title().get_text().replace("\n", " ")
    assert "different pixels and noise" in caption
    assert "nats per example" in unwrapped(axes.get_ylabel())


def pair_faults(drawn: Drawn, values: dict[str, dict[int, float]]) -> list[str]:
    """Every way in which the rows, dots and joining lines are not the groups' and seeds'."""
    (axes,) = drawn.figure.axes
    order = sorted(values, key=lambda word: -np.mean([*values[word].values()]))
    faults = [] if [text.get_text() for text in axes.get_yticklabels()] == order else ["order"]
    for at, word in enumerate(order):
        x, y = xy(line(axes, word))
        if sorted(x) != sorted(values[word].values()) or (y != at).any():
            faults.append(f"dots of {word}")
    for seed in {seed for of_seeds in values.values() for seed in of_seeds}:
        x, y = xy(line(axes, f"_seed {seed}"))
        expected = [(values[word][seed], at) for at, word in enumerate(order) if seed in values[word]]
        if [*zip(x, y, strict=True)] != expected:
            faults.append(f"seed {seed}")
    return faults


FINAL = {
    "iwae/dreg": {0: -89.0, 1: -90.5, 2: -89.2, 3: -88.7},
    "iwae/stl": {0: -89.5, 1: -90.9, 2: -89.8},
    "iwae/reparam": {0: -93.0, 1: -92.5, 2: -94.0, 3: -91.5},
}


def _final() -> Drawn:
    rows = [
        run_row(seed, estimator=word.partition("/")[2], bound=value)
        for word, of_seeds in FINAL.items()
        for seed, value in of_seeds.items()
    ]
    _, _, comparisons, chosen = grouped(rows)
    found = final_figure(chosen, comparisons)
    assert found is not None
    return found


def test_lines_join_the_same_seed_of_all_groups() -> None:
    assert pair_faults(_final(), FINAL) == []


def test_lines_that_pair_by_rank_would_be_caught(monkeypatch) -> None:
    def by_rank(axes, rows) -> None:
        ranked = [dict(enumerate(sorted(of_seeds.values()))) for of_seeds in rows]
        join(axes, ranked)

    join = final_module._join
    monkeypatch.setattr(final_module, "_join", by_rank)
    assert any(fault.startswith("seed") for fault in pair_faults(_final(), FINAL))


def test_the_mean_has_students_interval_and_what_is_not_told_from_the_best_is_bold() -> None:
    drawn = _final()
    (axes,) = drawn.figure.axes
    for at, word in enumerate(("iwae/dreg", "iwae/stl", "iwae/reparam")):
        values = [*FINAL[word].values()]
        expected = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
        x, y = xy(line(axes, f"_mean {word}"))
        assert set(x) == {np.mean(values)}
        corners = np.asarray(bands(axes)[word].get_paths()[0].vertices)
        assert (corners[:, 0].min(), corners[:, 0].max()) == pytest.approx(expected)
        for heights in (y, corners[:, 1]):
            low, high = heights.min(), heights.max()
            assert (low + high) / 2 == pytest.approx(at), "in the row of the dots, not below it"
            assert high - low < 1.0
        assert f"{word} {np.mean(values):.2f} (95 % interval {expected[0]:.2f} to {expected[1]:.2f}" in drawn.alt
    weights = {text.get_text(): text.get_fontweight() for text in axes.get_yticklabels()}
    assert weights == {"iwae/dreg": "bold", "iwae/stl": "normal", "iwae/reparam": "normal"}
    assert "nats per example (larger is better)" in unwrapped(axes.get_xlabel())


def test_the_only_group_has_its_final_bounds_too_but_what_cannot_be_compared_has_none() -> None:
    _, _, comparisons, chosen = grouped([run_row(seed, bound=-90.0 - seed) for seed in range(3)])
    drawn = final_figure(chosen, comparisons)
    assert drawn is not None
    assert xy(line(drawn.figure.axes[0], "iwae/dreg"))[0].tolist() == [-90.0, -91.0, -92.0]
    _, _, comparisons, chosen = grouped([run_row(0), run_row(0, dataset="mnist", data_checksum="m" * 64)])
    assert final_figure(chosen, comparisons) is None


def test_equal_content_is_equal_bytes_in_whatever_order_it_is_rendered() -> None:
    one, two = (draw_all(*grouped(TWO)[:3]) for _ in range(2))
    assert len({each.name for each in one}) == len(one) == 4
    for a, b in zip(one, two, strict=True):
        png, svg = a.render(".png"), a.render(".svg")
        assert (b.render(".svg"), b.render(".png")) == (svg, png)


def test_what_has_no_room_would_be_caught(monkeypatch) -> None:
    assert overlapping(_drawn(TWO)) == []
    monkeypatch.setattr(layout, "_room", lambda *_: layout._Room(0.0, 0.0, 0.0, 0.0))
    assert overlapping(_drawn(TWO)) != []


def test_nothing_runs_out_of_a_figure_however_long_its_labels() -> None:
    words = [f"dreg-cv:alpha=0.171798{i},beta=0.6998072,gamma=0.123456789,delta=0.98765" for i in range(12)]
    rows = [
        run_row(seed, estimator=word, objective="vr-iwae:alpha=0.3333333", k=2**i)
        for i, word in enumerate(words)
        for seed in range(2)
    ]
    for drawn in draw_all(*grouped(rows)[:3]):
        assert not touched(drawn.render(".png")), drawn.name
        assert overlapping(drawn) == [], drawn.name
        width, height = drawn.figure.get_size_inches()
        assert width == pytest.approx(Sheet().width)
        assert height < 12

"""Figures of evaluations, gradients, latents, one run's results and pictures, read back from their artists."""

import base64
import io
import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

from dregcli.names import Network
from dregcli.report.aggregate import Aggregate
from dregcli.report.drawn import Drawn
from dregcli.report.figures.active import active_figure
from dregcli.report.figures.bounds import bound_figure
from dregcli.report.figures.draw import draw_all
from dregcli.report.figures.k_curve import k_curve_figure
from dregcli.report.figures.members import choose
from dregcli.report.figures.of_runs import bias_figures, variance_figures
from dregcli.report.figures.paper import paper_figure
from dregcli.report.figures.pictures import Picture, picture_figures
from dregcli.report.figures.setting import setting_figures
from dregcli.report.figures.sheet import COLUMN_MM, MM, PAGE, Sheet
from dregcli.report.figures.tracked import tracked_figure
from dregcli.report.groups import RunRow
from dregcli.report.papers.outcome import Drawing, Line, Point
from dregcli.report.papers.tables import panel_table
from tests.support.artists import bands, ends, legend, line, overlapping, pixels, touched, unwrapped, xy
from tests.support.report_rows import STEPS, grouped, run_row


def evaluation(values: dict[int, float], **changes: Any) -> dict[str, Any]:
    """As ``dreg eval`` keeps it."""
    curve = [
        {"k": k, "value": value, "stderr": 0.3, "jackknife": {"value": value + 0.2, "stderr": 0.3} if k > 1 else None}
        for k, value in values.items()
    ]
    base = {"checkpoint": 1000, "split": "test", "seed": 0, "n": 100, "k": max(values), "value": values[max(values)]}
    return base | {"split_hash": "t", "curve": curve, "active_units": 3, "active_threshold": 0.01} | changes


CURVES = [{1: -92.0 - i, 10: -90.0 - 2 * i, 100: -89.0} for i in range(3)]


def test_a_setting_with_three_numbers_has_a_figure_with_a_line_for_each_estimator() -> None:
    rates = (1e-3, 3e-4, 1e-4)
    rows = [
        run_row(seed, bound=-90.0 - i - seed, lr=lr, estimator=estimator)
        for estimator in ("dreg", "stl")
        for i, lr in enumerate(rates)
        for seed in range(3)
    ]
    (drawn,) = setting_figures(*grouped(rows)[:2], Sheet())
    assert drawn.name == "by-lr"
    assert "iwae/stl from -93.00 at 0.0001 to -91.00 at 0.001, the highest -91.00 at 0.001" in drawn.alt
    (axes,) = drawn.figure.axes
    assert legend(drawn) == ["iwae/dreg", "iwae/stl"]
    for bold, _, _ in (each.lines for each in axes.containers):
        assert xy(bold)[0].tolist() == sorted(rates)
        assert xy(bold)[1] == pytest.approx([-93.0, -92.0, -91.0])
    assert axes.get_xscale() == "log"
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0.0001", "0.0003", "0.001"]
    # Two values, other words than numbers, and bounds of unlike K have none.
    assert setting_figures(*grouped([row for row in rows if row.spec["lr"] > 1e-4])[:2], Sheet()) == []
    assert setting_figures(*grouped([run_row(0, k=k) for k in (2, 4, 8)])[:2], Sheet()) == []
    several = [run_row(0, optimizer=word) for word in ("adam", "sgd", "adamw")]
    assert setting_figures(*grouped(several)[:2], Sheet()) == []


BATCHES = (16, 32, 64)


def by_batch(*words: str, **changes: Any) -> list[RunRow]:
    return [
        run_row(0, estimator=word, batch_size=batch, bound=-float(batch), **changes)
        for word in words
        for batch in BATCHES
    ]


def test_a_line_has_no_name_of_one_of_its_points() -> None:
    """Short names, letters and names by the user, all of which may hold the setting on the axis."""
    usual = [run_row(0, estimator=word, batch_size=64, lr=0.5) for word in ("dreg", "stl")]
    short = [*by_batch("dreg", "stl", objective="vr-iwae:alpha=0.31"), *usual]
    long = by_batch("dreg-cv:alpha=0.1717,beta=0.25", "dreg-cv:alpha=0.3,beta=0.25", lr=0.25)
    for rows, names in (
        (short, ["vr-iwae:alpha=0.31/dreg", "vr-iwae:alpha=0.31/stl"]),
        (long, ["dreg-cv:alpha=0.172,beta=0.25", "dreg-cv:alpha=0.3,beta=0.25"]),
    ):
        groups, labels = grouped(rows)[:2]
        (drawn,) = (each for each in setting_figures(groups, labels, Sheet()) if each.name == "by-batch-size")
        assert legend(drawn) == names
        assert ("names are those of lines" in drawn.caption) == (rows is long), "not where groups' names do"
    assert {label[-2:] for label in labels.values()} == {f" {letter}" for letter in "ABCDEF"}
    assert "The objective of all groups is iwae." in drawn.caption
    groups, labels = grouped(short)[:2]
    mine = {key: label.replace("vr-iwae:alpha=0.31/dreg", "ours") for key, label in labels.items()}
    assert "ours B=16" in mine.values()
    (drawn,) = (each for each in setting_figures(groups, mine, Sheet()) if each.name == "by-batch-size")
    assert legend(drawn) == ["ours", "vr-iwae:alpha=0.31/stl"]


def test_a_figure_by_a_setting_has_all_groups_and_of_many_lines_the_highest() -> None:
    rates = [10.0**-i for i in range(1, 8)]
    words = ("dreg", "stl", "reparam")
    rows = [run_row(0, estimator=e, lr=lr, bound=-10.0 * i - lr) for i, e in enumerate(words) for lr in rates]
    (drawn,) = (each for each in draw_all(*grouped(rows)[:3]) if each.name == "by-lr")
    lines = [container.lines[0] for container in drawn.figure.axes[0].containers]
    assert [len(xy(each)[0]) for each in lines] == [7, 7, 7], "21 groups, more than other figures have"
    assert (drawn.title, legend(drawn)) == ("Bound against lr", [f"iwae/{word}" for word in words])
    many = [run_row(0, lr=lr, grad_clip=1.0 + i, bound=-float(i)) for i in (13, *range(13)) for lr in rates[:3]]
    many += [run_row(0, lr=lr, k=8) for lr in rates[:3]]
    (drawn,) = (each for each in setting_figures(*grouped(many)[:2], Sheet()) if each.name == "by-lr")
    assert "the highest 12 of 14 lines" in drawn.title
    assert [xy(each.lines[0])[1][0] for each in drawn.figure.axes[0].containers] == [-float(i) for i in range(12)]
    assert "Not drawn: 1 line of another split, K or number of examples." in drawn.caption, "at another K"


def test_the_k_curve_has_means_standard_errors_and_the_jackknife_dashed() -> None:
    rows = [run_row(seed, evals=[evaluation(values)]) for seed, values in enumerate(CURVES)]
    drawn = k_curve_figure(grouped(rows)[3])
    assert drawn is not None
    (axes,) = drawn.figure.axes
    assert legend(drawn) == ["iwae/dreg (3 seeds)"]
    (container,) = axes.containers
    bold, _, (bars,) = container.lines
    assert xy(bold)[0].tolist() == [1, 10, 100]
    assert xy(bold)[1] == pytest.approx([-93.0, -92.0, -89.0])
    half = [np.ptp(segment[:, 1]) / 2 for segment in bars.get_segments()]
    assert half == pytest.approx([1.0 / math.sqrt(3), 2.0 / math.sqrt(3), 0.0])
    jackknife = line(axes, "_jackknife iwae/dreg (3 seeds)")
    assert jackknife.get_linestyle() == "--"
    assert xy(jackknife)[0].tolist() == [10, 100], "of one sample there is none"
    assert xy(jackknife)[1] == pytest.approx([-91.8, -88.8])
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "10", "100"]
    assert "nats per example (larger is better)" in unwrapped(axes.get_ylabel())
    assert "100 examples" in axes.get_title()
    assert "-93.00 at K=1 to -89.00 (s.e. 0.00) at K=100" in drawn.alt
    broken = [rows[0], replace(rows[1], evals=[evaluation(CURVES[1] | {1: -math.inf})])]
    drawn = k_curve_figure(grouped(broken)[3])
    assert drawn is not None
    bold = drawn.figure.axes[0].containers[0].lines[0]
    assert [each.tolist() for each in xy(bold)] == [[10, 100], [-91.0, -89.0]], "every point is over the same seeds"


def test_a_single_seeds_bars_are_over_examples() -> None:
    drawn = k_curve_figure(grouped([run_row(0, evals=[evaluation(CURVES[0])])])[3])
    assert drawn is not None
    (container,) = drawn.figure.axes[0].containers
    _, _, (bars,) = container.lines
    assert [np.ptp(segment[:, 1]) / 2 for segment in bars.get_segments()] == pytest.approx([0.3] * 3)
    assert legend(drawn) == ["iwae/dreg (1 seed)"]


def test_only_alike_evaluations_of_the_last_step_share_an_axis_and_the_newest_counts() -> None:
    old = evaluation({1: -70.0, 10: -60.0})
    of_other_step = evaluation({1: -50.0, 10: -40.0}, checkpoint=500)
    fewer = evaluation({1: -30.0, 10: -20.0}, n=10)
    rows = [
        run_row(0, evals=[old, of_other_step, evaluation(CURVES[0])]),
        run_row(0, estimator="stl", evals=[fewer, evaluation(CURVES[1])]),
    ]
    drawn = k_curve_figure(grouped(rows)[3])
    assert drawn is not None
    shown = {unwrapped(axes.get_title()): axes for axes in drawn.figure.axes}
    assert [*shown] == ["test, 100 examples, evaluation seed 0", "test, 10 examples, evaluation seed 0"]
    first, second = shown.values()
    assert [xy(container.lines[0])[1].tolist() for container in first.containers] == [
        [-92.0, -90.0, -89.0],
        [-93.0, -92.0, -89.0],
    ]
    assert [xy(container.lines[0])[1].tolist() for container in second.containers] == [[-30.0, -20.0]]
    assert k_curve_figure(grouped([run_row(0, evals=[evaluation({5: -1.0})]), run_row(0, k=8)])[3]) is None


def tracking(seed: int) -> dict[str, dict[str, np.ndarray]]:
    noise = np.random.default_rng([5, seed])
    columns: dict[str, np.ndarray] = {"step": STEPS, "tracked_window": np.full(len(STEPS), 50.0)}
    model = 1.0 + 0.1 * noise.random(len(STEPS))
    for word, size in (("stl", 1.0), ("dreg-alpha:alpha=0.9", 2.0)):
        for network, values in (("posterior", size * (1.0 + 0.1 * noise.random(len(STEPS)))), ("model", model)):
            for statistic in ("variance", "snr"):
                columns[f"{word}.{network}_{statistic}"] = np.full(len(STEPS), 1e6)
                columns[f"{word}.{network}_{statistic}_window"] = values
        columns[f"{word}.posterior_variance_window"][2] = math.nan  # of one step: no variance
    return {"train": columns}


def test_tracked_gradients_are_means_over_seeds_of_windows_with_the_floor_of_noise() -> None:
    rows = [run_row(seed, metrics=tracking(seed)) for seed in range(3)]
    drawn = tracked_figure(grouped(rows)[3], Network.ENCODER)
    assert drawn is not None
    variance, snr = drawn.figure.axes
    assert legend(drawn) == ["stl", "dreg-alpha:alpha=0.9"]
    x, y = xy(line(variance, "dreg-alpha:alpha=0.9"))
    values = np.stack([row.metrics["train"]["dreg-alpha:alpha=0.9.posterior_variance_window"] for row in rows])
    kept = np.isfinite(values).all(axis=0)
    assert x.tolist() == STEPS[kept].tolist()
    assert y == pytest.approx(values[:, kept].mean(axis=0))
    _, low, high = ends(bands(variance)["dreg-alpha:alpha=0.9"])
    assert (low + high) / 2 == pytest.approx(y)
    assert xy(line(snr, "_floor"))[1] == pytest.approx([math.sqrt(2 / (math.pi * 50))] * 2)
    assert variance.get_yscale() == snr.get_yscale() == "log"
    assert variance.get_ylabel() == "gradient variance"
    assert "squared nats per squared unit" in drawn.caption
    assert snr.get_xlabel() == "optimisation steps"
    assert variance.get_ylim()[1] < 10.0, "moving averages are not drawn where there are windows"


def test_windows_of_another_length_are_not_averaged_with_the_others() -> None:
    """As in the tables: the SNR of noise depends on the length of the windows."""
    few = tracking(2)
    few["train"]["tracked_window"] = np.full(len(STEPS), 2.0)
    few["train"]["stl.posterior_snr_window"] = np.full(len(STEPS), 9.0)
    rows = [*(run_row(seed, metrics=tracking(seed)) for seed in range(2)), run_row(2, metrics=few)]
    groups, _, _, chosen = grouped(rows)
    drawn = tracked_figure(chosen, Network.ENCODER)
    assert drawn is not None
    _, y = xy(line(drawn.figure.axes[1], "stl"))
    alike = np.mean([row.metrics["train"]["stl.posterior_snr_window"] for row in rows[:2]], axis=0)
    assert y == pytest.approx(alike[np.isfinite(alike)])
    assert y[-3:].mean() == pytest.approx(groups[0].tracked()["stl"]["posterior_snr_window"].mean, rel=0.05)


def test_equal_gradients_of_the_decoder_are_one_curve() -> None:
    rows = [run_row(seed, metrics=tracking(seed)) for seed in range(2)]
    drawn = tracked_figure(grouped(rows)[3], Network.DECODER)
    assert drawn is not None
    assert legend(drawn) == ["stl = dreg-alpha:alpha=0.9"]


def test_runs_with_windows_of_one_step_have_their_moving_averages() -> None:
    names = ("stl.posterior_variance", "stl.posterior_snr")
    columns = (
        {"step": STEPS, "tracked_window": np.ones(len(STEPS))}
        | {name: np.full(len(STEPS), 3.0) for name in names}
        | {f"{name}_window": np.full(len(STEPS), np.nan) for name in names}
        | {"a.posterior_snr": 0.0 * STEPS + 0.1}
    )
    drawn = tracked_figure(grouped([run_row(0, metrics={"train": columns})])[3], Network.ENCODER)
    assert drawn is not None
    assert set(xy(line(drawn.figure.axes[0], "stl"))[1]) == {3.0}
    assert "snr of stl 3.00" in drawn.alt
    assert "snr of a at the floor" in drawn.alt
    assert tracked_figure(grouped([run_row(0)])[3], Network.ENCODER) is None


def test_of_many_groups_that_tracked_three_are_drawn_and_the_title_says_so() -> None:
    rows = [run_row(0, metrics=tracking(0), k=2**i) for i in range(6)]
    drawn = tracked_figure(grouped(rows)[3], Network.ENCODER)
    assert drawn is not None
    assert len(drawn.figure.axes) == 6
    assert "3 of 6 groups" in drawn.title


def active_faults(found: dict[int, np.ndarray], drawn: Any, threshold: float = 0.01) -> list[str]:
    """Every way in which sorted variances, threshold or counts are not those of the runs."""
    (axes,) = drawn.figure.axes
    faults = []
    values = np.stack([sorted(each, reverse=True) for each in found.values()])
    (label,) = legend(drawn)
    if not np.array_equal(xy(line(axes, label))[1], values.mean(axis=0)):
        faults.append("variance")
    at, low, high = ends(bands(axes)[label])
    if at.tolist() != [1, 2, 3, 4] or [*low[:3], *high] != [*values.min(axis=0)[:3], *values.max(axis=0)]:
        faults.append("range")
    counts = [sum(v > threshold for v in each) for each in found.values()]
    told = f"{np.mean(counts):.1f} of 4 active ({min(counts)} to {max(counts)} over {len(counts)} seeds)"
    if label != f"iwae/dreg: {told}":
        faults.append("count")
    if set(xy(line(axes, "_threshold"))[1]) != {threshold}:
        faults.append("threshold")
    return faults


LATENTS = {
    0: np.array([0.5, 0.0, 0.02, 0.009]),
    1: np.array([0.011, 0.7, 0.02, 0.1]),
}


def test_active_units_are_sorted_variances_with_the_threshold_and_the_number_above_it() -> None:
    chosen = grouped([run_row(seed, evals=[evaluation(CURVES[0])]) for seed in LATENTS])[3]
    drawn = active_figure(chosen, lambda row, _: LATENTS[row.seed])
    assert active_faults(LATENTS, drawn) == []
    assert drawn is not None
    assert drawn.figure.axes[0].get_yscale() == "log"
    wrong = active_faults(LATENTS, drawn, 0.005)
    assert {"count", "threshold"} <= set(wrong), "a wrong threshold would be caught"
    assert active_figure(chosen, lambda _, __: None) is None


def test_active_units_are_of_one_kind_of_evaluation() -> None:
    """The one that most runs have; of the test split or of more examples, another may be the best of a single run."""
    usual = evaluation(CURVES[0], split="valid")
    others = [
        {"n": 100}, {"split": "valid", "n": 5000}, {"split": "valid", "seed": 9}, {"split": "valid"},
        {"split": "valid", "active_threshold": 0.5}, {"split": "valid", "checkpoint": 500},
    ]  # fmt: skip
    unlike = [evaluation(CURVES[0], k=8, **changes) for changes in others]
    rows = [
        run_row(0, evals=[evaluation(CURVES[0], split="valid", value=-1.0), usual, unlike[0], unlike[1]]),
        run_row(1, evals=[usual, unlike[2], unlike[5]]),
        run_row(2, evals=[unlike[4]]),
        run_row(0, estimator="stl", evals=[unlike[1]]),
        run_row(0, estimator="reparam", evals=[unlike[3]]),
        run_row(0, lr=0.5),
    ]
    drawn = active_figure(
        grouped(rows)[3], lambda row, attrs: LATENTS[row.seed] if attrs in (usual, unlike[3]) else np.zeros(4)
    )
    assert drawn is not None
    first, second = legend(drawn)
    assert "2 of 3 seeds" in first
    assert first.endswith(": 3.0 of 4 active (2 to 4 over 2 seeds)")
    assert second.endswith(": 2 of 4 active")
    assert drawn.caption.startswith("Evaluations of valid, 100 examples, evaluation seed 0. ")
    assert re.search(r"Not drawn, because they lack this evaluation: iwae/stl[^,]*\.$", drawn.caption)
    assert "valid, 100 examples, evaluation seed 0; active above 0.01" in drawn.alt


def check(written: str, t: float) -> dict[str, Any]:
    """A bias check's attributes, as ``app.bias_report`` keeps them."""
    words = ["iwae/stl", "iwae/dreg-cv:alpha=0.171,beta=0.7"]
    return {
        "written": written,
        "settings": {
            "k": 64,
            "checkpoint": 1000,
            "backward": "dense",
            "learned": ["dreg-cv:alpha=0.171,beta=0.7"],
            "fixed": [],
        },
        "blocks": ["encoder.0.weight", "encoder.0.bias"],
        "tested": words,
        "results": [
            {"objective": "iwae", "estimator": "reparam", "verdict": "identical", "t": None},
            *(
                {"objective": "iwae", "estimator": word.partition("/")[2], "verdict": verdict}
                for word, verdict in zip(words, ("biased", "unbiased"), strict=True)
            ),
        ],
        "statistics": [
            {"t_blocks": {"encoder.0.weight": t, "encoder.0.bias": 0.5}, "critical_t": 4.5},
            {"t_blocks": {"encoder.0.weight": 1.0}, "critical_t": 4.5},
        ],
    }


def test_the_newest_bias_check_of_a_group_is_drawn() -> None:
    rows = [
        run_row(0, bias=[check("2026-01-02", 8.0)]),
        run_row(1, bias=[check("2026-01-01", 6.0), check("2026-01-03", 7.5)]),
        run_row(0, estimator="stl"),
    ]
    (drawn,) = bias_figures(grouped(rows)[3])
    assert drawn.name == "bias-check-1"
    assert "iwae-dreg/v002" in drawn.title
    (axes,) = drawn.figure.axes
    assert [text.get_text() for text in axes.get_yticklabels()] == [
        "iwae/stl: biased",
        "iwae/dreg-cv (learned): unbiased",
    ]
    assert [text.get_text() for text in axes.texts] == ["7.5", "0.5", "1.0", "="]
    assert "iwae/stl: biased, largest |t| of a block 7.5 (critical 4.5)" in drawn.alt


def measured(replicates: int = 100) -> dict[str, Any]:
    """A measurement's attributes, as ``app.variance_report`` keeps them."""
    names = ("variance", "snr", "dsnr", "cosine", "dsnr_floor")
    return {
        "written": "2026-01-01",
        "checkpoint": 1000,
        "floor": 0.08,
        "settings": {"replicates": replicates, "seed": 0, "learned": [], "fixed": []},
        "slopes": [
            {"objective": "iwae", "estimator": "dreg", "network": "encoder", "statistic": "variance", "value": -1.0},
            {"objective": "iwae", "estimator": "dreg", "network": "encoder", "statistic": "snr", "value": None},
        ],
        "results": [
            {
                "objective": "iwae",
                "estimator": estimator,
                "network": network,
                "k": k,
                **{name: {"value": value / k, "stderr": None if k == 1 else 0.1 / k} for name in names},
            }
            for estimator, network, value in (("dreg", "encoder", 2.0), (None, "decoder", 3.0))
            for k in (1, 4, 16)
        ],
    }


def test_gradients_by_k_are_those_that_dreg_variance_kept() -> None:
    (drawn,) = variance_figures(grouped([run_row(0, variance=[measured()])])[3])
    assert drawn.name == "gradients-by-k-1"
    panels = {axes.get_title(): axes for axes in drawn.figure.axes}
    encoder, _ = panels["variance"].containers
    assert [each.tolist() for each in xy(encoder.lines[0])] == [[1, 4, 16], [2.0, 0.5, 0.125]]
    _, decoder = panels["SNR"].containers
    assert xy(decoder.lines[0])[1].tolist() == [3.0, 0.75, 0.1875]
    assert [text.get_text() for text in panels["variance"].texts] == ["dreg (-1.00)", "decoder"]


def test_the_words_of_a_published_figure_call_noise_what_the_table_calls_it() -> None:
    lines = tuple(
        Line(word, (Point(4.0, Aggregate(snr, None, None, 1)),)) for word, snr in (("a", 0.026), ("b", 3.0))
    )
    drawing = Drawing("SNR", "K", "SNR", along=False, is_log=True, lines=lines, floor=0.025)
    drawn = paper_figure("name", "Title", [drawing], "")
    assert drawn.alt == "Title. SNR, a: at the floor; SNR, b: 3."
    assert [row[1].text for row in panel_table(drawing).rows] == ["at the floor", "3"]


def test_each_kind_of_a_learned_priors_gradient_is_a_curve_of_its_own() -> None:
    found = measured()
    decoder = [each for each in found["results"] if each["network"] == "decoder"]
    for times, kind in enumerate(("score", "blend"), start=2):
        whose = {"network": "prior", "prior_gradient": kind}
        found["results"] += [
            each | whose | {"variance": {"value": times / each["k"], "stderr": 0.1}} for each in decoder
        ]
    whose = {"network": "prior", "prior_gradient": "blend", "objective": "iwae", "estimator": None}
    found["slopes"].append({**whose, "statistic": "variance", "value": -1.5})
    (drawn,) = variance_figures(grouped([run_row(0, variance=[found])])[3])
    (axes, *_) = drawn.figure.axes
    assert [text.get_text() for text in axes.texts] == [
        "dreg (-1.00)",
        "decoder",
        "prior, score",
        "prior, blend (-1.50)",
    ]
    assert len({container.lines[0].get_color() for container in axes.containers}) == 4
    assert "Half-filled markers: the gradient of the learned prior's parameters" in drawn.caption
    assert "prior iwae/blend at K=16" in drawn.alt


def test_of_many_groups_with_results_four_are_drawn() -> None:
    rows = [run_row(0, k=2**i, bias=[check("2026", 5.0)]) for i in range(6)]
    found = bias_figures(grouped(rows)[3])
    assert [each.name for each in found] == [f"bias-check-{i}" for i in range(1, 5)]
    assert all("4 of 6 groups" in each.alt for each in found)


def grid(seed: int, height: int = 90, width: int = 120) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def embedded(drawn: Any) -> list[np.ndarray]:
    """The images inside the SVG."""
    kept = re.findall(rb'href="data:image/png;base64,\s*([^"]*)"', drawn.render(".svg"))
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(each))).convert("RGB")) for each in kept]


def same(a: np.ndarray, b: np.ndarray) -> bool:
    return np.array_equal(a, b) or np.array_equal(a[::-1], b)


def shown_at_its_place(drawn: Any, images: list[np.ndarray]) -> bool:
    """Whether each picture fills its axes in the PNG, as far as scaling leaves it."""
    png = np.round(255 * pixels(drawn.render(".png"))).astype(np.uint8)
    height, width = png.shape[:2]
    for axes, image in zip(drawn.figure.axes, images, strict=True):
        box = axes.get_position()
        part = png[
            round(height * (1 - box.y1)) : round(height * (1 - box.y0)), round(width * box.x0) : round(width * box.x1)
        ]
        small = np.asarray(Image.fromarray(part).resize(image.shape[1::-1], Image.Resampling.BOX))
        if np.abs(small.astype(float) - image).mean() > 20.0:
            return False
    return True


@pytest.mark.parametrize("count", [1, 2])
def test_pictures_are_shown_with_their_own_pixels_in_frames_of_one_size(count: int) -> None:
    images = [np.kron(grid(i, 9, 12), np.ones((10, 10, 1), np.uint8)) for i in range(count)]
    rows = [run_row(0, k=2**i) for i in range(count)]
    of = {row.spec["k"]: Picture(row.label, image) for row, image in zip(rows, images, strict=True)}
    (drawn,) = picture_figures(grouped(rows)[3], "samples", lambda row, _: of[row.spec["k"]])
    assert shown_at_its_place(drawn, images)
    assert not shown_at_its_place(drawn, [np.roll(image, 5, axis=1) for image in images]), "shifted"
    inside = embedded(drawn)
    assert len(inside) == count
    assert all(same(a, b) for a, b in zip(inside, images, strict=True))
    assert len({(axes.get_position().width, axes.get_position().height) for axes in drawn.figure.axes}) == 1
    assert all(row.label in drawn.alt for row in rows)


def test_one_run_a_group_the_first_that_has_one_and_at_most_four_groups() -> None:
    rows = [run_row(seed, k=2**i) for i in range(5) for seed in range(3)]
    asked: list[tuple[int, int]] = []

    def of(row, kind) -> Picture | None:
        asked.append((row.spec["k"], row.seed))
        return Picture(row.label, grid(0)) if row.seed == 1 else None

    drawn = picture_figures(grouped(rows)[3], "samples", of)
    assert [each.name for each in drawn] == ["samples-1", "samples-2"]
    assert all("4 of 5 groups" in each.title for each in drawn)
    assert [[axes.get_label() for axes in each.figure.axes] for each in drawn] == [["iwae-dreg/v002"] * 2] * 2
    assert (1, 2) not in asked


def every_kind(long: bool = False) -> list[RunRow]:
    """Runs with results for every kind of figure, of two groups."""
    words = ("dreg-cv:alpha=0.171,beta=0.699", "stl") if long else ("dreg", "stl")
    rows = [
        replace(
            run_row(seed, estimator=word, evals=[evaluation(CURVES[seed])], bias=[check("2026", 5.0)]),
            variance=[measured()],
        )
        for word in words
        for seed in range(2)
    ]
    return [
        replace(row, metrics={**row.metrics, "train": row.metrics["train"] | tracking(0)["train"]}) for row in rows
    ]


def drawn_at(rows: list[RunRow], sheet: Sheet) -> list[Drawn]:
    return draw_all(
        *grouped(rows)[:3],
        sheet=sheet,
        variances=lambda row, _: LATENTS[row.seed],
        picture=lambda row, _: Picture(row.label, grid(0)),
    )


def test_all_kinds_together_have_names_of_their_own_and_stay_small() -> None:
    figures = drawn_at(every_kind(), Sheet())
    names = [each.name for each in figures]
    assert names == [
        "final-bounds",
        "bound-steps",
        "bound-seconds",
        "generalisation-gap",
        "k-curve",
        "active-units",
        "gradients-encoder",
        "gradients-decoder",
        "gradients-by-k-1",
        "gradients-by-k-2",
        "bias-check-1",
        "bias-check-2",
        "samples-1",
        "reconstructions-1",
        "reconstructions-layers-1",
    ]
    for each in figures:
        assert len(each.render(".svg")) < 300_000, each.name
        assert not touched(each.render(".png")), each.name
        assert len(each.alt) > 40


@pytest.mark.parametrize(
    ("sheet", "long"),
    [
        (Sheet(COLUMN_MM / MM, section="mnist, structured"), True),
        (PAGE, False),
        (Sheet(COLUMN_MM / MM, font=7.0, caption=False), False),
    ],
    ids=["column", "page", "bare"],
)
def test_no_words_overlap_at_any_width(sheet: Sheet, long: bool) -> None:
    for each in drawn_at(every_kind(long), sheet):
        assert overlapping(each) == [], each.name
        assert each.figure.get_size_inches()[0] == pytest.approx(sheet.width)
        sizes = {text.get_fontsize() for text in each.figure.findobj(Text) if text.get_text()}
        assert max(sizes) <= 1.2 * sheet.points
        assert min(sizes) >= 0.8 * sheet.points, "all words have the sheet's size"


def test_without_a_caption_there_is_no_title_either_and_both_can_be_had_as_words() -> None:
    chosen = [choose(*grouped(every_kind())[:3], Sheet(caption=caption)) for caption in (False, True)]
    bare, whole = ([bound_figure(each, "step"), *bias_figures(each)[:1]] for each in chosen)
    for one, two in zip(bare, whole, strict=True):
        assert one is not None
        assert two is not None
        words = {unwrapped(text.get_text()) for text in one.figure.findobj(Text)}
        assert unwrapped(one.title) not in words
        assert unwrapped(one.caption) not in words
        assert (one.title, one.caption, one.alt) == (two.title, two.caption, two.alt)
        assert len(one.caption) > 40
        assert one.figure.get_size_inches()[1] < two.figure.get_size_inches()[1]

"""``dreg report --figures`` as a user sees it."""

import base64
import io
import math
import re
from pathlib import Path

import numpy as np
import pytest

from dregcli.app.reporting import figures
from dregcli.app.reporting.report import make_report
from dregcli.store.runs import RunStore
from tests.support.cli import SMALL, run
from tests.support.listener import Recorder
from tests.support.store_faults import flip
from tests.support.store_study import add_eval, add_run, add_study

KINDS = ["final-bounds", "bound-steps", "bound-seconds", "generalisation-gap"]


@pytest.fixture
def study(tmp_path: Path) -> None:
    for each in add_study(tmp_path / "runs", estimators={"dreg": -89.0, "stl": -90.0}, seeds=range(3)):
        # An example without a finite bound has no ESS: NaN, which is not even equal to itself.
        add_eval(each, each.info().summary["bound"]["test"] + 1.0, ess=math.nan)


@pytest.mark.usefixtures("study")
def test_every_figure_is_written_as_png_svg_and_pdf_and_listed(capsys, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "pictures"
    outcome = run(capsys, "report", "--figures", folder, "--json")
    assert outcome.code == 0, outcome.err
    listed = outcome.json["figures"]
    assert [each["name"] for each in listed] == [*KINDS, "k-curve", "active-units"]
    for each in listed:
        assert Path(each["png"]) == folder / f"{each['name']}.png"
        assert Path(each["png"]).read_bytes().startswith(b"\x89PNG")
        assert b"<svg" in Path(each["svg"]).read_bytes()
        assert Path(each["pdf"]).read_bytes().startswith(b"%PDF")
        assert each["title"]
        assert each["caption"]
        assert len(each["alt"]) > 40
    assert len(list(folder.glob("[!.]*"))) == 3 * len(listed)
    assert len(outcome.json["groups"]) == 2
    assert run(capsys, "report", "--json").json["figures"] == []


def test_earlier_figures_are_replaced_by_those_of_the_size_that_was_asked_for(
    capsys, monkeypatch, tmp_path: Path
) -> None:
    from PIL import Image

    every = figures.draw_report

    def two(*of: object) -> list[figures.Drawn]:
        return [each for each in every(*of) if each.name in ("bound-steps", "bound-seconds")]

    monkeypatch.setattr(figures, "draw_report", two)
    add_run(tmp_path / "runs")
    folder = tmp_path / "pictures"
    assert run(capsys, "report", "--figures", folder, "--dpi", 40).code == 0
    before = {path.name: path.read_bytes() for path in folder.glob("[!.]*")}
    (folder / "bound-seconds.svg").write_bytes(b"edited")
    options = ("--width-inches", 3.25, "--dpi", 100, "--font-size", 6.5, "--no-caption")
    text = run(capsys, "report", "--figures", folder, *options)
    assert f"wrote {folder / 'bound-steps.png'} (also .svg and .pdf)" in text.err
    after = {path.name: path.read_bytes() for path in folder.glob("[!.]*")}
    assert after.keys() - before.keys() == {f"bound-seconds-2.{suffix}" for suffix in ("png", "svg", "pdf")}
    assert after["bound-seconds.svg"] == b"edited"
    assert after["bound-steps.pdf"] != before["bound-steps.pdf"]
    with Image.open(folder / "bound-steps.png") as image:
        assert image.width == 325
    assert b'width="234pt"' in after["bound-steps.svg"]


def test_sizes_that_no_figure_can_have_are_refused_at_once(capsys, tmp_path: Path) -> None:
    add_run(tmp_path / "runs")
    wrong = ("--width-inches", 1, "--dpi", 10, "--font-size", 99)
    refused = run(capsys, "report", "--figures", tmp_path / "others", *wrong)
    assert refused.code == 2
    for said in ("width-inches: must be from 2 to 40, got 1", "dpi: must be from 20", "font-size: must be from 4"):
        assert said in refused.err
    assert not (tmp_path / "others").exists()


@pytest.mark.parametrize(
    "option", [("--dpi", 100), ("--width-inches", 3.3), ("--font-size", 8), ("--no-caption",)], ids=str
)
def test_the_form_of_figures_needs_figures(capsys, tmp_path: Path, option: tuple[object, ...]) -> None:
    refused = run(capsys, "report", "--html", tmp_path / "page.html", *option)
    assert refused.code == 2
    assert f"{str(option[0]).removeprefix('--')}: needs --figures FOLDER" in refused.err


def test_sections_have_figures_of_their_own_with_their_names(tmp_path: Path) -> None:
    for dataset, task in (("digits", "generative"), ("mnist", "generative"), ("mnist", "structured")):
        add_study(
            tmp_path / "runs", estimators={"dreg": -89.0}, seeds=range(1), dataset=dataset, task=task,
            data_checksum=dataset * 8,
        )  # fmt: skip
    found = figures.draw_report(make_report([], runs_dir=tmp_path / "runs"), Recorder(), figures.Sheet())
    assert [each.name for each in found] == [
        f"{section}-{kind}" for section in ("digits", "mnist", "mnist-structured") for kind in KINDS
    ]
    titles = {each.section: each.title for each in found}
    assert titles["mnist, structured"] == "mnist, structured: Generalisation gap"


@pytest.mark.usefixtures("study")
def test_a_folder_that_cannot_be_one(capsys, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    outcome = run(capsys, "report", "--figures", tmp_path / "file")
    assert outcome.code == 2
    assert "is not a folder: name another" in outcome.err
    assert (tmp_path / "file").read_text() == "mine"


def test_nothing_to_draw_is_told(capsys, tmp_path: Path) -> None:
    from dregcli.names import RunStatus

    add_run(tmp_path / "runs", status=RunStatus.FAILED)
    outcome = run(capsys, "report", "--figures", tmp_path / "pictures", "--json")
    assert outcome.code == 0
    assert outcome.json["figures"] == []
    assert "nothing to draw" in outcome.err
    assert not (tmp_path / "pictures").exists()


@pytest.fixture
def svg_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write no other kind of file, because a PDF takes a quarter of a second for its fonts."""
    monkeypatch.setattr(figures, "SUFFIXES", (".svg",))


@pytest.mark.usefixtures("svg_alone")
def test_what_real_commands_keep_is_drawn(capsys, ready, tmp_path: Path) -> None:
    """Every kind of figure, from the files of the commands themselves: their formats are read as they are written."""
    ready(*SMALL, "--track-estimators", "stl,reparam", "--eval-every", 10, name="t")
    few = ("--examples", 4, "--k", "1,4", "--reference-k", 16, "--replicates", 20)
    for command in (
        ("eval", "t", "--k", "1,4,16"),
        ("bias-check", "t", "--examples", 8, "--max-batches", 48, "--estimator", "stl", "--estimator", "dreg"),
        ("variance", "t", *few, "--estimator", "dreg", "--estimator", "reparam"),
        ("sample", "t", "--n", 16),
        ("sample", "t", "--n", 4),
    ):
        outcome = run(capsys, *command, "--quiet")
        assert outcome.code in (0, 1, 5), outcome.err
    found = run(capsys, "report", "t", "--figures", tmp_path / "pictures", "--json")
    assert found.code == 0, found.err
    names = [each["name"] for each in found.json["figures"]]
    assert names == [
        *KINDS,
        *("k-curve", "active-units", "gradients-encoder", "gradients-decoder"),
        *("gradients-by-k-1", "bias-check-1", "samples-1", "reconstructions-1"),
    ]
    alt = {each["name"]: each["alt"] for each in found.json["figures"]}
    assert "iwae/dreg at K=4: variance" in alt["gradients-by-k-1"]
    assert "iwae/stl: " in alt["bias-check-1"]
    assert "of 4 active" in alt["active-units"]


@pytest.mark.usefixtures("svg_alone")
def test_what_was_altered_is_left_out_and_told(capsys, ready, tmp_path: Path) -> None:
    ready(*SMALL, name="t")
    assert run(capsys, "sample", "t", "--n", 4).code == 0
    assert run(capsys, "sample", "t", "--n", 4).code == 0
    (trained,) = RunStore(tmp_path / "runs").resolve("t")
    picture = trained.path / "figures" / "samples-2.png"
    flip(picture, 200)
    outcome = run(capsys, "report", "t", "--figures", tmp_path / "pictures", "--json")
    assert outcome.code == 0
    assert "samples-1" not in [each["name"] for each in outcome.json["figures"]]
    assert "samples-2.png" in outcome.err
    assert "left out of the figures: t/v001" in outcome.err


@pytest.mark.usefixtures("svg_alone")
def test_the_newest_picture_is_shown(capsys, ready, tmp_path: Path, monkeypatch) -> None:
    from PIL import Image

    ready(*SMALL, name="t")
    for n in (4, 9, 16):
        assert run(capsys, "sample", "t", "--n", n, "--scale", 2).code == 0
    told = run(capsys, "report", "t", "--figures", tmp_path / "pictures", "--json").json
    (samples,) = [each for each in told["figures"] if each["name"] == "samples-1"]
    with Image.open(tmp_path / "runs/t/v001/figures/samples-3.png") as newest:
        expected = np.asarray(newest.convert("RGB"))
    (inside,) = re.findall(rb'href="data:image/png;base64,\s*([^"]*)"', Path(samples["svg"]).read_bytes())
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(inside))).convert("RGB"))
    assert np.array_equal(shown, expected) or np.array_equal(shown[::-1], expected)
    monkeypatch.setattr(figures, "LARGEST", 40)
    again = run(capsys, "report", "t", "--figures", tmp_path / "pictures", "--json").json
    (samples,) = [each for each in again["figures"] if each["name"] == "samples-1"]
    (inside,) = re.findall(rb'href="data:image/png;base64,\s*([^"]*)"', Path(samples["svg"]).read_bytes())
    assert max(Image.open(io.BytesIO(base64.b64decode(inside))).size) == 40, "a larger picture is made smaller"

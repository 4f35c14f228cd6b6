"""``dreg report --figures`` as a user sees it."""

from pathlib import Path

import numpy as np
import pytest

from dregcli.store.runs import RunStore
from tests.support.cli import SMALL, run
from tests.support.store_faults import flip
from tests.support.store_study import add_eval, add_run, add_study

KINDS = ["final-bounds", "bound-steps", "bound-seconds", "generalisation-gap"]


@pytest.fixture
def study(tmp_path: Path) -> None:
    for each in add_study(tmp_path / "runs", estimators={"dreg": -89.0, "stl": -90.0}, seeds=range(3)):
        add_eval(each, each.info().summary["bound"]["test"] + 1.0)


@pytest.mark.usefixtures("study")
def test_every_figure_is_written_as_png_and_svg_and_told(capsys, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "pictures"
    outcome = run(capsys, "report", "--figures", folder, "--json")
    assert outcome.code == 0, outcome.err
    told = outcome.json["figures"]
    assert [each["name"] for each in told] == [*KINDS, "k-curve", "active-units"]
    for each in told:
        assert Path(each["png"]) == folder / f"{each['name']}.png"
        assert Path(each["png"]).read_bytes().startswith(b"\x89PNG")
        assert b"<svg" in Path(each["svg"]).read_bytes()
        assert each["title"]
        assert len(each["alt"]) > 40
    assert len(list(folder.iterdir())) == 2 * len(told)
    assert len(outcome.json["groups"]) == 2
    text = run(capsys, "report", "--figures", folder)
    again = f"wrote {folder / 'bound-steps-2.png'} and {folder / 'bound-steps-2.svg'}"
    assert again in text.err, "nothing overwritten"
    for suffix in (".png", ".svg"):
        one, two = (folder / f"k-curve{number}{suffix}" for number in ("", "-2"))
        assert one.read_bytes() == two.read_bytes()
    assert run(capsys, "report", "--json").json["figures"] == []


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


def test_the_newest_picture_is_shown(capsys, ready, tmp_path: Path) -> None:
    from PIL import Image

    ready(*SMALL, name="t")
    for n in (4, 9, 16):
        assert run(capsys, "sample", "t", "--n", n, "--scale", 2).code == 0
    told = run(capsys, "report", "t", "--figures", tmp_path / "pictures", "--json").json
    (samples,) = [each for each in told["figures"] if each["name"] == "samples-1"]
    with Image.open(tmp_path / "runs/t/v001/figures/samples-3.png") as newest:
        size = newest.size
    with Image.open(samples["png"]) as image:
        shown = np.asarray(image.convert("RGB"))
    blue = (shown == np.round(255 * np.array([0.0, 0.447, 0.698]))).all(axis=2)
    rows, columns = (np.flatnonzero(blue.any(axis=axis)) for axis in (1, 0))
    assert (np.ptp(columns) + 1, np.ptp(rows) + 1) == size

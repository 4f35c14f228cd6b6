"""``dreg sample`` as a user sees it."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dregcli.app.sampling import pictures, sample
from dregcli.app.sampling.pictures import Look
from dregcli.store import documents
from dregcli.store.runs import RunStore
from tests.support.cli import SMALL, run

KINDS = ["samples", "reconstructions", "traversals"]


def _sampled(capsys, *options: object) -> dict:
    outcome = run(capsys, "sample", "t", "--json", *options)
    assert outcome.code == 0, outcome.err
    return outcome.json


def _contents(told: dict) -> dict[str, bytes]:
    return {each["kind"]: Path(each["file"]).read_bytes() for each in told["images"]}


def _array(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def test_pictures_are_kept_in_the_run_and_the_same_seed_gives_the_same_bytes(capsys, ready, tmp_path) -> None:
    ready(*SMALL, name="t")
    first = _sampled(capsys, "--n", 16)
    figures = tmp_path / "runs/t/v001/figures"
    assert [each["file"] for each in first["images"]] == [str(figures / f"{kind}.png") for kind in KINDS]
    assert (first["run"], first["checkpoint"], first["k"], first["seed"]) == (str(figures.parent), 20, 4, 0)
    assert [(each["rows"], each["columns"]) for each in first["images"]] == [(4, 4), (4, 4), (4, 10)]
    for each, content in zip(first["images"], _contents(first).values(), strict=True):
        assert list(_array(content).shape) == [*reversed(each["pixels"]), 3]
    variances = [each["variance"] for each in first["latents"]]
    assert sorted(each["index"] for each in first["latents"]) == [0, 1, 2, 3], "all there are, of fewer than ten"
    assert variances == sorted(variances, reverse=True)
    assert first["display"] == {"black": 0.0, "white": 1.0}
    again = _sampled(capsys, "--n", 16)
    assert _contents(again) == _contents(first)
    assert Path(again["images"][0]["file"]).name == "samples-2.png"
    assert run(capsys, "runs", "verify", "t").code == 0
    other = _contents(_sampled(capsys, "--n", 16, "--seed", 1))
    assert {kind: other[kind] == content for kind, content in _contents(first).items()} == {
        "samples": False,
        "reconstructions": False,
        "traversals": True,
    }
    few, many = _array(_contents(_sampled(capsys, "--n", 15))["samples"]), _array(_contents(first)["samples"])
    side = 8 * 8 + pictures.GAP
    same = (few == many).all(axis=2)
    assert not same[-side:, -side:].all(), "the last one is not among fewer"
    same[-side:, -side:] = True
    assert same.all()


def test_a_table_says_what_is_in_the_files(capsys, ready) -> None:
    ready(*SMALL, name="t")
    shown = run(capsys, "sample", "t", "--n", 4, "--k", 3, "--latents", 2, "--steps", 2, "--scale", 1)
    assert shown.code == 0, shown.err
    assert "the largest weight of 3 from q" in shown.out
    assert "-3 to 3 standard deviations of the prior" in shown.out
    assert "2 x 3" in shown.out
    assert "its only completed version" in shown.err


@pytest.mark.parametrize("task", ["structured", "structured-reference"])
def test_completions_keep_their_context(capsys, ready, task) -> None:
    ready(*SMALL, "--task", task, name="t")
    told = _sampled(capsys, "--n", 9, "--scale", 1)
    (samples, *_) = told["images"]
    assert (samples["rows"], samples["columns"]) == (3, 3)
    picture = _array(_contents(told)["samples"])
    step, gap = 8 + pictures.GAP, pictures.GAP
    right = 8 + 2 * gap + pictures.FAR
    picture = picture[-(3 * step + gap) :]  # labels stand above
    for row in range(3):
        top = gap + row * step + (4 if task == "structured-reference" else 0)
        contexts = [picture[top : top + 4, left : left + 8] for left in (gap, right + gap, right + gap + step)]
        assert set(np.unique(contexts[0])) == {0, 255}, "binary pixels"
        assert all(np.array_equal(each, contexts[0]) for each in contexts)


def test_real_values_are_shown_by_the_range_of_the_training_values(capsys, ready) -> None:
    ready(*SMALL, "--dataset", "linear-gaussian", name="t")
    display = _sampled(capsys)["display"]
    assert -10.0 < display["black"] < -1.0
    assert 1.0 < display["white"] < 10.0
    assert "white" in run(capsys, "sample", "t").out


def test_grey_levels_are_those_of_the_values() -> None:
    look = Look(1, 3, low=-1.0, high=3.0, scale=2)
    screen = look.screen(torch.tensor([[-2.0, 1.0, 3.0]]))
    assert screen.tolist() == [[[[0.0, 0.0, 0.5, 0.5, 1.0, 1.0]] * 2]]
    colour = pictures.plain_grid(screen, columns=1)[:, 0, 0]
    assert len(set(colour.tolist())) == 3, "what lies between is no grey"


def test_rows_and_columns_of_traversals_are_labelled_where_there_is_room() -> None:
    lead, images = torch.zeros(2, 1, 40, 40), torch.zeros(6, 1, 40, 40)
    heads = ["mean", "-3", "0", "+3"]

    def inked(heads: list[str], rows: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Columns with letters above the grid, and rows with letters left of it."""
        grid = pictures.led_rows(lead, images, columns=3, heads=heads, rows=rows).numpy()
        high, wide = 2 * 42 + 2, 4 * 42 + 4 + pictures.FAR
        above, beside = grid[:, :-high, -wide:].min(axis=(0, 1)) < 0.5, grid[:, -high:, :-wide].min(axis=(0, 2)) < 0.5
        return np.flatnonzero(above), np.flatnonzero(beside)

    def groups(found: np.ndarray) -> int:
        return 1 + int((np.diff(found) > 12).sum())

    columns, rows = inked(heads, ["z17", "z3"])
    assert groups(columns) == 4
    assert groups(rows) == 2
    assert groups(inked(["a label that is long", *heads[1:]], ["z1", "z2"])[0]) < 4, "labels do not cover each other"
    assert pictures.led_rows(lead, images, columns=3, heads=heads).shape[2] == 4 * 42 + 4 + pictures.FAR, "no margin"


@pytest.mark.parametrize(
    ("shape", "scale"), [((8, 8), 8), ((28, 28), 3), ((4, 5), 16), ((105, 105), 1), ((1, 784), 1)]
)
def test_small_images_are_enlarged(shape, scale) -> None:
    assert pictures.usual_scale(*shape) == scale


def test_all_that_cannot_be_is_told_at_once(capsys, ready, tmp_path) -> None:
    ready(*SMALL, name="t")
    wrong = {"n": 0, "k": 0, "latents": 5, "steps": 1, "seed": -1, "scale": 0, "split": "tset", "checkpoint": "new"}
    outcome = run(capsys, "sample", "t", *(word for name, value in wrong.items() for word in (f"--{name}", value)))
    assert outcome.code == 2
    assert all(f"{name}: " in outcome.err for name in wrong)
    assert "latents: must be at most the model's 4, got 5." in outcome.err
    for options, said in (
        (("--n", 1000), "n: needs 500 examples, but the test split has only 250"),
        (("--scale", 500), "scale: makes pictures of up to"),
    ):
        outcome = run(capsys, "sample", "t", *options)
        assert outcome.code == 2
        assert said in outcome.err
    assert not (tmp_path / "runs/t/v001/figures").exists()


def test_runs_and_checkpoints_that_are_not_there(capsys, ready, tmp_path) -> None:
    assert run(capsys, "sample", "nothing").code == 13
    ready(*SMALL, name="t")
    outcome = run(capsys, "sample", "t", "--checkpoint", 7)
    assert outcome.code == 13
    assert "7" in outcome.err
    (found,) = RunStore(tmp_path / "runs").resolve("t")
    (found.path / "checkpoints").rename(tmp_path / "elsewhere")
    outcome = run(capsys, "sample", "t")
    assert outcome.code == 13
    assert "has no checkpoint" in outcome.err


def test_images_that_are_not_finite_are_an_error_and_nothing_is_kept(capsys, ready, monkeypatch, tmp_path) -> None:
    ready(*SMALL, name="t")

    def broken(model, *_):
        model.decoder[-1].bias.data.fill_(torch.nan)

    monkeypatch.setattr(sample, "load_model", broken)
    outcome = run(capsys, "sample", "t")
    assert outcome.code == 21
    assert "images that are not finite" in outcome.err
    assert "checkpoint of step 20" in outcome.err
    assert not (tmp_path / "runs/t/v001/figures").exists()


@pytest.mark.parametrize("kind", ["binary", "real"])
def test_without_its_data_set_a_run_gives_the_same_samples(capsys, tmp_path, monkeypatch, kind) -> None:
    monkeypatch.chdir(tmp_path)
    values = np.random.RandomState(0).randn(60, 5, 4)
    np.save("own.npy", (values > 0).astype(np.uint8) if kind == "binary" else values.astype(np.float32) + 3)
    data = ("--data-dir", tmp_path / "data")
    assert run(capsys, "data", "import", "own.npy", "--name", "own", *data).code == 0
    trained = run(capsys, "train", "--dataset", "own", "--name", "t", *data, *SMALL)
    assert trained.code == 0, trained.err
    whole = _sampled(capsys, "--n", 4, "--scale", 3, *data)
    assert run(capsys, "data", "rm", "own", "--yes", *data).code == 0
    outcome = run(capsys, "sample", "t", "--n", 4, "--scale", 3, "--json", *data)
    assert outcome.code == 0, outcome.err
    why = "the data set own is not on this machine"
    assert outcome.json["left_out"] == {"reconstructions": why, "traversals": why}
    assert [each["kind"] for each in outcome.json["images"]] == ["samples"]
    assert outcome.json["latents"] == []
    pair = _contents(whole)["samples"], _contents(outcome.json)["samples"]
    if kind == "binary":
        assert pair[0] == pair[1]
    else:  # without data, black and white come from the mean and the spread, so that only the grey levels differ
        assert _array(pair[0]).shape == _array(pair[1]).shape
        black, white = (outcome.json["display"][level] for level in ("black", "white"))
        assert black < 2 < 4 < white
        text = run(capsys, "sample", "t", "--n", 4, *data).out
        assert "guessed from their means and standard deviations, as the data set is not on this machine" in text
        assert "99 %" not in text
    too_large = run(capsys, "sample", "t", "--n", 4, "--scale", 9000, *data)
    assert too_large.code == 2
    assert "give a smaller --scale" in too_large.err
    for file in tmp_path.glob("runs/t/v001/checkpoints/*/manifest.json"):  # as an earlier version wrote it
        manifest = documents.unseal(file)
        for name in ("model.json", "data.safetensors"):
            del manifest["files"][name]
            (file.parent / name).unlink()
        file.write_bytes(documents.seal(manifest))
    assert run(capsys, "sample", "t", *data).code == 10

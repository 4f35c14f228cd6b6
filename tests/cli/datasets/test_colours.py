"""Colours from a file to the grids that a trained model makes, and the picture that every import leaves."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console

from dregcli.app.planning.first_examples import first_examples, for_terminal
from dregcli.app.sampling.pictures import Look
from dregcli.cli.half_blocks import half_blocks
from dregcli.cli.main import main
from dregcli.data.cache import read_cache
from dregcli.names import Split
from tests.support.cli import run

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
# Of every image the top is red and the bottom green, but for a blue corner on the right of it.
IMAGE = np.array([[RED, RED, RED], [RED, RED, RED], [GREEN, GREEN, GREEN], [GREEN, GREEN, BLUE]], np.uint8)
OPTIONS = (
    "--k",
    2,
    "--steps",
    3,
    "--batch-size",
    16,
    "--hidden",
    "8",
    "--latent-dim",
    2,
    "--eval-every",
    0,
    "--compile",
    "off",
)


def _picture(path: str | Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def test_a_red_image_stays_red_from_the_file_to_the_grids(capsys, tmp_path) -> None:
    values = np.repeat(IMAGE[None], 40, axis=0)
    values[::2, 0, 0, 2] = 255  # or there would be nothing to learn
    np.save(tmp_path / "a.npy", values)
    outcome = run(capsys, "data", "import", tmp_path / "a.npy", "--name", "c", "--channels", "keep", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["image"] == [3, 4, 3]
    # The picture of the first 16, 16 screen pixels a pixel: its own first image is the file's.
    first = _picture(outcome.json["figure"])[8:64:16, 8:48:16]
    np.testing.assert_array_equal(first[1:], IMAGE[1:])
    assert not np.array_equal(first[1:], IMAGE[1:, :, ::-1]), "red and blue in each other's place would be seen"
    listed = next(row for row in run(capsys, "data", "list", "--json").json["results"] if row["dataset"] == "c")
    assert listed["image"] == [3, 4, 3]
    assert " 3x4x3 " in run(capsys, "data", "list").out
    shown = _picture(run(capsys, "data", "show", "c", "--json").json["figure"])
    assert {RED, GREEN, BLUE} <= {tuple(pixel) for pixel in shown.reshape(-1, 3)}

    trained = run(capsys, "train", "--dataset", "c", "--task", "structured", "--name", "s", *OPTIONS, "--json")
    assert trained.code == 0, trained.err
    sampled = run(capsys, "sample", "s", "--n", 4, "--scale", 1, "--json")
    assert sampled.code == 0, sampled.err
    grids = {each["kind"]: _picture(each["file"]) for each in sampled.json["images"]}
    # A gap of 10, then one of 1 around each: a pair is the image and what is made of it. Above is a row of words.
    grid = grids["reconstructions"]
    top = next(y for y in range(len(grid)) if np.array_equal(grid[y + 1 : y + 4, 11:14], IMAGE[1:]))
    pair = grid[top : top + 4, 11:18]
    np.testing.assert_array_equal(pair[1:, :3], IMAGE[1:])
    # The top rows of every channel are given; a top that was the first half of all values would be no red.
    np.testing.assert_array_equal(pair[1, 4:], IMAGE[1])
    assert not np.array_equal(pair[2:, 4:], IMAGE[2:])
    removed = run(capsys, "data", "rm", "c", "--yes", "--json").json["removed"][0]
    assert removed["figures"] == [outcome.json["figure"]]
    assert not Path(outcome.json["figure"]).exists()


def test_what_is_transparent_lies_over_white_in_grids() -> None:
    half_red = torch.tensor([1.0, 0.0, 0.0, 0.5])
    screen = Look(1, 1, low=0.0, high=1.0, scale=2, channels=4).screen(half_red)
    torch.testing.assert_close(screen, torch.tensor([1.0, 0.5, 0.5])[None, :, None, None].expand(1, 3, 2, 2))


def test_the_picture_of_an_import(capsys, tmp_path, monkeypatch) -> None:
    grey = np.random.RandomState(0).randint(0, 256, (30, 5, 4)).astype(np.uint8)
    np.save(tmp_path / "a.npy", grey)
    outcome = run(capsys, "data", "import", tmp_path / "a.npy", "--name", "g")
    path = tmp_path / "data" / "figures" / "g-train.png"
    assert f"figure: {path}\n" in outcome.out
    assert "\x1b" not in outcome.out
    rows = read_cache("g", tmp_path / "data").splits[Split.TRAIN][:16].reshape(16, 5, 4)
    drawn = _picture(path)
    side, gap = 64 // 5, 2
    for i, image in enumerate(rows):
        top, left = i // 4 * (5 * side + gap), i % 4 * (4 * side + gap)
        middle = drawn[top + side // 2 : top + 5 * side : side, left + side // 2 : left + 4 * side : side]
        np.testing.assert_array_equal(middle, np.repeat(image[..., None], 3, axis=2))
    # A picture that cannot be written does not undo the import.
    path.unlink()
    path.parent.rmdir()
    path.parent.write_text("in the way")
    again = run(capsys, "data", "import", tmp_path / "a.npy", "--name", "g", "--replace", "--json")
    assert again.code == 0
    assert again.json["figure"] is None
    assert "the picture of the first examples was not written" in again.err
    # Real vectors, one a line.
    path.parent.unlink()
    np.save(tmp_path / "v.npy", np.random.RandomState(0).randn(30, 7))
    assert main(["data", "import", str(tmp_path / "v.npy"), "--name", "v", "--quiet"]) == 0
    assert _picture(path.with_name("v-train.png")).shape == (16 * 16, 7 * (256 // 7), 3)


def test_half_blocks_on_a_terminal(tmp_path) -> None:
    examples = np.zeros((16, 28, 28, 3), np.uint8)
    examples[3, 0, 0] = RED
    for width in (40, 80, 120, 300):
        pixels = for_terminal(examples, width)
        assert pixels.shape[1] <= width
        assert len(pixels) % 2 == 0
        assert len(pixels) // 2 <= 32
    assert first_examples.__doc__
    for_terminal(np.zeros((16, 1, 5000, 3), np.uint8), 80)
    console = Console(force_terminal=True, color_system="truecolor", width=20)
    with console.capture() as captured:
        console.print(half_blocks([[RED, GREEN], [BLUE, RED]]))
    assert captured.get().startswith("\x1b[38;2;255;0;0;48;2;0;0;255m\u2580")

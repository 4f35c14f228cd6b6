"""Colours, and images that lie on their side: the same pixels from every format, or a refusal with its hint."""

import io
import re
import tracemalloc
import zipfile

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy import io as scipy_io

from dregcli.data.cache import read_cache
from dregcli.data.importing.request import ImportWords, read_request
from dregcli.data.importing.run import import_data
from dregcli.errors import SpecError, UsageError
from dregcli.names import Channels, DataKind, Flip, Split
from tests.support.data_idx import idx_bytes
from tests.support.data_import import assert_holds, bring, refuse, seeded
from tests.support.listener import Recorder

RANDOM = np.random.RandomState(11)
COLOURS = RANDOM.randint(0, 256, (20, 6, 5, 3)).astype(np.uint8)
"""(N, H, W, C)."""
GREY = RANDOM.randint(0, 256, (20, 6, 5)).astype(np.uint8)
PLANES = np.moveaxis(COLOURS, 3, 1)
KEEP = {"channels": Channels.KEEP}


def npy(folder, values):
    np.save(folder / "a.npy", values)
    return folder / "a.npy"


def hdf5(folder, values):
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("x", data=values, chunks=(3, *values.shape[1:]), compression="gzip")
    return folder / "a.h5"


def mat(folder, values):
    scipy_io.savemat(folder / "a.mat", {"X": values})
    return folder / "a.mat"


def idx(folder, values):
    (folder / "a.idx").write_bytes(idx_bytes(values))
    return folder / "a.idx"


def text(folder, values):
    np.savetxt(folder / "a.csv", values.reshape(len(values), -1), "%d", ",")
    return folder / "a.csv"


def png(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def pictures(folder, values):
    (folder / "pictures").mkdir(exist_ok=True)
    for i, image in enumerate(values):
        (folder / "pictures" / f"{i:02}.png").write_bytes(png(image))
    return folder / "pictures"


def zipped(folder, values):
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        for i, image in enumerate(values):
            archive.writestr(f"{i:02}.png", png(image))
    return folder / "a.zip"


EVERY_FORM = [
    (npy, COLOURS, {}),
    (npy, PLANES, {}),
    (npy, PLANES / 255, {}),
    (npy, COLOURS.reshape(20, -1), {"shape": "6x5x3"}),
    (npy, PLANES.reshape(20, -1), {"shape": "3x6x5"}),
    (npy, COLOURS.reshape(20, 30, 3), {"shape": "6x5x3"}),
    (npy, np.moveaxis(COLOURS, 0, 3), {"transpose": True}),
    (npy, COLOURS, {"shape": "3x6x5"}),
    (hdf5, COLOURS, {}),
    (mat, np.moveaxis(COLOURS, 0, 3), {"transpose": True}),
    (idx, COLOURS, {}),
    (text, PLANES, {"shape": "3x6x5"}),
    (pictures, COLOURS, {}),
    (zipped, COLOURS, {}),
]


def test_colours_are_the_same_from_every_format(tmp_path):
    for make, values, options in EVERY_FORM:
        imported = bring(make(tmp_path, values), tmp_path / "data", **KEEP, **options)
        assert imported.dataset.image == (3, 6, 5), (make, values.shape)
        assert_holds(imported.dataset, seeded(PLANES))
        if make in (npy, hdf5) and values.ndim == 4 and not options:
            order = "second axis, (N, C, H, W)" if values.shape[1] == 3 else "last axis, (N, H, W, C)"
            assert any(order in note for note in imported.notes)
    with pytest.raises(AssertionError):
        assert_holds(imported.dataset, seeded(PLANES[:, ::-1]))  # blue, green, red would be seen
    kept = read_cache("mine", tmp_path / "data", resident_bytes=0)
    assert kept.is_mapped
    assert kept.checksum == imported.dataset.checksum


def test_grey_is_that_of_the_pictures_and_has_one_channel(tmp_path):
    wanted = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in COLOURS])
    for make, values in ((npy, COLOURS), (hdf5, PLANES), (idx, COLOURS), (pictures, COLOURS)):
        imported = bring(make(tmp_path, values), tmp_path / "data", channels=Channels.GREY)
        assert_holds(imported.dataset, seeded(wanted))
        assert imported.dataset.image == (6, 5)
        assert "colours were turned to grey (ITU-R 601 luma)" in imported.notes
    floats = bring(npy(tmp_path, COLOURS / 255), tmp_path / "data", channels=Channels.GREY, kind=DataKind.INTENSITY)
    np.testing.assert_allclose(floats.dataset.splits[Split.TEST] * 255, seeded(wanted)[Split.TEST], atol=0.51)
    by_default = bring(pictures(tmp_path, COLOURS), tmp_path / "data")
    assert_holds(by_default.dataset, seeded(wanted))
    assert "--channels keep keeps the colours" in by_default.notes
    for make in (npy, zipped):
        alone = bring(make(tmp_path, GREY), tmp_path / "data", **KEEP)
        assert_holds(alone.dataset, seeded(GREY))
        assert any("the images have one channel, grey" in note for note in alone.notes)


@pytest.mark.parametrize(
    ("values", "options", "reason", "hint"),
    [
        (COLOURS, {}, "3 channels look like colours", "--channels keep to keep them, or --channels grey"),
        (
            np.concatenate([COLOURS] * 2, 3)[..., :4],
            {},
            "4 channels .* and alpha",
            "keep to keep them, or save only red",
        ),
        (PLANES[:, :, :, :3], KEEP, "both the second axis and the last one", "--shape 3x6x3 or --shape 3x3x6"),
        (PLANES[:, :, :3, :3], KEEP, "both", "--shape 3x3x3 if the channels are the second axis"),
        (RANDOM.rand(9, 5, 5, 2), KEEP, r"where C is 1, 3 or 4", "save it in one of these shapes"),
        (np.moveaxis(COLOURS, 0, 3), KEEP, "6 x 5 x 3 x 20", "if the last axis is the examples, give --transpose"),
        (np.moveaxis(GREY, 0, 2)[:, :, None], {}, "6 x 5 x 1 x 20", "give --transpose"),
        (RANDOM.rand(9, 48), KEEP, "48 values an example", "--shape 3x4x4 if .* channel, --shape 4x4x3 if"),
        (RANDOM.rand(9, 16, 3), KEEP, "48 values an example", "--shape 3x4x4 "),
        (RANDOM.rand(9, 36), KEEP | {"shape": "6x2"}, "36 values an example", "--shape 3x6x2 "),
        (COLOURS, KEEP | {"shape": "3x5x6"}, "--shape 3x5x6 contradicts the array", "channels, height and width"),
        (
            COLOURS,
            KEEP | {"shape": "3x5x5"},
            "--shape 3x5x5 contradicts the array, .* 90 values an example, not 75",
            "channels, height and width",
        ),
        (COLOURS, KEEP | {"shape": "5x6"}, "whose images are 6 x 5", "leave --shape out"),
        (COLOURS, {"shape": "5x6x9"}, "there are 1, 3 or 4 channels: '5x6x9'", "change these"),
        (np.concatenate([COLOURS, COLOURS[..., :1]], 3), {"channels": Channels.GREY}, "may be alpha", "keep"),
    ],
)
def test_what_is_not_clear_is_refused_with_what_to_type(values, options, reason, hint, tmp_path):
    error = refuse(npy(tmp_path, values), tmp_path / "data", reason, UsageError, **options)
    assert re.search(hint, str(error.hint))


def test_what_was_typed_for_an_unclear_array_is_heeded(tmp_path):
    values = PLANES[:, :, :, :3]
    for shape, wanted in (("3x6x3", values), ("3x3x6", np.moveaxis(values, 3, 1))):
        assert_holds(bring(npy(tmp_path, values), tmp_path / "data", shape=shape, **KEEP).dataset, seeded(wanted))
    # Three channels are likelier than four: an image of four rows needs no word.
    for tiny in (COLOURS[:, :4], np.concatenate([PLANES, PLANES], 3)[..., :4]):
        wanted = np.moveaxis(tiny, 3, 1) if tiny.shape[3] == 3 else tiny
        assert_holds(bring(npy(tmp_path, tiny), tmp_path / "data", **KEEP).dataset, seeded(wanted))
    alpha = np.concatenate([COLOURS, COLOURS[..., :1]], 3)
    kept = bring(npy(tmp_path, alpha), tmp_path / "data", **KEEP).dataset
    assert kept.image == (4, 6, 5)
    assert_holds(kept, seeded(np.moveaxis(alpha, 3, 1)))


TURNS = [
    ({"transpose_images": True}, lambda x: x.swapaxes(-1, -2)),
    ({"flips": (Flip.HORIZONTAL,)}, lambda x: x[..., ::-1]),
    ({"flips": (Flip.VERTICAL,)}, lambda x: x[..., ::-1, :]),
    # Turned first, mirrored then: the other order would be another picture.
    ({"transpose_images": True, "flips": (Flip.HORIZONTAL,)}, lambda x: x.swapaxes(-1, -2)[..., ::-1]),
]


def test_images_are_turned_and_mirrored_in_every_format(tmp_path):
    forms = [
        (npy, GREY, {}, GREY),
        (npy, GREY.reshape(20, -1), {"shape": "6x5"}, GREY),
        (hdf5, GREY, {}, GREY),
        (mat, np.moveaxis(GREY, 0, 2), {"transpose": True}, GREY),
        (idx, GREY, {}, GREY),
        (text, GREY, {"shape": "6x5"}, GREY),
        (pictures, GREY, {}, GREY),
        (npy, COLOURS, KEEP, PLANES),
    ]
    for make, values, more, wanted in forms:
        source = make(tmp_path, values)
        for options, turned in TURNS:
            imported = bring(source, tmp_path / "data", **options, **more)
            assert_holds(imported.dataset, seeded(turned(wanted)))
            size = (5, 6) if "transpose_images" in options else (6, 5)
            assert (imported.dataset.height, imported.dataset.width) == size
            told = [note for note in imported.dataset.provenance["done"] if "each image was" in note]
            assert len(told) == len(options.get("flips", ())) + ("transpose_images" in options)
    with pytest.raises(AssertionError):
        assert_holds(imported.dataset, seeded(PLANES[..., ::-1].swapaxes(-1, -2)))


def test_turning_needs_images_and_transposing_says_what_it_took(tmp_path):
    source = npy(tmp_path, RANDOM.randn(20, 30))
    error = refuse(
        source, tmp_path / "data", "--flip: turns images, but 30 values", SpecError, flips=(Flip.VERTICAL,)
    )
    assert "--shape HxW" in str(error.hint)
    refuse(source, tmp_path / "data", "--flip: the same value is given twice", SpecError, flips=(Flip.VERTICAL,) * 2)
    taken = bring(idx(tmp_path, GREY), tmp_path / "data", transpose=True)
    assert taken.dataset.image == (20, 6)
    assert "the examples were taken from the last axis" in taken.notes
    refuse(pictures(tmp_path, GREY), tmp_path / "data", "--transpose-images turns images", SpecError, transpose=True)


def test_the_largest_axis_last_gets_a_hint(tmp_path):
    """Images along the last axis of a MATLAB file, of any size; the first axis is then none of examples."""
    for shape in ((4, 5, 30), (5, 4, 30), (4, 4, 30)):
        values = RANDOM.randint(0, 256, shape).astype(np.uint8)
        for make in (mat, npy):
            told = " x ".join(map(str, shape)) + f" was taken as {shape[0]} examples of"
            hints = [note for note in bring(make(tmp_path, values), tmp_path / "data").notes if told in note]
            assert hints[0].endswith("if the last axis is the examples, give --transpose")
    for shape in ((30, 5, 4), (30, 4, 5), (20, 28, 28), (20, 20, 20)):
        imported = bring(npy(tmp_path, RANDOM.randint(0, 256, shape).astype(np.uint8)), tmp_path / "data")
        assert not any("--transpose" in note for note in imported.notes), shape


def test_colours_turned_and_mirrored_stay_out_of_memory(tmp_path, monkeypatch):
    n, side = 12_000, 24
    size = n * side * side * 3
    monkeypatch.setattr("dregcli.data.importing.contract.RESIDENT_BYTES", size // 8)
    out = np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.uint8, (n, side, side, 3))
    for first in range(0, n, 1000):
        out[first : first + 1000] = (np.arange(1000 * side * side * 3) % 251).reshape(-1, side, side, 3)
        out[first : first + 1000, 0, 0, 0] = first // 1000
    out.flush()
    for options in (KEEP | {"transpose_images": True, "flips": (Flip.VERTICAL,)}, {"channels": Channels.GREY}):
        request = read_request(ImportWords(source=tmp_path / "a.npy", name="a", replace=True, **options), taken={})
        tracemalloc.start()
        try:
            import_data(request, tmp_path / "data", Recorder())
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < size / 2, f"{peak:,} bytes for a source of {size:,}"

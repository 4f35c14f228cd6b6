"""Folders and zip archives of images: found, decoded, grey, of one size, and digested."""

import hashlib
import io
import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from dregcli.errors import DataCorrupt, UsageError
from dregcli.names import DataKind, Split
from tests.support.data_import import assert_holds, bring, refuse, seeded

RANDOM = np.random.RandomState(8)
IMAGES = RANDOM.randint(0, 256, (24, 6, 5)).astype(np.uint8)
BEFORE = {f"class-{i % 3}/{i:02d}.png": image for i, image in enumerate(IMAGES)}
SORTED = np.stack([BEFORE[name] for name in sorted(BEFORE)])


def encoded(array, form="PNG", **options):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, form, **options)
    return buffer.getvalue()


def place(files, folder, packed):
    """Files by name, as a folder or a zip archive."""
    if packed:
        with zipfile.ZipFile(folder / "images.zip", "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return folder / "images.zip"
    for name, content in files.items():
        path = folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder / "images"


@pytest.fixture(params=[False, True], ids=["folder", "zip"])
def packed(request):
    return request.param


def test_class_folders_in_the_order_of_their_paths(packed, tmp_path):
    files = {name: encoded(image) for name, image in BEFORE.items()}
    files |= {
        "README.md": b"hello",
        ".DS_Store": b"",
        "__MACOSX/class-0/._00.png": b"junk",
        "class-1/.thumb.png": b"",
    }
    imported = bring(place(files, tmp_path, packed), tmp_path / "data")
    assert_holds(imported.dataset, seeded(SORTED))
    assert (imported.dataset.kind, imported.dataset.height, imported.dataset.width) == (DataKind.INTENSITY, 6, 5)
    assert imported.notes[0] == "4 other files left out"
    assert imported.dataset.provenance["arrays"] == [
        {"split": None, "key": "", "shape": [24, 6, 5], "dtype": "uint8"}
    ]


@pytest.mark.parametrize("top", ["", "set/"])
def test_split_folders(packed, top, tmp_path):
    files = {}
    for i, image in enumerate(IMAGES):
        split = "train" if i < 12 else "val" if i < 18 else "test"
        files[f"{top}{split}/{'ab'[i % 2]}/{i:02d}.png"] = encoded(image)
    imported = bring(place(files, tmp_path, packed), tmp_path / "data")

    def of(first, last):
        return np.concatenate([IMAGES[first:last:2], IMAGES[first + 1 : last : 2]])

    assert_holds(imported.dataset, {Split.TRAIN: of(0, 12), Split.VALID: of(12, 18), Split.TEST: of(18, 24)})
    assert imported.dataset.split_convention == "given"


def test_a_test_folder_alone_is_no_data_set(packed, tmp_path):
    files = {f"test/{i}.png": encoded(image) for i, image in enumerate(IMAGES)}
    refuse(place(files, tmp_path, packed), tmp_path / "data", "not clear", UsageError)


def test_every_ending(tmp_path):
    forms = {"png": "PNG", "bmp": "BMP", "pgm": "PPM", "tif": "TIFF", "TIFF": "TIFF", "ppm": "PPM"}
    lossless = {f"{i}.{ending}": encoded(IMAGES[i], form) for i, (ending, form) in enumerate(forms.items())}
    assert_holds(
        bring(place(lossless, tmp_path, packed=False), tmp_path / "data").dataset, seeded(IMAGES[:6], valid=1, test=1)
    )
    for ending, form in {"jpg": "JPEG", "jpeg": "JPEG", "webp": "WEBP"}.items():
        flat = np.full((6, 5), 40, np.uint8)
        files = {f"{i}.{ending}": encoded(flat + np.uint8(60 * i), form, quality=95) for i in range(3)}
        (tmp_path / ending).mkdir()
        dataset = bring(place(files, tmp_path / ending, packed=True), tmp_path / "data", name=ending).dataset
        means = sorted(np.asarray(dataset.splits[split]).mean() for split in Split)
        np.testing.assert_allclose(means, [40, 100, 160], atol=3)


class TestGrey:
    def bring_one(self, content, tmp_path, *more, **options):
        files = {f"{i}.png": each for i, each in enumerate([content, *more])}
        return bring(place(files, tmp_path, packed=True), tmp_path / "data", valid="1", test="1", **options)

    def all_of(self, imported):
        order = np.random.RandomState(0).permutation(sum(len(imported.dataset.splits[split]) for split in Split))
        rows = np.concatenate([imported.dataset.splits[split] for split in Split])
        return rows[np.argsort(order)]

    def grey(self):
        return [encoded(image) for image in IMAGES[:3]]

    def test_colour(self, tmp_path):
        colour = RANDOM.randint(0, 256, (6, 5, 3)).astype(np.uint8)
        imported = self.bring_one(encoded(colour), tmp_path, *self.grey())
        luma = colour @ np.array([0.299, 0.587, 0.114])
        np.testing.assert_allclose(self.all_of(imported)[0], luma.reshape(-1), atol=1)
        assert "colours were turned to grey (ITU-R 601 luma)" in imported.notes

    def test_grey_in_three_channels_is_not_called_colour(self, tmp_path):
        imported = self.bring_one(encoded(np.repeat(IMAGES[5][..., None], 3, axis=2)), tmp_path, *self.grey())
        np.testing.assert_array_equal(self.all_of(imported)[0], IMAGES[5].reshape(-1))
        assert not any("grey (ITU" in note for note in imported.notes)

    def test_transparency_lies_over_white(self, tmp_path):
        content = np.stack([IMAGES[5], np.zeros_like(IMAGES[5])], axis=2)
        imported = self.bring_one(encoded(content), tmp_path, *self.grey())
        assert (self.all_of(imported)[0] == 255).all()
        assert "transparent pixels were shown on white" in imported.notes

    def test_opaque_alpha_changes_nothing(self, tmp_path):
        content = np.stack([IMAGES[5], np.full_like(IMAGES[5], 255)], axis=2)
        imported = self.bring_one(encoded(content), tmp_path, *self.grey())
        np.testing.assert_array_equal(self.all_of(imported)[0], IMAGES[5].reshape(-1))
        assert not any("white" in note for note in imported.notes)

    def test_sixteen_bits_are_scaled_and_not_cut_off(self, tmp_path):
        imported = self.bring_one(encoded(IMAGES[5].astype(np.uint16) * 257), tmp_path, *self.grey())
        np.testing.assert_array_equal(self.all_of(imported)[0], IMAGES[5].reshape(-1))
        assert "16-bit grey levels were reduced to 8 bits" in imported.notes

    def test_sixteen_bits_of_a_pgm(self, tmp_path):
        content = b"P5 5 6 65535\n" + (IMAGES[5].astype(">u2") * 257).tobytes()
        imported = self.bring_one(content, tmp_path, *self.grey())
        np.testing.assert_array_equal(self.all_of(imported)[0], IMAGES[5].reshape(-1))

    def test_turned_upright(self, tmp_path):
        """As EXIF defines it: where the first row and the first column of the stored image are to be shown."""
        turns = [
            lambda a: a,
            lambda a: a[:, ::-1],
            lambda a: a[::-1, ::-1],
            lambda a: a[::-1],
            lambda a: a.T,
            lambda a: np.rot90(a, -1),
            lambda a: a[::-1, ::-1].T,
            lambda a: np.rot90(a),
        ]
        stored = IMAGES[5][:5, :5]
        files = [encoded(stored, exif=self.exif(orientation)) for orientation in range(1, 9)]
        found = self.all_of(self.bring_one(*[files[0], tmp_path], *files[1:]))
        np.testing.assert_array_equal(found, [turn(stored).reshape(-1) for turn in turns])

    @pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
    def test_odd_exif_is_no_damage(self, form, tmp_path):
        """The pixels are whole; Pillow warns of some of it, and raises an error at some."""
        good, files = self.exif(1), [encoded(IMAGES[5], form)]
        odd = [good[:20], good[:8], b"Exif\0\0" + bytes(30), good.replace(b"II*", b"IJ*"), self.exif(0), self.exif(9)]
        files += [encoded(IMAGES[5], form, exif=exif) for exif in [*odd, good[:10] + b"\xff" * 30]]
        imported = self.bring_one(*[files[0], tmp_path], *files[1:])
        found = self.all_of(imported)
        assert (found == found[0]).all()
        assert not any("upright" in note for note in imported.notes)

    def exif(self, orientation):
        return b"Exif\0\0II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)

    def test_a_photograph_is_large_until_it_is_resized(self, tmp_path):
        buffer = io.BytesIO()
        Image.new("1", (4100, 4100), 1).save(buffer, "PNG")
        files = {f"{i}.png": each for i, each in enumerate([buffer.getvalue(), *self.grey()])}
        source = place(files, tmp_path, packed=True)
        error = refuse(source, tmp_path / "data", "promises 4100 x 4100 pixels, more than 16,777,216", DataCorrupt)
        assert "--resize HxW" in str(error.hint)
        imported = bring(source, tmp_path / "data", resize="6x5", valid="1", test="1")
        assert (self.all_of(imported)[0] == 255).all()

    def test_a_palette(self, tmp_path):
        buffer = io.BytesIO()
        Image.fromarray(IMAGES[5]).convert("P").save(buffer, "PNG")
        imported = self.bring_one(buffer.getvalue(), tmp_path, *self.grey())
        np.testing.assert_array_equal(self.all_of(imported)[0], IMAGES[5].reshape(-1))

    def test_bits_are_black_and_white(self, tmp_path):
        bits = [encoded(image > 127) for image in IMAGES[:4]]
        imported = self.bring_one(*[bits[0], tmp_path], *bits[1:], kind=DataKind.BINARY)
        np.testing.assert_array_equal(self.all_of(imported), (IMAGES[:4] > 127).reshape(4, -1))
        assert imported.dataset.kind is DataKind.BINARY

    def test_inverted(self, tmp_path):
        imported = self.bring_one(*[self.grey()[0], tmp_path], *self.grey()[1:], invert=True)
        np.testing.assert_array_equal(self.all_of(imported), 255 - IMAGES[:3].reshape(3, -1))


def _triangles(before: int, after: int) -> np.ndarray:
    """The weights (after, before) of a bilinear filter that is stretched to the scale: antialiasing."""
    scale = before / after
    centres = (np.arange(after) + 0.5) * scale
    apart = np.abs(np.arange(before)[None, :] + 0.5 - centres[:, None]) / scale
    weights = np.clip(1.0 - apart, 0.0, None)
    return weights / weights.sum(axis=1, keepdims=True)


def test_resized_by_a_bilinear_filter_with_antialiasing(packed, tmp_path):
    large = RANDOM.randint(0, 256, (12, 20, 16)).astype(np.uint8)
    cut = [image[:, : 16 - i % 2] for i, image in enumerate(large)]
    source = place({f"{i:02d}.png": encoded(image) for i, image in enumerate(cut)}, tmp_path, packed)
    error = refuse(source, tmp_path / "data", r"01.png is 20 x 15, 00.png is 20 x 16 \(height x width\)", DataCorrupt)
    assert error.hint == "give all images one size with --resize 20x16"
    imported = bring(source, tmp_path / "data", resize="10x8")
    wanted = np.stack([_triangles(20, 10) @ image @ _triangles(image.shape[1], 8).T for image in cut])
    order = seeded(np.arange(12)[:, None])
    for split, rows in imported.dataset.splits.items():
        expected = wanted[order[split].ravel()].reshape(len(rows), -1)
        # Pillow rounds to whole levels after each of two passes.
        assert np.abs(np.asarray(rows) - expected).max() <= 1.0
        plain = np.stack([cut[k][1::2, np.arange(8) * 2][:10] for k in order[split].ravel()])
        assert np.abs(np.asarray(rows, float) - plain.reshape(len(rows), -1)).max() > 10.0
    assert "resized to 10 x 8, with antialiasing" in imported.notes


def test_the_digest_of_a_folder_is_of_names_and_contents(tmp_path):
    files = {name: encoded(image) for name, image in BEFORE.items()}
    source = place(files, tmp_path, packed=False)
    (source / "notes.txt").write_text("not an image")
    kept = bring(source, tmp_path / "data").dataset.provenance
    whole = hashlib.sha256(b"dreg images 1\n")
    for name in sorted(files):
        whole.update(name.encode() + b"\0" + hashlib.sha256(files[name]).digest())
    assert kept["sha256"] == whole.hexdigest()
    assert kept["bytes"] == sum(map(len, files.values()))
    (source / "class-0/00.png").rename(source / "class-0/99.png")
    assert bring(source, tmp_path / "data", name="b").dataset.provenance["sha256"] != kept["sha256"]


def test_links_inside_a_folder(tmp_path):
    source = place({name: encoded(image) for name, image in BEFORE.items()}, tmp_path, packed=False)
    (source / "z.png").symlink_to("class-0/00.png")
    assert_holds(
        bring(source, tmp_path / "data").dataset, seeded(np.concatenate([SORTED, SORTED[:1]]), valid=2, test=2)
    )
    (source / "class-1/circle").symlink_to(source)
    refuse(source, tmp_path / "other", "links lead to the same folder twice", DataCorrupt)


def png(width, height, content=b""):
    """A PNG whose header says any size."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", content or zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "an image file is empty"),
        (b"<html>", "not a JPEG or PNG or"),
        (encoded(IMAGES[0])[:-30], "cannot be decoded|not a"),
        (png(60_000, 60_000), "promises 60000 x 60000 pixels|too large"),
        (png(8_000, 8_000), "promises 8000 x 8000 pixels"),
        (png(5, 6, zlib.compress(bytes(3))), "cannot be decoded"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 5 6\n", "not a JPEG"),
    ],
)
def test_a_bad_image_is_refused_by_name(content, reason, packed, tmp_path):
    files = {f"{i}.png": encoded(image) for i, image in enumerate(IMAGES[:5])} | {"3.png": content}
    error = refuse(place(files, tmp_path, packed), tmp_path / "data", reason, DataCorrupt)
    assert "3.png" in str(error.where)


def test_several_images_in_one_file(tmp_path):
    first, *rest = [Image.fromarray(image) for image in IMAGES[:3]]
    buffer = io.BytesIO()
    first.save(buffer, "TIFF", save_all=True, append_images=rest)
    source = place({"a.tif": buffer.getvalue()}, tmp_path, packed=False)
    refuse(source, tmp_path / "data", "holds 3 images, not one", DataCorrupt)


def test_32_bit_images(tmp_path):
    source = place({"a.tif": encoded(RANDOM.rand(4, 4).astype(np.float32), "TIFF")}, tmp_path, packed=False)
    refuse(source, tmp_path / "data", "32 bits a pixel", DataCorrupt)


def test_no_images(packed, tmp_path):
    refuse(place({"a.txt": b"hello"}, tmp_path, packed), tmp_path / "data", "has no images", DataCorrupt)


def test_an_empty_folder(tmp_path):
    (tmp_path / "empty").mkdir()
    refuse(tmp_path / "empty", tmp_path / "data", "has no images", DataCorrupt)


@pytest.mark.parametrize("options", [{"shape": "6x5"}, {"transpose": True}])
def test_options_for_arrays(options, tmp_path):
    source = place({name: encoded(image) for name, image in BEFORE.items()}, tmp_path, packed=True)
    refuse(source, tmp_path / "data", f"--{next(iter(options))}", UsageError, **options)

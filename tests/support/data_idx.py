"""A tiny data set in MNIST's format, and an entry of the catalogue that describes it."""

import gzip
import hashlib
import struct
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from dregcli.data.conventions import Convention, last_as_valid, sizes
from dregcli.data.entries import Downloadable, FileSet
from dregcli.data.sets.mnist import TEST_IMAGES, TRAIN_IMAGES, hold_out, images_file
from dregcli.names import DataKind

HEIGHT, WIDTH, TRAIN, TEST, VALID = 3, 5, 40, 9, 7


def idx_bytes(array: np.ndarray, kind: int = 0x08) -> bytes:
    """``array`` as the IDX specification has it, written independently of the reader."""
    return (
        bytes([0, 0, kind, array.ndim]) + b"".join(struct.pack(">I", size) for size in array.shape) + array.tobytes()
    )


def tiny_images() -> dict[str, np.ndarray]:
    random = np.random.RandomState(5)
    return {
        name: random.randint(0, 256, (count, HEIGHT, WIDTH)).astype(np.uint8)
        for name, count in ((TRAIN_IMAGES, TRAIN), (TEST_IMAGES, TEST))
    }


def tiny_files() -> dict[str, bytes]:
    """The published files, unpacked."""
    return {name: idx_bytes(images) for name, images in tiny_images().items()}


def tiny_entry(*mirrors: str, system_folders: tuple[str, ...] = ()) -> Downloadable:
    """The entry that describes ``tiny_files``, to be had from ``mirrors``."""
    files = tiny_files()
    return Downloadable(
        name="tiny",
        kind=DataKind.INTENSITY,
        height=HEIGHT,
        width=WIDTH,
        levels=255,
        mirrors=mirrors or ("http://mirror.invalid/",),
        system_folders=system_folders,
        published=FileSet(
            files=tuple(
                images_file(
                    name,
                    count=count,
                    height=HEIGHT,
                    width=WIDTH,
                    md5=hashlib.md5(files[name], usedforsecurity=False).hexdigest(),
                )
                for name, count in ((TRAIN_IMAGES, TRAIN), (TEST_IMAGES, TEST))
            ),
            split=partial(hold_out, valid=VALID),
            conventions={
                "dreg": Convention(sizes(TRAIN - VALID, VALID, TEST)),
                "burda": Convention(sizes(TRAIN - 3, 3, TEST), last_as_valid(3)),
            },
            converted="the last are held out",
        ),
    )


def unpublished(entry: Downloadable) -> Downloadable:
    """The entry as if its publisher gave no checksums."""
    files = tuple(replace(file, checksums=()) for file in entry.published.files)
    return replace(entry, published=replace(entry.published, files=files))


def tiny_folder(folder: Path) -> Path:
    """``folder`` with the gzipped files, under their usual names."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in tiny_files().items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))
    return folder

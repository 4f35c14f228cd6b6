"""MATLAB version 5 files, written byte by byte from the published format, independently of scipy."""

import struct
import zlib

import numpy as np

CLASSES = {"double": 6, "single": 7, "int8": 8, "uint8": 9, "int16": 10, "uint16": 11, "int32": 12}
CELL, STRUCT, OBJECT, CHAR, SPARSE, FUNCTION, OPAQUE = 1, 2, 3, 4, 5, 16, 17
_MI = {"double": 9, "single": 7, "int8": 1, "uint8": 2, "int16": 3, "uint16": 4, "int32": 5}
_NUMPY = {"double": "<f8", "single": "<f4", "uint8": "<u1", "int8": "<i1", "int16": "<i2", "uint16": "<u2"}
LOGICAL = 0x02
COMPLEX = 0x08


def element(kind: int, content: bytes) -> bytes:
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)


def matrix(
    name: str,
    array: np.ndarray,
    kind: str = "double",
    *,
    flags: int = 0,
    shape: tuple[int, ...] | None = None,
    mat_class: int | None = None,
    imaginary: bool = False,
) -> bytes:
    """A variable: MATLAB keeps the first index fastest."""
    values = np.asarray(array).astype(_NUMPY[kind]).tobytes(order="F")
    parts = [
        element(6, struct.pack("<II", (flags << 8) | (mat_class or CLASSES[kind]), 0)),
        element(5, np.asarray(shape or array.shape, "<i4").tobytes()),
        element(1, name.encode()),
        element(_MI[kind], values),
    ]
    if imaginary:
        parts.append(element(_MI[kind], values))
    return element(14, b"".join(parts))


def opaque(name: str, kind: str) -> bytes:
    """A variable that is an object of MATLAB's, such as a string or a table: its values lie elsewhere in the file."""

    def text(word: str) -> bytes:
        short = struct.pack("<I", len(word) << 16 | 1) + word.encode().ljust(4, b"\0")
        return short if len(word) <= 4 else element(1, word.encode())

    where = matrix("", np.array([[0xDD, 2, 1, 1, 1, 1]]), "uint8")
    flags = element(6, struct.pack("<II", OPAQUE, 0))
    return element(14, flags + text(name) + text("MCOS") + text(kind) + where)


def compressed(variable: bytes) -> bytes:
    packed = zlib.compress(variable)
    return struct.pack("<II", 15, len(packed)) + packed


def mat_bytes(*variables: bytes) -> bytes:
    header = b"MATLAB 5.0 MAT-file, written by a test".ljust(116) + bytes(8) + struct.pack("<H", 0x0100) + b"IM"
    return header + b"".join(variables)

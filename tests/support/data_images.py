"""PNG files written byte by byte from the specification, independently of Pillow, and zip archives of them."""

import io
import struct
import zipfile
import zlib

import numpy as np


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_bytes(array: np.ndarray, bits: int = 1, *, size: tuple[int, int] | None = None, colour: int = 0) -> bytes:
    """A grey image; ``size`` is what the header says where it lies."""
    height, width = array.shape[:2]
    rows = np.packbits(array, axis=1) if bits == 1 else array.astype(np.uint8)
    said_width, said_height = size or (width, height)
    header = struct.pack(">IIBBBBB", said_width, said_height, bits, colour, 0, 0, 0)
    scanlines = b"".join(b"\x00" + row.tobytes() for row in rows)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(scanlines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def zip_bytes(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()

"""Tensors as the bytes of a safetensors file, and back."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dregcli.store import documents

if TYPE_CHECKING:
    from torch import Tensor


def tensor_bytes(tensors: "Mapping[str, Tensor]") -> bytes:
    """Return named tensors as the content of a safetensors file."""
    # Imported here, so that listing runs does not load torch.
    import torch
    from safetensors.torch import save as encode_tensors

    # Each tensor is copied, because safetensors refuses tensors that share memory, as tied weights do.
    copies = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    return encode_tensors(copies)


def read_tensors(content: bytes, path: Path) -> "dict[str, Tensor]":
    """Return the named tensors of a safetensors file, sorted by name.

    Args:
        content: content of the file.
        path: path of the file, for messages.

    Raises:
        StoreCorrupt: the content is no such file; the error names it.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load as decode_tensors

    try:
        found = decode_tensors(content)
        # Sorted by name, because their order is arbitrary. Each is copied to its own memory, aligned like any other
        # tensor: with other alignment inside the file, a sum may differ in its last bit.
        return {name: found[name].clone() for name in sorted(found)}
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise documents.corrupt(path, f"{path.name} does not hold tensors: {error}") from error

"""Formats that are not imported, and the line that makes a file of them that is.

Nothing is read here of such a file but its name and its first bytes: what may hold Python objects could run any code.
"""

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dregcli.errors import DataCorrupt

_ITEMS: Final = (
    "i = x.items() if isinstance(x, dict) else enumerate(x if isinstance(x, (list, tuple)) else [x]); "
    "numpy.savez({target}, **{{'%s_%s' % (k, j): numpy.asarray(v) for k, e in i "
    "for j, v in enumerate(e if isinstance(e, tuple) else [e])}})"
)
"""What is in tuples, lists and dictionaries, array by array."""

_TENSORS: Final = (
    "import numpy; from torch import load; x = load({source}, map_location='cpu', weights_only=True); " + _ITEMS
)
_PICKLED: Final = "import gzip, numpy, pathlib, pickle; x = pickle.loads({content}, encoding='latin1'); " + _ITEMS
_JOBLIB: Final = "import joblib, numpy; x = joblib.load({source}); " + _ITEMS
_SAFETENSORS: Final = (
    "import numpy; from safetensors.numpy import load_file; numpy.savez({target}, **load_file({source}))"
)
_NUMBERS: Final = "numpy.save({target}, x.select_dtypes('number').to_numpy())"
_PARQUET: Final = "import numpy, pandas; x = pandas.read_parquet({source}); " + _NUMBERS
_ORC: Final = "import numpy, pandas; x = pandas.read_orc({source}); " + _NUMBERS
_FEATHER: Final = "import numpy, pandas; x = pandas.read_feather({source}); " + _NUMBERS
_STREAM: Final = (
    "import numpy, pyarrow; x = pyarrow.ipc.open_stream(pyarrow.memory_map({source})).read_pandas(); " + _NUMBERS
)
_EXCEL: Final = "import numpy, pandas; x = pandas.read_excel({source}); " + _NUMBERS
_CELLS: Final = "import numpy, anndata; numpy.save({target}, anndata.read_h5ad({source}).to_df().to_numpy())"
_ZARR: Final = (
    "import numpy, zarr; x = zarr.open({source}, mode='r'); "
    "numpy.savez({target}, **({{k: v[...] for k, v in x.arrays()}} if hasattr(x, 'arrays') else {{'x': x[...]}}))"
)
_RECORDS: Final = (
    "import numpy, tensorflow as tf; "
    "e = [tf.train.Example.FromString(r).features.feature "
    "for r in tf.data.TFRecordDataset({source}).as_numpy_iterator()]; "
    "k = max(e[0], key=lambda k: e[0][k].ByteSize()); "
    "numpy.save({target}, numpy.array([numpy.frombuffer(f[k].bytes_list.value[0], 'u1') if f[k].bytes_list.value "
    "else list(f[k].float_list.value or f[k].int64_list.value) for f in e]))"
)


@dataclass(frozen=True)
class Foreign:
    """A format that is not imported.

    Attributes:
        what: in words.
        line: Python that converts it, or where ``is_python`` is not so a command; with places for source and target.
        endings: of names, in lower case.
        makes: what the name of the result ends with; nothing for a folder.
        magic: whether these are the first bytes of such a file, whatever its name is.
        warning: what the user should know before the line is run.
        is_python: whether the line is Python.
    """

    what: str
    line: str
    endings: tuple[str, ...]
    makes: str = ".npy"
    magic: Callable[[bytes], bool] = lambda _: False
    warning: str = ""
    is_python: bool = True


def _starts(*beginnings: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(beginnings)


_TRUST: Final = ". To unpickle can run any code: do it only with a file that you trust"

H5AD: Final = Foreign("AnnData, whose matrix X is not stored as one array", _CELLS, (".h5ad",))
TORCH: Final = Foreign("a file of PyTorch", _TENSORS, (".pt", ".pth", ".ckpt"), ".npz")

_FORMATS: Final = (
    TORCH,
    H5AD,
    Foreign(
        "safetensors",
        _SAFETENSORS,
        (".safetensors",),
        ".npz",
        # The length of what follows, and JSON.
        lambda head: head[5:10] == b'\0\0\0{"',
    ),
    Foreign("Parquet", _PARQUET, (".parquet", ".pq"), magic=_starts(b"PAR1")),
    Foreign("a stream of Arrow", _STREAM, (), magic=_starts(b"\xff\xff\xff\xff")),
    Foreign("Arrow or Feather", _FEATHER, (".feather", ".arrow"), magic=_starts(b"ARROW1", b"FEA1")),
    Foreign("ORC", _ORC, (".orc",), magic=_starts(b"ORC")),
    Foreign("records of TensorFlow", _RECORDS, (".tfrecord", ".tfrecords")),
    Foreign("joblib's pickled objects", _JOBLIB, (".joblib",), ".npz", warning=_TRUST),
    Foreign(
        "pickled Python objects",
        _PICKLED,
        (".pkl", ".pickle", ".pkl.gz", ".pickle.gz"),
        ".npz",
        lambda head: head[:1] == b"\x80" and head[1:2] in (b"\2", b"\3", b"\4", b"\5"),
        _TRUST,
    ),
    Foreign("a workbook", _EXCEL, (".xlsx", ".xls", ".ods")),
    Foreign("Zarr", _ZARR, (".zarr",), ".npz"),
    Foreign(
        "a tar archive",
        "mkdir {target} && tar -xf {source} -C {target}",
        (".tar", ".tgz", ".tar.gz"),
        "",
        lambda head: head[257:262] == b"ustar",
        is_python=False,
    ),
)


def foreign(path: Path, head: bytes) -> Foreign | None:
    """The format that a file seems to be, by its first bytes or else by its name; None where it is none of these."""
    name = path.name.lower()
    by_name = next((each for each in _FORMATS if name.endswith(each.endings)), None)
    # The name first, where it says more than the bytes: PyTorch's old files begin as pickled ones do.
    return by_name or next((each for each in _FORMATS if each.magic(head)), None)


def refusal(found: Foreign, path: Path, then: Callable[[str], str]) -> DataCorrupt:
    """The error for a file of a foreign format.

    Args:
        found: the format.
        path: the file.
        then: the command that imports what the line makes, by its name.

    Returns:
        An error whose hint is a line for a shell: it converts the file and imports the result.
    """
    stem = path.name.removesuffix(next((e for e in found.endings if path.name.lower().endswith(e)), path.suffix))
    target, count = f"{stem}{found.makes}", 1
    while Path(target).exists():
        count += 1
        target = f"{stem}-{count}{found.makes}"
    if found.is_python:
        content = f"pathlib.Path({str(path)!r}).read_bytes()"
        content = f"gzip.decompress({content})" if path.suffix.lower() == ".gz" else content
        code = found.line.format(source=repr(str(path)), target=repr(target), content=content)
        line = f"python -c {shlex.quote(code)}"
    else:
        line = found.line.format(source=shlex.quote(str(path)), target=shlex.quote(target))
    return DataCorrupt(
        what=f"its format is not known to the import, and looks like {found.what}{found.warning}",
        where=str(path),
        hint=f"{line} && {then(target)}",
    )

"""Formats that cannot be imported, and for each a command that converts it to a format that can.

Only the name and the first bytes of such a file are read here: a file with Python objects could run any code.
"""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dregcli.data.folders import data_command
from dregcli.data.importing.contract import Source
from dregcli.errors import DataCorrupt

# Python that converts a file, with places for the source and the target.
_ITEMS: Final = (
    "i = x.items() if isinstance(x, dict) else enumerate(x if isinstance(x, (list, tuple)) else [x]); "
    "numpy.savez({target}, **{{'%s_%s' % (k, j): numpy.asarray(v) for k, e in i "
    "for j, v in enumerate(e if isinstance(e, tuple) else [e])}})"
)
"""Saves the contents of tuples, lists and dictionaries, array by array."""
_NUMBERS: Final = "numpy.save({target}, x.select_dtypes('number').to_numpy())"
_PANDAS: Final = "import numpy, pandas; x = pandas.read_%s({source}); " + _NUMBERS
_RECORDS: Final = (
    "import numpy, tensorflow as tf; "
    "e = [tf.train.Example.FromString(r).features.feature "
    "for r in tf.data.TFRecordDataset({source}).as_numpy_iterator()]; "
    "k = max(e[0], key=lambda k: e[0][k].ByteSize()); "
    "numpy.save({target}, numpy.array([numpy.frombuffer(f[k].bytes_list.value[0], 'u1') if f[k].bytes_list.value "
    "else list(f[k].float_list.value or f[k].int64_list.value) for f in e]))"
)
_TENSORS: Final = "import numpy; from torch import load; x = load({source}, map_location='cpu', weights_only=True); "
_PICKLED: Final = "import gzip, numpy, pathlib, pickle; x = pickle.loads({content}, encoding='latin1'); "
_PICKLES: Final = (".pkl", ".pickle", ".pkl.gz", ".pickle.gz")
_JOBLIB: Final = "import joblib, numpy; x = joblib.load({source}); "
_STREAM: Final = "import numpy, pyarrow; x = pyarrow.ipc.open_stream(pyarrow.memory_map({source})).read_pandas(); "
_CELLS: Final = "import numpy, anndata; numpy.save({target}, anndata.read_h5ad({source}).to_df().to_numpy())"
_SAFE: Final = "import numpy; from safetensors.numpy import load_file; numpy.savez({target}, **load_file({source}))"
_ZARR: Final = (
    "import numpy, zarr; x = zarr.open({source}, mode='r'); "
    "numpy.savez({target}, **({{k: v[...] for k, v in x.arrays()}} if hasattr(x, 'arrays') else {{'x': x[...]}}))"
)
_UNTAR: Final = "mkdir {target} && tar -xf {source} -C {target}"
_BINARY: Final = rb"(?=.*[\0-\x08])"
"""Where the first bytes are letters: the names in a text's first line may begin with the same ones."""
_TRUST: Final = ". Unpickling can run any code: do it only with a file that you trust"


@dataclass(frozen=True)
class Foreign:
    """A format that cannot be imported.

    Attributes:
        what: name of the format, in words.
        line: Python code that converts it, or a shell command where the result is a folder.
        endings: endings of file names, in lower case.
        makes: ending of the result's name; empty for a folder.
        magic: pattern of the first bytes of such a file, whatever its name is.
    """

    what: str
    line: str
    endings: tuple[str, ...]
    makes: str = ".npy"
    magic: bytes = b"(?!)"


H5AD: Final = Foreign("AnnData, whose matrix X is not stored as one array", _CELLS, (".h5ad",))
TORCH: Final = Foreign("a file of PyTorch", _TENSORS + _ITEMS, (".pt", ".pth", ".ckpt"), ".npz")
_FORMATS: Final = (
    TORCH,
    H5AD,
    # The length of the header, and then JSON.
    Foreign("safetensors", _SAFE, (".safetensors",), ".npz", rb'.{5}\0\0\0\{"'),
    Foreign("Parquet", _PANDAS % "parquet", (".parquet", ".pq"), magic=b"PAR1" + _BINARY),
    Foreign("a stream of Arrow", _STREAM + _NUMBERS, (), magic=rb"\xff{4}"),
    Foreign("Arrow or Feather", _PANDAS % "feather", (".feather", ".arrow"), magic=b"(ARROW1|FEA1)" + _BINARY),
    Foreign("ORC", _PANDAS % "orc", (".orc",), magic=b"ORC" + _BINARY),
    Foreign("records of TensorFlow", _RECORDS, (".tfrecord", ".tfrecords")),
    Foreign(f"joblib's pickled objects{_TRUST}", _JOBLIB + _ITEMS, (".joblib",), ".npz"),
    Foreign(f"pickled Python objects{_TRUST}", _PICKLED + _ITEMS, _PICKLES, ".npz", rb"\x80[\2-\5]"),
    Foreign("a workbook", _PANDAS % "excel", (".xlsx", ".xls", ".ods")),
    Foreign("Zarr", _ZARR, (".zarr",), ".npz"),
    Foreign("a tar archive", _UNTAR, (".tar", ".tgz", ".tar.gz"), "", rb".{257}ustar"),
)


def foreign(path: Path, head: bytes = b"") -> Foreign | None:
    """Return the format that a file seems to have, by its name or its first bytes; None where none fits."""
    by_name = (each for each in _FORMATS if path.name.lower().endswith(each.endings))
    by_bytes = (each for each in _FORMATS if re.match(each.magic, head, re.DOTALL))
    # The name comes first, because it says more than the bytes: PyTorch's old files begin like pickled files.
    return next(by_name, None) or next(by_bytes, None)


def refusal(found: Foreign, source: Source) -> DataCorrupt:
    """Return the error for a source of a foreign format; its hint is a command that converts and imports it."""
    request, path = source.request, source.request.source
    stem = path.name.removesuffix(next((e for e in found.endings if path.name.lower().endswith(e)), path.suffix))
    target, count = f"{stem}{found.makes}", 1
    while Path(target).exists():
        count += 1
        target = f"{stem}-{count}{found.makes}"
    read = f"pathlib.Path({str(path)!r}).read_bytes()"
    content = f"gzip.decompress({read})" if path.suffix.lower() == ".gz" else read
    quote = repr if found.makes else shlex.quote
    line = found.line.format(source=quote(str(path)), target=quote(target), content=content)
    line = f"python -c {shlex.quote(line)}" if found.makes else line
    what = f"the format is not known to the import; it looks like {found.what}"
    options = ["--name", request.name, *(["--replace"] if request.replace else [])]
    then = data_command("data", "import", target, *options, data_dir=source.scratch.folder)
    return DataCorrupt(what, hint=f"{line} && {then}")

import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dregcli.errors import StoreCorrupt
from dregcli.store import documents

PATH = Path("x.json")


@given(st.floats(allow_nan=False))
def test_floats_come_back_exactly(value: float) -> None:
    assert documents.decode(documents.encode({"x": value}), PATH) == {"x": value}


def test_values_that_json_lacks_are_valid_json_on_disk() -> None:
    content = documents.encode({"a": [math.nan, math.inf], "b": {"c": -math.inf}})

    def refuse(constant: str) -> float:
        raise AssertionError(constant)

    json.loads(content, parse_constant=refuse)
    back = documents.decode(content, PATH)
    assert math.isnan(back["a"][0])
    assert back["a"][1] == math.inf
    assert back["b"]["c"] == -math.inf


def test_numpy_scalars_tuples_and_undecodable_text_survive() -> None:
    document = {"x": np.float64(0.1), "n": np.int64(3), "nan": np.float32("nan"), "t": (1, 2), "argv": "\udcff"}
    back = documents.decode(documents.encode(document), PATH)
    assert math.isnan(back.pop("nan"))
    assert back == {"x": 0.1, "n": 3, "t": [1, 2], "argv": "\udcff"}


@pytest.mark.parametrize("document", [{"x": object()}, {1: "x"}, {"$float": "nan"}, {"x": {"$float": 1}}])
def test_what_json_cannot_hold_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(TypeError):
        documents.encode(document)


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"x": NaN}', '{"x": {"$float": "?"}}', "[" * 100_000, "\xff"])
def test_bad_json_names_the_file(text: str) -> None:
    with pytest.raises(StoreCorrupt) as caught:
        documents.decode(text.encode("latin-1"), PATH)
    assert caught.value.where == "x.json"


def test_every_flipped_bit_of_a_sealed_document_is_found(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    whole = documents.seal({"status": "running", "x": 0.25, "text": "é"})
    path.write_bytes(whole)
    assert documents.unseal(path) == {"status": "running", "x": 0.25, "text": "é"}
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 1 << random.Random(position).randrange(8)
        path.write_bytes(changed)
        with pytest.raises(StoreCorrupt):
            documents.unseal(path)


@pytest.mark.parametrize("change", [lambda b: b + b"\n", lambda b: b[:-1], lambda b: b.replace(b"\n ", b"\n\t", 1)])
def test_another_spelling_of_a_sealed_document_is_found(tmp_path: Path, change) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(change(documents.seal({"x": 1})))
    with pytest.raises(StoreCorrupt, match="digest"):
        documents.unseal(path)


def test_a_file_too_large_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    with path.open("wb") as file:
        file.truncate(documents.SIZE_LIMIT + 1)  # sparse: takes no space
    with pytest.raises(StoreCorrupt, match="larger"):
        documents.read_bytes(path, limit=documents.SIZE_LIMIT)

"""Mutates files of runs and uses them: no traceback, no hang, and no number that is not the run's.

Every mutation is of a fresh copy of a small store, in one file of any kind. What reads it must say what is wrong, or
fall back and say so, or be right: an evaluation is that of the checkpoint it names, a resumed run ends where it would
have ended. What is deleted by hand nobody can miss everywhere; what is altered everybody must.
"""

import contextlib
import io
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dregcli.cli.main import UNEXPECTED, main
from dregcli.store.runs import RunStore
from tests.crash.harness import differences
from tests.support.cli import SMALL, typed

DONE, STOPPED = "done", "stopped"
STEPS: Final = 30


@dataclass
class Fuzzed:
    """What was counted, and what went wrong."""

    mutations: int = 0
    codes: dict[str, int] = field(default_factory=dict[str, int])
    faults: list[str] = field(default_factory=list[str])


@dataclass(frozen=True)
class Expected:
    """Of the sound store: bounds by checkpoint, and the store in which the stopped run was resumed."""

    bounds: dict[int, float]
    resumed: Path


def _dreg(root: Path, *words: object) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(typed(*words, "--runs-dir", root))
    return code, out.getvalue(), err.getvalue()


def make(folder: Path) -> tuple[Path, Expected]:
    """A store with a finished run and a stopped one, both with a file of every kind, and what they come to."""
    root = folder / "store"
    often = ("--checkpoint-every", 10, "--eval-every", 10, "--log-every", 5, "--steps", STEPS, "--keep-last", 9)
    for name in (DONE, STOPPED):
        assert _dreg(root, "train", *SMALL, *often, "--name", name, "--quiet")[0] == 0
    _stop(root)
    for words in (("runs", "tag", DONE, "--add", "x"), ("runs", "note", DONE, "y"), ("report", DONE)):
        assert _dreg(root, *words)[0] == 0
    bounds = {step: _evaluated(root, step)[1] for step in (10, 20, 30)}
    resumed = Path(shutil.copytree(root, folder / "resumed"))
    assert _dreg(resumed, "train", "--resume", STOPPED, "--quiet")[0] == 0
    return root, Expected(bounds, resumed)


def _stop(root: Path) -> None:
    """Has a run be one that was stopped at step 20 and never finished, with parts and a lease."""
    store = RunStore(root)
    run = store.resolve(STOPPED)[0]
    writer = store.reopen(run, spec=run.spec() | {"steps": STEPS + 1})
    writer.roll_back(20)
    writer.append("train", {"step": 25, "bound": 0.0})
    writer.finish("interrupted", {"step": 25})
    writer = store.reopen(run, spec=run.spec() | {"steps": STEPS})
    writer.finish("interrupted", {"step": 25})


def _evaluated(root: Path, step: object) -> tuple[int, float]:
    """The checkpoint that was evaluated, and its bound."""
    code, out, err = _dreg(root, "eval", DONE, "--k", 4, "--split", "test", "--checkpoint", step, "--json")
    assert code == 0, err
    (result,) = json.loads(out)["results"]
    return result["checkpoint"], result["bound"]["value"]


Mutation = Callable[[random.Random, bytes], bytes]


def _flip(chance: random.Random, content: bytes) -> bytes:
    altered = bytearray(content or b"\0")
    for _ in range(chance.choice((1, 1, 1, 4, 64))):
        altered[chance.randrange(len(altered))] ^= 1 << chance.randrange(8)
    return bytes(altered)


def _numbers(chance: random.Random, content: bytes) -> bytes:
    """Another digit: text stays well-formed."""
    places = [at for at, byte in enumerate(content) if byte in b"0123456789"]
    if not places:
        return _flip(chance, content)
    at = chance.choice(places)
    digit = str((int(chr(content[at])) + chance.randint(1, 9)) % 10).encode()
    return content[:at] + digit + content[at + 1 :]


MUTATIONS: Final[dict[str, Mutation]] = {
    "flip": _flip,
    "digit": _numbers,
    "truncate": lambda chance, content: content[: chance.randrange(len(content) + 1)],
    "empty": lambda _, __: b"",
    "extend": lambda chance, content: content + chance.randbytes(chance.choice((1, 512, 70_000))),
    "zeros": lambda _, content: bytes(len(content)),
    "noise": lambda chance, content: chance.randbytes(len(content)),
    "twice": lambda _, content: content + content,
    "json": lambda chance, _: chance.choice(
        (b"{}\n", b"[]", b"null", b"[" * 100_000, b'{"format": 1e999}', b"\xff\xfe")
    ),
}


def _files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file() and path.parent != root)


def _mutate(chance: random.Random, root: Path) -> str:
    """Changes one file, of any kind as likely as of any other."""
    kinds: dict[str, list[Path]] = {}
    for path in _files(root):
        kinds.setdefault("".join(c for c in path.name if not c.isdigit()) + path.parent.name[:5], []).append(path)
    path = chance.choice(kinds[chance.choice(sorted(kinds))])
    how = chance.choice([*MUTATIONS, "another's", "folder", "pipe", "link"])
    told = f"{how} {path.relative_to(root)}"
    content = path.read_bytes()
    if how in MUTATIONS:
        altered = MUTATIONS[how](chance, content)
    elif how == "another's":
        other = chance.choice(_files(root))
        # One label in the place of another is a label that somebody wrote: as one that is gone, nobody can tell. Nor
        # can anybody tell who took a lease that has ended.
        label = other.parent == path.parent and path.parent.name == "labels"
        lease = other.name == path.name == "holder.json"
        altered = content if label or lease else other.read_bytes()
    else:
        path.unlink()
        if how == "folder":
            path.mkdir()
        elif how == "pipe":
            os.mkfifo(path)
        else:
            path.symlink_to("/dev/zero")
        return told
    path.write_bytes(altered)
    return told if altered != content else ""


def _checks(chance: random.Random, root: Path, expected: Expected) -> Iterator[tuple[str, int, str, str]]:
    """Uses the store; yields what each command gave, and what of it cannot be."""
    for words in (("runs", "list"), ("runs", "show", DONE), ("runs", "show", STOPPED), ("runs", "verify")):
        code, _, err = _dreg(root, *words)
        yield " ".join(words), code, err, ""
    heavy = chance.choice(("report", "eval", "resume", "diff"))
    if heavy == "report":
        code, _, err = _dreg(root, "report", DONE, STOPPED)
        yield heavy, code, err, ""
    elif heavy == "diff":
        code, _, err = _dreg(root, "runs", "diff", DONE, STOPPED)
        yield heavy, code, err, ""
    elif heavy == "eval":
        code, out, err = _dreg(root, "eval", f"{DONE}/v001", "--k", 4, "--split", "test", "--json")
        wrong = ""
        if code == 0:
            (result,) = json.loads(out)["results"]
            if expected.bounds[result["checkpoint"]] != result["bound"]["value"]:
                wrong = f"the bound of step {result['checkpoint']} is {result['bound']['value']}"
        yield heavy, code, err, wrong
    else:
        code, _, err = _dreg(root, "train", "--resume", f"{STOPPED}/v001", "--quiet")
        wrong = ""
        if code == 0:
            mine, theirs = (RunStore(each).resolve(f"{STOPPED}/v001")[0] for each in (root, expected.resumed))
            found = [each for each in differences(mine, theirs) if not each.startswith("checkpoints")]
            wrong = f"resumed, it differs: {', '.join(found)}" if found else ""
        yield heavy, code, err, wrong


def fuzz(folder: Path, mutations: int, seed: int, told: Callable[[str], None] = lambda _: None) -> Fuzzed:
    """So many mutations, each of a fresh copy."""
    root, expected = make(folder)
    found = Fuzzed()
    for number in range(mutations):
        chance = random.Random(f"{seed}/{number}")
        copy = Path(shutil.copytree(root, folder / "mutated"))
        if mutation := _mutate(chance, copy):
            found.mutations += 1
            results: list[tuple[str, int, str, str]] = []
            try:
                results += _checks(chance, copy, expected)
            except Exception as error:
                found.faults.append(f"{number}: {mutation}: {error!r}")
            for words, code, err, wrong in results:
                found.codes[f"{words}: {code}"] = found.codes.get(f"{words}: {code}", 0) + 1
                if code == UNEXPECTED or "Traceback" in err or wrong:
                    found.faults.append(f"{number}: {mutation}: {words} gave {code}: {wrong or err.strip()[:300]}")
            missed = dict((words, code) for words, code, _, _ in results).get("runs verify") == 0
            if missed:
                found.faults.append(f"{number}: {mutation}: runs verify found nothing")
        shutil.rmtree(copy)
        if number % 100 == 99:
            told(f"{number + 1} mutations, {len(found.faults)} faults")
    return found

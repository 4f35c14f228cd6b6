"""Every block of README, CONTRIBUTING and docs runs, or says above it why it does not."""

import contextlib
import io
import re
import runpy
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from dregcli.cli.main import main
from tests.docs.blocks import PAGES, PLAIN, PYTHON, ROOT, SHELL, Block, before, blocks, commands, name
from tests.docs.shortened import ALSO, STEPS, early_looks, shorten, shortened
from tests.support.cli import run

PAGE_OF_CHOICE = (ROOT / "docs" / "choose.md").read_text(encoding="utf-8")
PAGE_OF_OWN_MODEL = (ROOT / "docs" / "tutorials" / "own-model.md").read_text(encoding="utf-8")

VERDICTS = {"biased", "inconclusive", "identical"}
"""Words of an output that a test, with so few batches, may print in place of ``unbiased``."""


class Reader:
    """Somebody who works through a page: in one folder, with one Python session."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.scope: dict[str, Any] = {"__name__": "__docs__"}
        self.printed = ""
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def type(self, line: str) -> None:
        """Run a line of a shell block."""
        line, _, target = line.partition(" > ")
        words = shlex.split(line, comments=True)
        if words[0] == "export":
            self._monkeypatch.setenv(*words[1].split("=", 1))
        elif words[0] == "dreg":
            with early_looks():
                outcome = run(self._capsys, *shortened(words[1:]))
            assert outcome.code in (0, *ALSO.get(words[1], ())), f"{line}\n{outcome.out}\n{outcome.err}"
            self.printed = outcome.out + outcome.err
            if target:
                Path(target).write_text(outcome.out)
        elif words[0] == "python":
            self._monkeypatch.setattr(sys, "argv", words[1:])
            self.printed = _printed(lambda: runpy.run_path(words[1], run_name="__main__"))
        else:
            pytest.fail(f"'{line}': the tests run dreg and python; mark the block as not run, with the reason")

    def read(self, block: Block, page: str) -> None:
        if block.mark == "file":
            Path(block.value).write_text(block.text)
        elif block.mark == "output":
            missing = words_of(block.text) - words_of(self.printed) - VERDICTS - {"unbiased"}
            assert not missing, f"{page}:{block.line} shows words that are not printed: {sorted(missing)}"
        elif block.language in SHELL and block.is_run:
            for line in commands(block.text):
                self.type(line)
        elif block.language == PYTHON and block.is_run:
            code = compile("\n" * block.line + block.text, page, "exec")
            self.printed = _printed(lambda: exec(code, self.scope))


def _printed(call: Any) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        call()
    return out.getvalue()


def words_of(text: str) -> set[str]:
    """The plain words of an output: no numbers, and nothing that contains digits, dots, colons or slashes."""
    return set(re.findall(r"(?<![\w.:/-])[A-Za-z][A-Za-z-]+(?![\w:/-])", text))


def numbers_of(text: str) -> list[float]:
    return [float(each) for each in re.findall(r"\d+\.\d+", text)]


def claims_of_own_model(scope: dict[str, Any]) -> None:
    """Training has learned to use the latents.

    A model that ignores its latents reaches at most -39.5 nats here, minus the sum of the pixels' entropies for 8
    patterns of 64 random pixels. A model that tells the patterns apart can reach -log 8.
    """
    assert scope["bounds"][0] < -40.0
    assert scope["bounds"][-1] > -15.0


def claims_of_check(scope: dict[str, Any]) -> None:
    assert [(each.pair.estimator.name, each.verdict) for each in scope["results"]] == [
        ("dreg", "unbiased"),
        ("stl", "biased"),
    ]
    bias, noise = (numbers_of(each.text) for each in blocks(PAGE_OF_OWN_MODEL) if each.mark == "output")
    sizes = [size for each in scope["results"] for size in (each.relative_bias, each.detectable)]
    assert bias == pytest.approx(sizes, abs=0.01)
    last = scope["encoder_gradient"]
    assert noise[-2:] == pytest.approx([last.variance, last.snr], abs=0.01)
    assert scope["c"].path.shape == (64, 32)


def claims_of_choice(scope: dict[str, Any]) -> None:
    """The table in one dimension, and that the mean of STL is that of IWAE and of RWS together."""
    (found,) = re.findall(r"^\| `iwae/reparam` \| `iwae/dreg` \|.*\n.*\n.*$", PAGE_OF_CHOICE, re.MULTILINE)
    header, _, numbers = found.splitlines()
    pairs = re.findall(r"`([^`]+)`", header)
    shown = dict(zip(pairs, map(float, numbers.strip("| ").split("|")), strict=True))
    assert shown == pytest.approx(scope["deviations"], rel=0.05, abs=0.0005)
    means = scope["means"]
    assert means["iwae/stl"] == pytest.approx(means["iwae/dreg"] + means["rws/dreg"], abs=0.002)
    assert means["iwae/reparam"] == pytest.approx(means["iwae/dreg"], abs=0.01)


CLAIMS = {
    "README.md": claims_of_own_model,
    "docs/tutorials/own-model.md": claims_of_check,
    "docs/choose.md": claims_of_choice,
}
"""What must be true of a page's Python session at its end."""


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_examples_of_a_page_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DREG_RUNS_DIR")
    shorten(monkeypatch)
    text = page.read_text(encoding="utf-8")
    reader = Reader(monkeypatch, capsys)
    with torch.random.fork_rng():  # around the whole page: its first block sets the seed for the others
        for line in before(text):
            reader.type(line)
        for block in blocks(text):
            reader.read(block, name(page))
    CLAIMS.get(name(page), lambda _: None)(reader.scope)


def faults(text: str) -> list[str]:
    """Blocks of a page that no test can treat, and marks without a reason."""
    found: list[str] = []
    for block in blocks(text):
        if block.language not in (*SHELL, PYTHON, *PLAIN) and not block.language.startswith("{"):
            found.append(f"line {block.line}: a block of '{block.language}'")
        if block.mark == "not run" and not re.match(r"(needs|takes) (\S+ ){2,}", f"{block.value} "):
            found.append(f"line {block.line}: no reason: write what it needs, or how long it takes")
        if block.mark == "file" and not re.fullmatch(r"[a-z_-]+\.[a-z]+", block.value):
            found.append(f"line {block.line}: no name of a file")
    marks = re.findall(r"^<!-- (?:not run|file|output)\b.*$", text, flags=re.MULTILINE)
    if len(marks) != sum(bool(block.mark) for block in blocks(text)):
        found.append("a mark that stands above no block")
    if re.search(r"\n\n {4}\S", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)):
        found.append("an indented block, which nothing would run")
    if len(re.findall(r"^```", text, flags=re.MULTILINE)) != 2 * len(list(blocks(text))):
        found.append("a block that is not closed, or is indented")
    return found


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_runs_or_has_a_reason(page: Path) -> None:
    assert faults(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "text",
    [
        "```\nx\n```\n",
        "```ruby\nputs 1\n```\n",
        "<!-- not run: -->\n```sh\nls\n```\n",
        "<!-- not run: because -->\n```sh\nls\n```\n",
        "<!-- not run: needs the network -->\n\n```sh\nls\n```\n",
        "<!-- file: ../x -->\n```toml\nk = 1\n```\n",
        "```sh\nls\n",
        "Text.\n\n    dreg train\n",
    ],
)
def test_a_block_without_a_reason_is_caught(text: str) -> None:
    assert faults(text)


def test_an_example_that_fails_is_caught(monkeypatch, capsys, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    reader = Reader(monkeypatch, capsys)
    for text in ("```sh\ndreg train --no-such-option\n```", "```sh\nls\n```", "```python\nassert False\n```"):
        (block,) = blocks(text)
        with pytest.raises((AssertionError, pytest.fail.Exception)):
            reader.read(block, "a page")
    reader.printed = "pair verdict\niwae/dreg inconclusive 0.1"
    for text, is_right in (("pair verdict\niwae/dreg unbiased 0.3", True), ("pair colour", False)):
        (block,) = blocks(f"<!-- output -->\n```text\n{text}\n```")
        with contextlib.nullcontext() if is_right else pytest.raises(AssertionError):
            reader.read(block, "a page")


def test_shortened_commands_keep_what_they_do() -> None:
    for typed, run_ in (
        ("train --steps 4000 --k 16", f"train --steps {STEPS} --k 16 --batch-size 8"),
        ("train --resume RUN --steps 4000", f"train --resume RUN --steps {2 * STEPS}"),
        ("train --resume RUN", "train --resume RUN"),
        ("train --steps 2 --seeds 1-4", "train --steps 2 --seeds 1-2 --batch-size 8"),
        ("eval RUN --k 1,10", "eval RUN --k 1,10 --n 8"),
        ("eval RUN --method ais --n 4", "eval RUN --method ais --n 4 --steps 5"),
        ("report", "report"),
    ):
        assert shortened(typed.split()) == run_.split()


def test_every_command_of_every_page_exists(capsys: pytest.CaptureFixture[str]) -> None:
    """Every ``dreg ...`` line of a block, run or not, names a command and options that its help knows."""
    known: dict[str, str] = {}
    seen = 0
    for page in PAGES:
        shell = [block for block in blocks(page.read_text(encoding="utf-8")) if block.language in SHELL]
        for line in (line for block in shell for line in commands(block.text)):
            if not (found := re.search(r"(?:^|&& |/)dreg ([a-z].*)$", line)):
                continue
            seen += 1
            words = shlex.split(found[1], comments=True)
            command = words[: 2 if words[0] in ("data", "paper", "runs", "spec") else 1]
            if (typed := " ".join(command)) not in known:
                capsys.readouterr()
                assert main([*command, "--help"]) == 0, line
                known[typed] = capsys.readouterr().out
            for word in words:
                if word.startswith("--"):
                    what = f"{name(page)}: {word} is not an option of dreg {typed}"
                    assert re.search(rf"{re.escape(word.partition('=')[0])}(?![a-z-])", known[typed]), what
    assert seen > 100

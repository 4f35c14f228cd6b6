"""The output of a check of a model in the terminal."""

from typing import TYPE_CHECKING, Any, Final

from dregcli.cli.render import Terminal
from dregcli.names import Severity, Verdict
from dregcli.wording import counted

if TYPE_CHECKING:
    from dregcli.app.diagnosis.check_model import ModelReport

_NAMED: Final = 6
"""Largest number of parameters that are named in a line."""


def show(terminal: Terminal, report: "ModelReport") -> None:
    """Show all findings, and then what the model consists of."""
    plain = report.as_json()
    shape = " x ".join(map(str, plain["shape"]))
    terminal.line(f"{plain['model']} on {plain['dataset']} ({plain['kind']}, {shape}): {_verdict(plain['findings'])}")
    for each in plain["findings"]:
        terminal.line()
        terminal.line(f"{each['severity']}: {each['key']}")
        terminal.line(f"  {each['what']}")
        if each["file"]:
            part = f" ({each['part']})" if each["part"] else ""
            terminal.line(f"  where:  {each['file']}, line {each['line']}{part}")
        if each["text"]:
            terminal.line(f"          {each['text']}")
        terminal.line(f"  change: {each['change']}")
    terminal.line()
    for line in _parts(plain):
        terminal.line(line)
    terminal.line(f"checked on {plain['examples']} training examples in {plain['seconds']:.1f} s")


def _verdict(findings: list[dict[str, Any]]) -> str:
    errors = sum(each["severity"] == Severity.ERROR for each in findings)
    warnings = len(findings) - errors
    counts = [counted(count, word) for count, word in ((errors, "fault"), (warnings, "warning")) if count]
    return ", ".join(counts) or "no fault found"


def _parts(plain: dict[str, Any]) -> list[str]:
    lines = [
        f"latent {each['name']}: shape ({', '.join(map(str, each['shape']))}), q {each['q']}, "
        f"p {each['p'] or 'missing'}, " + ("with a path" if each["has_path"] else "without a path")
        for each in plain["latents"]
    ]
    if plain["likelihood"]:
        lines.append(f"p(x | z): {plain['likelihood']}")
    kinds = {
        "theta": "theta, which log p(x, z) reaches",
        "phi": "phi, which q(z | x) reaches",
        "shared": "in both, which gets the sum of both gradients",
        "unreached": "reached by nothing",
        "frozen": "frozen",
    }
    for kind, words in kinds.items():
        names: list[str] = plain["parameters"][kind] if plain["parameters"] else []
        if names:
            count = sum(plain["sizes"][name] for name in names)
            shown = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
            lines.append(f"{words}: {counted(len(names), 'tensor')}, {count:,} numbers: {shown}")
    return [*lines, _comparison(plain["comparison"])]


def _comparison(plain: dict[str, Any]) -> str:
    if plain["reason"]:
        return f"no comparison of two estimators: {plain['reason']}"
    one, other = plain["estimators"]
    noun = "batch" if plain["batches"] == 1 else "batches"
    words = f"{one} against {other}, K={plain['k']}: {plain['verdict']} after {plain['batches']:,} {noun}; "
    if not plain["tested"] and plain["verdict"] == Verdict.INCONCLUSIVE:
        words += "the time ended before the first test"
    elif plain["relative_bias"] is None or plain["detectable"] is None:
        words += "the bias is lost in noise"
    else:
        words += f"relative bias {plain['relative_bias']:.3f}, and {plain['detectable']:.3f} would be found"
    if plain["verdict"] == Verdict.INCONCLUSIVE:
        words += "; this is no fault; for a verdict, give more time with --max-seconds"
    return words

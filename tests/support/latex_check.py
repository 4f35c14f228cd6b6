"""What would keep a table from compiling, found without LaTeX: a strict reading of the little of it that is used."""

import re

KNOWN = {
    "begin", "end", "centering", "caption", "label", "toprule", "midrule", "bottomrule", "pm", "mathbf",
    "textbackslash", "textasciicircum", "textasciitilde", "textless", "textgreater", "textbar",
}  # fmt: skip
_TOKEN = re.compile(r"\\([A-Za-z]+)|\\(.)|([{}$&#%_^~])|([^\\{}$&#%_^~]+)", re.DOTALL)
_ESCAPED = "{}$&#%_,\\"


def faults(text: str) -> list[str]:
    """Everything that is wrong, in words."""
    found = [f"character {char!r}" for char in dict.fromkeys(text) if not (char == "\n" or " " <= char <= "~")]
    body = "\n".join(line for line in text.split("\n") if not line.startswith("% "))
    braces, math = 0, False
    for match in _TOKEN.finditer(body):
        command, escaped, special, plain = match.groups()
        if command and command not in KNOWN:
            found.append(f"command \\{command}")
        if command == "pm" and not math:
            found.append("\\pm outside of mathematics")
        if escaped and escaped not in _ESCAPED:
            found.append(f"escape \\{escaped}")
        if special == "$":
            math = not math
        elif special in ("{", "}"):
            braces += 1 if special == "{" else -1
            if braces < 0:
                found.append("a brace too many is closed")
                braces = 0
        elif special in ("_", "^") and not math:
            found.append(f"{special} outside of mathematics")
        elif special in ("#", "%"):
            found.append(f"bare {special}")
        if plain and math and "\n" in plain:
            found.append("mathematics over a line's end")
    if braces:
        found.append("a brace is left open")
    if math:
        found.append("mathematics is left open")
    return found + _environments(body) + _rows(body)


def _environments(body: str) -> list[str]:
    open_ones: list[str] = []
    found: list[str] = []
    for what, name in re.findall(r"\\(begin|end)\{(\w+)\}", body):
        if what == "begin":
            open_ones.append(name)
        elif not open_ones or open_ones.pop() != name:
            found.append(f"\\end{{{name}}} has no beginning")
    return found + [f"{name} is left open" for name in open_ones]


def _rows(body: str) -> list[str]:
    columns = re.search(r"\\begin\{tabular\}\{([lrc]+)\}\n(.*?)\\end\{tabular\}", body, re.DOTALL)
    if columns is None:
        return ["no tabular"]
    lines = [line.strip() for line in columns[2].strip().split("\n")]
    found = [f"row does not end: {line}" for line in lines if line[:1] != "\\" and not line.endswith(r" \\")]
    for cells in cells_of(body):
        if len(cells) != len(columns[1]):
            found.append(f"{len(cells)} cells in {len(columns[1])} columns")
    return found


def cells_of(text: str) -> list[list[str]]:
    """The cells of every row of the tabular, the heading first."""
    lines = [line.strip() for line in text.split("\n") if line.endswith(r" \\")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)&", line.removesuffix(r" \\"))] for line in lines]

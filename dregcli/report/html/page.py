"""The bytes of a page: template, style and script in one file that needs no other file and no network."""

from base64 import b64encode
from hashlib import sha256
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from dregcli.report.html.view import Page
from dregcli.wording import printable

_PACKAGE = "dregcli.report.html"


def render(page: Page) -> bytes:
    """Return the file in UTF-8.

    All content of runs is text, never markup: the template escapes it. The content policy permits only the page's own
    script and style, by their digests, and only images at ``data:`` addresses.
    """
    style, script = (files(_PACKAGE).joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    policy = {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": _digest(style),
        "script-src": _digest(script),
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    template = _environment().get_template("page.html")
    text = template.render(
        page=page,
        policy="; ".join(f"{name} {value}" for name, value in policy.items()),
        style=Markup(style),
        script=Markup(script),
    )
    return text.encode("utf-8", "backslashreplace")  # a path may hold bytes that are not UTF-8


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader(_PACKAGE, ""),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_harmless,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _harmless(value: object) -> object:
    """Spell out invisible characters; surrogates could not even be written as UTF-8."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _digest(content: str) -> str:
    return f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'"

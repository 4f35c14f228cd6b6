"""A page's bytes: template, style and script in one file that needs nothing and can reach nothing."""

from base64 import b64encode
from hashlib import sha256
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from dregcli.report.html.view import Page
from dregcli.wording import printable

_PACKAGE = "dregcli.report.html"


def render(page: Page) -> bytes:
    """The file, in UTF-8.

    Whatever the page holds is text, never markup: the template escapes it, and the content policy admits no script
    and no style but the page's own, by their digests, and no address but ``data:`` of images.
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
    told = template.render(
        page=page,
        policy="; ".join(f"{name} {value}" for name, value in policy.items()),
        style=Markup(style),
        script=Markup(script),
    )
    return told.encode("utf-8", "backslashreplace")  # a path may hold bytes that are no text


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
    """What cannot be seen is spelt out; surrogates would not even be UTF-8."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _digest(content: str) -> str:
    return f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'"

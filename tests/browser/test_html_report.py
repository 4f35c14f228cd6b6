"""The page of ``dreg report --html`` in a real browser."""

import shlex
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from dregcli.report.html.page import render
from dregcli.report.html.view import Image, Page, Section
from tests.support.browser import chromium, complaints, requested
from tests.support.report_page import ARGV, MARKUP, SCRIPT, UNSEEN, hostile_store, page_bytes

PHONE: Final = {"width": 320, "height": 640, "deviceScaleFactor": 1, "mobile": False}
PAPER: Final = {"width": 688, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
"""The text width of A4 between its margins, in CSS pixels."""

SIDEWAYS: Final = "return document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth"

POOR_CONTRAST: Final = """
const channels = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
const linear = (c) => { c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
const behind = (element) => {
  for (; element; element = element.parentElement) {
    const found = channels(getComputedStyle(element).backgroundColor);
    if (found.length === 3) return found;
  }
  return [255, 255, 255];
};
const faults = [];
for (const element of document.querySelectorAll("body *:not(script)")) {
  if (![...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim())) continue;
  const style = getComputedStyle(element);
  const [a, b] = [luminance(channels(style.color)), luminance(behind(element))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) faults.push(`${element.tagName} ${element.className} ${style.color}: ${ratio.toFixed(2)}`);
}
return faults;
"""

IMAGE_FAULTS: Final = """
return [...document.images].filter((image) =>
  !image.getAttribute("width") || !image.getAttribute("height") || !image.alt.trim() || !image.naturalWidth
).map((image) => image.outerHTML.slice(0, 80));
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    hostile_store(folder / "runs")
    path = folder / "report.html"
    path.write_bytes(page_bytes(folder / "runs"))
    return path


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture
def shown(driver: Any, page: Path) -> Any:
    """The browser with the page as it is first opened, and its logs as opening it has left them."""
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    emulate(driver)
    driver.get("about:blank")
    requested(driver), complaints(driver)
    driver.get(page.as_uri())
    return driver


def emulate(driver: Any, *, media: str = "", scheme: str = "light") -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})


def cells(driver: Any, head: str, *, table: str = "runs-table-1") -> list[str]:
    """The cells under a head, from above."""
    script = """
    const table = document.getElementById(arguments[0]);
    const column = [...table.tHead.rows[0].cells].findIndex((head) => head.textContent === arguments[1]);
    return [...table.tBodies[0].rows].map((row) => row.cells[column].textContent);
    """
    return driver.execute_script(script, table, head)


def head(driver: Any, name: str, *, table: str = "runs-table-1") -> Any:
    (found,) = driver.find_elements("xpath", f"//table[@id='{table}']/thead//th[normalize-space()='{name}']")
    return found


def test_tables_sort_by_numbers_in_both_directions(shown: Any) -> None:
    before = cells(shown, "test")
    known = [each for each in before if each != "-"]
    assert known != sorted(known, key=float)
    assert sorted(known) != sorted(known, key=float) != sorted(known, reverse=True), "as texts they sort otherwise"
    head(shown, "test").find_element("tag name", "button").click()
    assert cells(shown, "test") == [*sorted(known, key=float), "-"]
    assert head(shown, "test").get_attribute("aria-sort") == "ascending"
    runs = cells(shown, "run")
    assert len(set(runs)) == len(runs) == len(before), "rows move whole"
    head(shown, "test").find_element("tag name", "button").click()
    assert cells(shown, "test") == [*sorted(known, key=float, reverse=True), "-"], "what is not known stays last"
    assert head(shown, "test").get_attribute("aria-sort") == "descending"
    head(shown, "seed").find_element("tag name", "button").click()
    assert head(shown, "test").get_attribute("aria-sort") is None, "one column at a time"


def test_tables_sort_with_the_keyboard(shown: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    button = head(shown, "seed").find_element("tag name", "button")
    shown.execute_script("arguments[0].focus()", button)
    shown.switch_to.active_element.send_keys(Keys.ENTER)
    seeds = cells(shown, "seed")
    assert seeds == sorted(seeds, key=int)
    shown.switch_to.active_element.send_keys(Keys.SPACE)
    assert cells(shown, "seed") == sorted(seeds, key=int, reverse=True)
    shown.switch_to.active_element.send_keys(Keys.TAB)
    shown.switch_to.active_element.send_keys(Keys.ENTER)
    status = cells(shown, "status")
    assert status == sorted(status)
    assert status[-1] == "failed"


def test_words_sort_as_people_count(shown: Any) -> None:
    """v2 before v10, by the script that sorts."""
    order = shown.execute_script("return ['v10', 'v2', 'V1'].sort((a, b) => compared(a, b, false))")
    assert order == ["V1", "v2", "v10"]


def test_images_have_sizes_and_words_and_are_drawn(shown: Any) -> None:
    assert shown.execute_script("return document.images.length") == 2
    assert shown.execute_script(IMAGE_FAULTS) == []
    sizes = shown.execute_script("return [...document.images].map((i) => [i.width, i.height, i.naturalWidth])")
    assert [each[:2] for each in sizes] == [[672, 384], [288, 288]]
    kinds = shown.execute_script("return [...document.images].map((i) => i.src.slice(5, 15))")
    assert kinds == ["image/svg+", "image/png;"]
    for wrong in ("<img width=1 height=1 alt=x src=data:,>", "<img width=1 height=1 src='$'>", "<img alt=x src='$'>"):
        add = (
            "document.querySelector('main').insertAdjacentHTML('beforeend', arguments[0].replace('$', arguments[1]))"
        )
        good = shown.execute_script("return document.images[0].src")
        shown.execute_script(add, wrong, good)
        assert len(shown.execute_script(IMAGE_FAULTS)) == 1, wrong
        shown.execute_script("document.querySelector('main').lastElementChild.remove()")


def test_nothing_leaves_the_page_and_nothing_complains(shown: Any, page: Path, tmp_path: Path) -> None:
    head(shown, "seed").find_element("tag name", "button").click()
    assert requested(shown) == [page.as_uri()]
    assert complaints(shown) == []
    # The policy holds what a page could still try, and this test would see both.
    shown.execute_script("new Image().src = 'http://192.0.2.1/leak'; document.body.style = 'color: red'")
    time.sleep(0.2)
    assert any("Content Security Policy" in each for each in complaints(shown))
    free = tmp_path / "free.html"
    free.write_text("<img src='missing.png'><script>console.error('wrong')</script>")
    requested(shown)
    shown.get(free.as_uri())
    assert requested(shown) == [free.as_uri(), (tmp_path / "missing.png").as_uri()]
    assert any("wrong" in each for each in complaints(shown))


def test_light_and_dark_are_legible(shown: Any) -> None:
    background = "return getComputedStyle(document.body).backgroundColor"
    found: dict[str, str] = {}
    for scheme in ("light", "dark"):
        emulate(shown, scheme=scheme)
        found[scheme] = shown.execute_script(background)
        assert shown.execute_script(POOR_CONTRAST) == [], scheme
        card = "return getComputedStyle(document.querySelector('.card')).backgroundColor"
        assert shown.execute_script(card) == found[scheme], "figures are drawn for both"
    assert found["light"] == "rgb(255, 255, 255)" != found["dark"]
    shown.execute_script("document.querySelector('h2').style.color = '#777'")
    assert len(shown.execute_script(POOR_CONTRAST)) == 1


def test_the_theme_can_be_changed(shown: Any) -> None:
    background = "return getComputedStyle(document.body).backgroundColor"
    light = shown.execute_script(background)
    toggle = shown.find_element("css selector", "button.theme")
    assert toggle.text == "Dark theme"
    toggle.click()
    dark = shown.execute_script(background)
    assert dark != light
    assert shown.execute_script(POOR_CONTRAST) == []
    assert toggle.text == "Light theme"
    toggle.click()
    assert shown.execute_script(background) == light
    emulate(shown, scheme="dark")
    assert shown.execute_script(background) == light, "what was chosen holds"


@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_shows_tables_within_the_page(shown: Any, width: int) -> None:
    """No table scrolls sideways: rows are blocks, in which each value stands under its heading."""
    shown.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE | {"width": width})
    shown.execute_script("for (const each of document.querySelectorAll('details')) each.open = true")
    assert shown.execute_script("return innerWidth") == width
    assert shown.execute_script(SIDEWAYS) == 0
    wide = "return [...document.querySelectorAll('.scroll')].filter((e) => e.scrollWidth > e.clientWidth).length"
    assert shown.execute_script(wide) == 0
    outside = "return [...document.querySelectorAll('tbody td')].filter((e) => "
    outside += "e.getBoundingClientRect().right > innerWidth || e.scrollWidth > e.clientWidth + 1).length"
    assert shown.execute_script(outside) == 0
    least = "return Math.min(...[...document.querySelectorAll('.wide tbody td')].map((e) => e.clientWidth))"
    assert shown.execute_script(least) >= 80, "no column is squeezed"
    broken = "return [...document.querySelectorAll('.wide tbody td.number')].filter((e) => { "
    broken += "const range = document.createRange(); range.selectNodeContents(e); "
    broken += "return range.getClientRects().length > 1; }).map((e) => e.textContent)"
    assert shown.execute_script(broken) == [], "a number stands on one line"
    label = "const cell = document.querySelector('#runs-table-1 tbody td');"
    label += (
        "return [getComputedStyle(cell, '::before').content, cell.closest('table').tHead.rows[0].cells[1].innerText]"
    )
    shown_label, heading = shown.execute_script(label)
    assert shown_label == f'"{heading}"'
    size = "return Math.min(...[...document.querySelectorAll('main p, main td')].map((e) => "
    size += "parseFloat(getComputedStyle(e).fontSize)))"
    assert shown.execute_script(size) >= 14
    shown.execute_script("for (const each of document.querySelectorAll('table')) each.className = ''")
    assert shown.execute_script(wide) > 0, "as tables they are too wide"
    shown.execute_script("document.querySelector('h1').style.width = '900px'")
    assert shown.execute_script(SIDEWAYS) > 0


def test_a_window_of_middle_width_scrolls_tables_with_the_keyboard_too(shown: Any) -> None:
    shown.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE | {"width": 660})
    shown.execute_script("for (const each of document.querySelectorAll('details')) each.open = true")
    wide = "return [...document.querySelectorAll('.scroll')].filter((e) => e.scrollWidth > e.clientWidth).length"
    assert shown.execute_script(wide) > 0
    assert shown.execute_script(SIDEWAYS) == 0
    time.sleep(0.1)
    reached = "return [...document.querySelectorAll('.scroll')].filter((e) => e.tabIndex === 0).length"
    assert shown.execute_script(reached) == shown.execute_script(wide)


def drawing(colour: str) -> str:
    inside = f"<rect width='9' height='9' fill='{colour}'/>"
    text = f"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'>{inside}</svg>"
    return f"data:image/svg+xml;base64,{b64encode(text.encode()).decode()}"


def test_figures_follow_the_theme(driver: Any, tmp_path: Path) -> None:
    image = Image("T", "words", 500, 9, drawing("white"), drawing("black"))
    figure = Section("figures", "Figures", images=(image,))
    path = tmp_path / "figure.html"
    path.write_bytes(render(Page("T", "lead", (), (figure,), "made", "dreg report")))
    names = {image.light: "light", image.dark: "dark"}

    def drawn() -> str:
        time.sleep(0.05)
        return names[driver.execute_script("return document.images[0].currentSrc")]

    emulate(driver)
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE | {"width": 390})
    driver.get(path.as_uri())
    assert drawn() == "light"
    assert driver.execute_script(SIDEWAYS) == 0, "a figure is never wider than the page"
    emulate(driver, scheme="dark")
    assert drawn() == "dark"
    driver.find_element("css selector", "button.theme").click()
    assert drawn() == "light", "the reader chose another theme than the system's"
    driver.find_element("css selector", "button.theme").click()
    assert drawn() == "dark"
    driver.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert drawn() == "light", "paper is white"
    driver.execute_script("dispatchEvent(new Event('afterprint'))")
    assert drawn() == "dark"
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        driver.get(path.as_uri())
        assert drawn() == "dark", "without scripts, too"
    finally:
        driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_paper_has_no_buttons_and_cuts_no_table(shown: Any) -> None:
    shown.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PAPER)
    cut = "return [...document.querySelectorAll('.scroll')].filter((e) => e.scrollWidth > e.clientWidth + 1).length"
    seen = (
        "return [...document.querySelectorAll('nav, button:not(th > button)')].filter((e) => e.offsetParent).length"
    )
    shown.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert shown.execute_script("return document.querySelectorAll('details:not([open])').length") == 0
    assert shown.execute_script(cut) > 0
    assert shown.execute_script(seen) > 2
    emulate(shown, media="print", scheme="dark")
    assert shown.execute_script(cut) == 0
    assert shown.execute_script(seen) == 0
    assert shown.execute_script("return getComputedStyle(document.body).color") == "rgb(27, 30, 34)", (
        "as in the light"
    )
    arrows = "return getComputedStyle(document.querySelector('th > button'), '::after').content"
    assert shown.execute_script(arrows) == '""'
    shown.execute_script("dispatchEvent(new Event('afterprint'))")
    assert shown.execute_script("return document.querySelectorAll('details[open]').length") == 0


def test_commands_are_what_was_typed_and_can_be_copied(shown: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    shown.execute_script("for (const each of document.querySelectorAll('details')) each.open = true")
    codes = shown.find_elements("css selector", ".commands code")
    lines = [each.get_attribute("textContent") for each in codes]
    typed = [line for line in lines if "$'" not in line]
    assert shlex.split(typed[0]) == ARGV
    assert sum(shlex.split(line) == ARGV for line in typed) == 9
    assert sum("$'" in line for line in lines) == 2
    assert shlex.split(typed[1])[:4] == ["dreg", "runs", "rerun", "digits-iwae-dreg-k64/v001"]
    codes[0].find_element("xpath", "following-sibling::button").click()
    shown.execute_script("document.querySelector('main').insertAdjacentHTML('beforeend', '<textarea></textarea>')")
    area = shown.find_element("tag name", "textarea")
    area.send_keys(Keys.CONTROL, "v")
    assert area.get_attribute("value") == lines[0]
    assert shown.find_element("css selector", "[role=status]").get_attribute("textContent") == "Copied"


def test_what_runs_are_called_stays_text(shown: Any) -> None:
    shown.execute_script("for (const each of document.querySelectorAll('details')) each.open = true")
    assert shown.execute_script("return window.pwned") is None
    assert shown.execute_script("return document.getElementById('pwned')") is None
    assert shown.execute_script("return document.scripts.length") == 1
    text = shown.execute_script("return document.body.textContent")
    for each in (SCRIPT, MARKUP, r"safe \u202egnp.exe\u2066", UNSEEN[0]):
        assert each in text
    assert not set(text) & {"\u202e", "\u2066", "\x1b"}
    alt = shown.execute_script("return document.images[0].alt")
    assert alt.endswith(MARKUP)


def test_without_scripts_it_says_the_same(shown: Any, page: Path) -> None:
    kinds = "h1, h2, .lead, .caption, .note, td, th, li, dt, code"
    words = f"return [...document.querySelectorAll('{kinds}')].map((e) => e.textContent)"
    with_scripts = shown.execute_script(words)
    shown.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        shown.get(page.as_uri())
        assert shown.find_elements("tag name", "button") == []
        assert shown.find_element("id", "runs-table-1").is_displayed()
        assert shown.execute_script(words) == with_scripts
    finally:
        shown.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})

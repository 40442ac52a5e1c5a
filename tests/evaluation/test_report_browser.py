"""The report's page in a real browser: it draws, sorts, filters, switches its theme, and asks nobody for anything."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from reports import HOSTILE, made_report

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium, of the dev extra, drives the browser")
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
DRIVER = shutil.which("chromedriver")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
)
PHONE, DESKTOP = 390, 1280

pytestmark = [
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no chromium and chromedriver on this machine"),
    pytest.mark.enable_socket,  # to the browser on this machine
]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Write a page of 60 queries, some of them hostile, and one of 10,000."""
    folder = tmp_path_factory.mktemp("pages")
    small = made_report()
    rows = (replace(small.queries[i % 60], query_id=f"q{i}", text=f"question number {i}") for i in range(10_000))
    pages = {"small": folder / "small.html", "large": folder / "large.html"}
    small.save(pages["small"])
    replace(small, queries=tuple(rows)).save(pages["large"])
    return pages


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory, pages: dict[str, Path]) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def page(browser: Any, pages: dict[str, Path]) -> Iterator[Any]:
    """Open the small page on a desktop; afterwards nothing may have been said on the console or asked of a network."""
    yield from opened(browser, pages["small"])


@pytest.fixture
def large(browser: Any, pages: dict[str, Path]) -> Iterator[Any]:
    """Open the page of 10,000 queries likewise."""
    yield from opened(browser, pages["large"])


def opened(browser: Any, path: Path) -> Iterator[Any]:
    emulate(browser, DESKTOP)
    browser.get_log("browser"), browser.get_log("performance")
    browser.get(path.as_uri())
    browser.execute_script("localStorage.clear(); delete document.documentElement.dataset.theme")
    yield browser
    assert browser.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [message["params"] for message in messages if message["method"] == "Network.requestWillBeSent"]
    asked = [one["request"]["url"] for one in sent if one["documentURL"].startswith("file:")]  # not the browser's own
    assert asked
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert browser.title == "A <b>title</b> & more"


def emulate(browser: Any, width: int, *, theme: str = "light", media: str = "screen") -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": theme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})


def rows(browser: Any) -> list[list[str]]:
    script = (
        "return [...document.querySelectorAll('#query-table tbody tr')].map(r => [...r.cells].map(c => c.textContent))"
    )
    found: list[list[str]] = browser.execute_script(script)
    return found


def number(text: str) -> float:
    return float(text.replace("\N{MINUS SIGN}", "-"))


def head(browser: Any, key: str) -> Any:
    return browser.find_element(By.CSS_SELECTOR, f"#query-table th[data-key={key}]")


def background(browser: Any) -> str:
    return str(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))


def test_it_draws(page: Any) -> None:
    boxes = page.execute_script(
        "return [...document.querySelectorAll('svg.chart')].map(s => s.getBBox()).map(b => [b.width, b.height])"
    )
    assert len(boxes) == 3
    assert all(width > 300 and height > 150 for width, height in boxes)
    strokes = page.execute_script(
        "return ['.curve', '.arrows', '.diamonds'].map(c => getComputedStyle(document.querySelector(c)).stroke)"
    )
    assert len(set(strokes)) == 2  # the curve and the arrows share one
    assert "none" not in strokes


def test_text_within_a_picture_stays_inside(page: Any) -> None:
    for width in (DESKTOP, PHONE):
        emulate(page, width)
        outside = page.execute_script(
            """return [...document.querySelectorAll('svg.chart')].flatMap(s => {
                 const frame = s.getBoundingClientRect();
                 return [...s.querySelectorAll('text')].filter(t => {
                   const b = t.getBoundingClientRect();
                   return b.left < frame.left - 1 || b.right > frame.right + 1;
                 }).map(t => t.textContent);
               })"""
        )
        assert outside == []


def test_it_sorts_both_ways_and_says_so(page: Any) -> None:
    assert head(page, "change").get_attribute("aria-sort") == "descending"
    largest = number(rows(page)[0][5])
    head(page, "change").find_element(By.TAG_NAME, "button").click()
    assert head(page, "change").get_attribute("aria-sort") == "ascending"
    changes = [number(row[5]) for row in rows(page)]
    assert changes == sorted(changes)
    assert changes[0] < 0 < largest
    head(page, "text").find_element(By.TAG_NAME, "button").click()
    assert head(page, "change").get_attribute("aria-sort") == "none"
    assert head(page, "text").get_attribute("aria-sort") == "ascending"
    # What was not found goes last in either direction.
    for _ in range(2):
        head(page, "old").find_element(By.TAG_NAME, "button").click()
        assert rows(page)[0][1].isdigit()


def test_it_filters_by_words_and_outcome(page: Any) -> None:
    page.find_element(By.ID, "search").send_keys("APPLE question")
    found = rows(page)
    assert found
    assert all("apple" in row[0] and "question" in row[0] for row in found)
    page.find_element(By.ID, "search").clear()
    page.find_element(By.ID, "search").send_keys("nowhere to be found")
    assert rows(page) == []
    assert page.find_element(By.ID, "shown").text == "0 queries"
    page.find_element(By.ID, "search").send_keys(Keys.CONTROL, "a", Keys.NULL, Keys.DELETE)
    page.find_element(By.CSS_SELECTOR, "#outcome option[value='-1']").click()
    assert all(number(row[5]) < 0 for row in rows(page))
    page.find_element(By.CSS_SELECTOR, "#outcome option[value='0']").click()
    assert all(number(row[5]) == 0 for row in rows(page))


def test_the_script_writes_rows_as_the_page_was_written(page: Any, pages: dict[str, Path]) -> None:
    drawn = page.execute_script("return document.querySelector('#query-table tbody').innerHTML")
    written = page.execute_script(
        """const page = new DOMParser().parseFromString(arguments[0], 'text/html');
           return page.querySelector('#query-table tbody').innerHTML""",
        pages["small"].read_text(encoding="utf-8"),
    )
    assert drawn == written


def test_texts_stay_texts(page: Any) -> None:
    page.find_element(By.ID, "search").send_keys("onerror")
    assert rows(page)[0][0].startswith(HOSTILE[1])
    assert page.execute_script("return document.querySelectorAll('img, main b, main script:not([type])').length") == 0
    assert page.title == "A <b>title</b> & more"


def test_it_turns_its_pages(page: Any) -> None:
    first = rows(page)
    assert len(first) == 25
    assert not page.find_element(By.ID, "previous").is_enabled()
    page.find_element(By.ID, "next").click()
    page.find_element(By.ID, "next").click()
    assert len(rows(page)) == 10
    assert page.find_element(By.ID, "shown").text == "51\N{EN DASH}60 of 60 queries"
    assert not page.find_element(By.ID, "next").is_enabled()
    page.find_element(By.ID, "previous").click()
    page.find_element(By.ID, "previous").click()
    assert rows(page) == first


def test_the_theme_follows_the_system_and_then_the_button_and_is_remembered(page: Any) -> None:
    light = background(page)
    emulate(page, DESKTOP, theme="dark")
    dark = background(page)
    assert light != dark
    button = page.find_element(By.ID, "theme")
    WebDriverWait(page, 20).until(lambda _: button.text == "Light theme")  # the page is told of it by an event
    button.click()
    assert background(page) == light
    assert button.text == "Dark theme"
    page.refresh()
    assert background(page) == light


def test_a_page_without_storage_works(page: Any) -> None:
    refuse = (
        "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no', 'SecurityError') } })"
    )
    script = page.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": refuse})
    try:
        page.refresh()
        before = background(page)
        page.find_element(By.ID, "theme").click()
        assert background(page) != before
    finally:
        page.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)


def test_the_keyboard_reaches_everything(page: Any) -> None:
    body, reached = page.find_element(By.TAG_NAME, "body"), []
    for _ in range(90):  # as many as there are queries to open, and more
        page.switch_to.active_element.send_keys(Keys.TAB)
        active = page.switch_to.active_element
        if active == body:
            break
        outline = page.execute_script("return getComputedStyle(arguments[0]).outlineStyle", active)
        reached.append((active.text or active.get_attribute("id"), outline))
    names = [name for name, _ in reached]
    assert names[:2] == ["Skip to the result", "Dark theme"]
    assert {"search", "Query", "Change", "Next"} <= set(names)
    assert {outline for _, outline in reached} == {"solid"}
    button = head(page, "before").find_element(By.TAG_NAME, "button")
    button.send_keys(Keys.ENTER)
    assert head(page, "before").get_attribute("aria-sort") == "descending"
    assert page.switch_to.active_element == button


def test_a_screen_reader_finds_names_roles_and_states(page: Any) -> None:
    page.execute_cdp_cmd("Accessibility.enable", {})
    nodes = page.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    found = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]]
    roles = [role for role, _ in found]
    assert {"banner", "main", "navigation", "contentinfo", "searchbox", "status"} <= set(roles)
    assert roles.count("table") == 5
    for role, name in found:
        if role in {"button", "link", "searchbox", "combobox", "region", "image", "heading", "table"}:
            assert name, f"a {role} without a name"


def test_ten_thousand_queries_load_and_filter(large: Any) -> None:
    assert large.find_element(By.ID, "shown").text == "1\N{EN DASH}25 of 10,000 queries"
    assert large.execute_script("return document.querySelectorAll('*').length") < 2_000
    large.find_element(By.ID, "search").send_keys("number 9876")
    found = rows(large)
    assert len(found) == 1
    assert found[0][0].startswith("question number 9876")
    head(large, "after").find_element(By.TAG_NAME, "button").click()
    large.find_element(By.ID, "search").send_keys(Keys.CONTROL, "a", Keys.NULL, Keys.DELETE)
    after = [number(row[4]) for row in rows(large)]
    assert after == sorted(after, reverse=True)
    assert len(after) == 25


@pytest.mark.parametrize("width", [320, PHONE, 768, DESKTOP])
def test_nothing_runs_over_the_side(page: Any, width: int) -> None:
    emulate(page, width)
    assert page.execute_script("return [innerWidth, document.documentElement.scrollWidth <= innerWidth]") == [
        width,
        True,
    ]
    over = page.execute_script(
        """return [...document.querySelectorAll('main *:not(svg *)')].filter(e => !e.closest('thead'))
             .filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"""
    )
    assert over == []


def test_on_paper_it_is_light_and_without_controls(page: Any) -> None:
    light = page.execute_script("return getComputedStyle(document.querySelector('h1')).color")
    emulate(page, DESKTOP, theme="dark", media="print")
    assert page.execute_script("return getComputedStyle(document.querySelector('h1')).color") == light
    for name in ("nav", "#theme", ".pager", ".controls label"):
        assert not page.find_element(By.CSS_SELECTOR, name).is_displayed()
    assert page.find_element(By.ID, "query-table").is_displayed()
    printed = page.execute_cdp_cmd("Page.printToPDF", {})
    assert len(printed["data"]) > 10_000

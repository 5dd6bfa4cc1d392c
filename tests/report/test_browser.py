"""The report in a real browser: nothing missing, nothing asked for, readable on a desk, a phone and in the
dark."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.browser import CHROMIUM, FLAGS
from tests.support.synthetic_study import write_synthetic_study

from headstart.report import write_report

pytest.importorskip("playwright", reason="playwright is not installed; pip install 'headstart[dev]'")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium found; on Debian: apt-get install chromium"
)

# WCAG contrast of an element's text (or fill) against the nearest opaque ground behind it.
CONTRAST = """(selector) => {
  const parse = (c) => (c.match(/[\\d.]+/g) || []).map(Number);
  const linear = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const ground = (e) => { for (; e; e = e.parentElement) {
    const c = parse(getComputedStyle(e).backgroundColor);
    if (c.length === 3 || c[3] === 1) return c; } return [255, 255, 255]; };
  return [...document.querySelectorAll(selector)].map((e) => {
    const style = getComputedStyle(e);
    const colour = e.ownerSVGElement ? style.fill : style.color;
    const [a, b] = [luminance(parse(colour)), luminance(ground(e))].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05); }); }"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("runs") / "study"
    write_synthetic_study(folder, seeds=2, labels_per_class=(10, 100, None), test_images=400)
    return write_report(folder).as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture
def opened(
    browser: Any, address: str, request: pytest.FixtureRequest
) -> Iterator[tuple[Any, list[str], list[str]]]:
    """The report's page, its console errors and the addresses that it asked for; the parameter is (width,
    scheme)."""
    width, scheme = getattr(request, "param", (1280, "light"))
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    errors: list[str] = []
    requests: list[str] = []
    page.on(
        "console",
        lambda message: errors.append(message.text) if message.type in ("error", "warning") else None,
    )
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda asked: requests.append(asked.url))
    page.goto(address)
    yield page, errors, requests
    page.close()


def test_the_browser_reports_no_error_and_asks_for_nothing_else(
    opened: tuple[Any, list[str], list[str]], address: str
) -> None:
    page, errors, requests = opened
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    page.wait_for_function(
        "[...document.images].every((image) => image.complete || image.loading === 'lazy')"
    )
    assert errors == []
    assert [url for url in requests if not url.startswith("data:")] == [address]


def test_the_first_part_of_the_published_report_fits_on_three_screens(browser: Any) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto((Path(__file__).parents[2] / "report" / "report.html").as_uri())
    assert page.evaluate("document.querySelector('.front').getBoundingClientRect().bottom") <= 3 * 900
    page.close()


@pytest.mark.parametrize("opened", [(1280, "light"), (390, "light")], indirect=True, ids=["desk", "phone"])
def test_every_figure_and_picture_is_there_with_its_size(opened: tuple[Any, list[str], list[str]]) -> None:
    page = opened[0]
    sizes = page.evaluate("""[...document.querySelectorAll('svg.plot')].map((svg) => {
        const box = svg.getBoundingClientRect();
        return [svg.closest('figure').id, box.width, box.height]; })""")
    assert [name for name, _, _ in sizes] == [
        "fig-answer-labels",
        "fig-answer-cost",
        "fig-accuracy",
        "fig-cost",
        "fig-curves-epochs",
        "fig-curves-seconds",
        "fig-time",
        "fig-pareto-seconds",
        "fig-pareto-amortised",
        "fig-pareto-flops",
        "fig-labels",
        "fig-gap",
        "fig-confusion-cnn",
        "fig-confusion-probe",
        "fig-classes",
        "fig-reliability",
    ]
    assert all(width > 300 and height > 80 for _, width, height in sizes), sizes
    broken = page.evaluate("""Promise.all([...document.images].map((image) => { image.loading = 'eager';
        return image.decode().then(() => 0, () => 1); }))
        .then((all) => [all.length, all.reduce((a, b) => a + b, 0)])""")
    assert broken[0] >= 24 and broken[1] == 0


@pytest.mark.parametrize(
    "opened", [(1280, "light"), (768, "light"), (390, "light"), (320, "light")], indirect=True
)
def test_the_page_never_scrolls_sideways(opened: tuple[Any, list[str], list[str]]) -> None:
    page = opened[0]
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0


@pytest.mark.parametrize("opened", [(1280, "light"), (390, "light")], indirect=True, ids=["desk", "phone"])
def test_no_figure_text_runs_out_of_its_figure(opened: tuple[Any, list[str], list[str]]) -> None:
    outside = opened[0].evaluate("""[...document.querySelectorAll('svg.plot text')].filter((text) => {
        const box = text.getBoundingClientRect(), svg = text.ownerSVGElement.getBoundingClientRect();
        return box.left < svg.left - 2 || box.right > svg.right + 2
            || box.top < svg.top - 2 || box.bottom > svg.bottom + 2;
        }).map((text) => text.textContent)""")
    assert outside == []


@pytest.mark.parametrize("opened", [(390, "light")], indirect=True, ids=["phone"])
def test_figure_text_is_at_least_eight_pixels_high_on_a_phone(
    opened: tuple[Any, list[str], list[str]],
) -> None:
    smallest = opened[0].evaluate("""Math.min(...[...document.querySelectorAll('svg.plot text')].map((text) =>
        parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a || Infinity)
        .filter((v) => v > 0.1))""")
    assert smallest >= 8


def test_headings_go_down_one_step_at_a_time(opened: tuple[Any, list[str], list[str]]) -> None:
    levels = opened[0].evaluate(
        "[...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map((each) => Number(each.tagName[1]))"
    )
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))


@pytest.mark.parametrize("opened", [(1280, "light"), (1280, "dark")], indirect=True, ids=["light", "dark"])
def test_text_contrast_is_at_least_4_5(opened: tuple[Any, list[str], list[str]]) -> None:
    page = opened[0]
    for selector in (
        "p",
        "td",
        "th",
        "dd",
        "dt",
        "figcaption",
        "small",
        "a",
        "summary",
        ".wrong",
        ".verdict",
        "svg.plot text",
    ):
        contrasts = page.evaluate(CONTRAST, selector)
        if selector == "svg.plot text":  # numbers on dark cells stand on ink that the page's ground is not
            contrasts = page.evaluate(CONTRAST, "svg.plot text:not([style*='--page'])")
        assert contrasts and min(contrasts) >= 4.5, (selector, min(contrasts))


@pytest.mark.parametrize("opened", [(1280, "dark")], indirect=True, ids=["dark"])
def test_the_dark_page_is_dark(opened: tuple[Any, list[str], list[str]]) -> None:
    assert opened[0].evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 22, 26)"
    assert (
        opened[0].evaluate("getComputedStyle(document.querySelector('svg.plot')).color")
        == "rgb(231, 233, 236)"
    )

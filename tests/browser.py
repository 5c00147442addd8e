"""build/site, in a real browser where there is one: from its files, without a network; after `make site`."""

import re
import shutil
from urllib.parse import unquote, urldefrag

import pytest

from artifact.paths import BUILD, NOTEBOOKS, ROOT, notebooks

SITE, SCREENS = ROOT / BUILD / "site", ROOT / BUILD / "site-screens"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WIDTHS = {"desktop": 1280, "phone": 390}
LOOKED_AT = ["index", "ledger", "gallery", "own_cell", "api/cells", "notebooks/05_long_memory"]


def pages():
    return sorted(str(path.relative_to(SITE)) for path in SITE.rglob("*.html") if path.name != "404.html")


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no browser (Debian: chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: docs/requirements.lock")
    with playwright.sync_playwright() as started:
        launched = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def open_page(browser):
    """Opens a page; at the end of the test nothing must have failed, and nothing come from outside the folder."""
    wrong, context = [], browser.new_context()

    def opened(name, width=WIDTHS["desktop"]):
        page = context.new_page()
        page.set_viewport_size({"width": width, "height": 900})
        page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("requestfailed", lambda request: wrong.append(f"{request.url}: {request.failure}"))
        page.on("request", lambda r: wrong.append(r.url) if not r.url.startswith(("file:", "data:", "blob:")) else None)
        page.goto((SITE / name).as_uri(), wait_until="load")
        return page

    yield opened
    context.close()
    assert not wrong


def test_every_notebook_has_a_page_and_a_neighbour():
    for name in notebooks():
        footer = (SITE / NOTEBOOKS / f"{name}.html").read_text(encoding="utf-8").partition("md-footer__inner")[2]
        assert "md-footer__link--next" in footer
        assert "md-footer__link--prev" in footer


@pytest.mark.parametrize("name", pages())
def test_a_page_shows_all_it_has_and_fits_a_phone(name, open_page):
    page = open_page(name, WIDTHS["phone"])
    blank = page.evaluate("""async () => {
        const images = [...document.images];
        images.forEach(image => image.loading = "eager");
        await Promise.allSettled(images.map(image => image.decode()));
        return images.filter(image => !image.naturalWidth || !image.alt).map(image => image.src.slice(-60));
    }""")
    assert not blank
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDTHS["phone"]
    shown = page.evaluate("""() => {
        document.querySelectorAll("pre, code, .katex").forEach(part => part.remove());
        return document.querySelector("article").innerText;
    }""")
    assert not re.search(r"\$[^$\n]*\\|\\\(|\\begin", shown)  # an equation that was not set
    assert "Initialize self" not in shown
    page.close()


@pytest.mark.parametrize("name", pages())
def test_every_link_leads_somewhere(name):
    here = SITE / name
    for link in links(here.read_text(encoding="utf-8")):
        target, fragment = urldefrag(unquote(link))
        path = (here.parent / target).resolve() if target else here
        assert path.is_relative_to(SITE), link
        assert path.is_file(), link
        assert not fragment or f'id="{fragment}"' in path.read_text(encoding="utf-8"), link


def links(html):
    found = re.findall(r'<a [^>]*?href="([^"]+)"', html)
    return [link for link in found if not re.match(r"\w+:", link)]


def test_the_ledger_is_filtered(open_page):
    page = open_page("ledger.html")
    rows = page.locator("details.row")
    everything = rows.count()
    assert everything > 100
    page.select_option("select[name=verdict]", "not supported")
    refuted = page.locator("details.row:visible")
    assert 0 < refuted.count() < everything
    assert {row.get_attribute("data-verdict") for row in refuted.all()} == {"not supported"}
    page.select_option("select[name=rival]", "TBPTT(100)")
    assert {row.get_attribute("data-rival") for row in refuted.all()} == {"TBPTT(100)"}
    assert page.locator("#ledger output").inner_text() == f"{refuted.count()} of {everything} rows"
    refuted.first.click()
    assert refuted.first.locator("tbody tr").first.is_visible()


def test_the_search_finds_a_cell(open_page):
    page = open_page("index.html")
    page.fill("input[name=query]", "CTRNNCell")
    page.wait_for_selector(".md-search-result__link")
    found = [link.get_attribute("href") for link in page.locator(".md-search-result__link").all()]
    assert any("api/cells.html" in link for link in found)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", LOOKED_AT)
def test_pictures_to_look_at(name, width, open_page):
    SCREENS.mkdir(exist_ok=True)
    path = SCREENS / f"{name.replace('/', '-')}-{width}.png"
    open_page(f"{name}.html", WIDTHS[width]).screenshot(path=path)
    assert path.stat().st_size > 10_000

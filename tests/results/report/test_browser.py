"""The page in a real browser: its charts, sorting, filtering, tooltips, dark mode, and names that try to be markup."""

import time
from pathlib import Path

import pytest

from tlx.results.report import write_report

EVIL = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"


@pytest.fixture
def page(browser, rich_study, tmp_path: Path):
    """A report on a full study, open in the browser; complaints and requests fail the test afterwards."""
    file = tmp_path / "report.html"
    write_report(rich_study.folder, file)
    browser.prefer("light")
    browser.size()
    browser.open(file)
    yield browser
    assert browser.requests == [file.resolve().as_uri()], "the page asked for something beyond itself"
    assert not browser.complaints


def column(browser, number: int) -> list[str]:
    return browser.texts(f"#main-table tbody td:nth-child({number})")


def test_charts_are_drawn_and_the_table_sorts_and_filters(page) -> None:
    assert page.js("document.querySelectorAll('svg.marks').length") == page.js(
        "document.querySelectorAll('.chart').length"
    )
    assert page.js("document.querySelectorAll('.figure svg.marks').length") > 8
    assert not page.js("document.body.innerText.includes('could not be drawn')")
    assert len(column(page, 3)) == 16
    page.click("#main-table th:nth-child(3) button")
    means = [float(text.split()[0]) for text in column(page, 3)]
    assert means == sorted(means) and len(set(means)) > 10
    assert page.js("document.querySelector('#main-table th:nth-child(3)').ariaSort") == "ascending"
    page.click("#main-table th:nth-child(3) button")
    means = [float(text.split()[0]) for text in column(page, 3)]
    assert means == sorted(means, reverse=True)
    page.click("#main-table th:nth-child(2) button")  # 2_per_class before 10_per_class, not by the letter
    assert column(page, 2) == sorted(column(page, 2), key=lambda text: int(text.split("_")[0]))
    page.write("[data-filter=main-table]", "lora 10_per")
    assert column(page, 1) == ["lora"] and column(page, 2) == ["10_per_class"]
    assert page.text("[data-count=main-table]") == "1 of 16 rows"


def test_tooltips(page) -> None:
    page.hover("#seeds .mark-symbol.role-mark path[aria-label]")
    page.until(lambda: page.js("document.querySelector('#vg-tooltip-element.visible') !== null"), "a tooltip")
    text = page.text("#vg-tooltip-element")
    assert "seed" in text and "score" in text and "mean" in text


def test_a_click_shows_config_and_command(page) -> None:
    page.click("#main-table tbody tr:nth-child(3) .more button")
    assert page.text("#details-title") == "full, 2_per_class"
    assert "tlx train -m" in page.text("#details pre") and "seed=0,1,2,3" in page.text("#details pre")
    page.click("#details .seeds button")
    assert page.text("#details-title") == "full, 2_per_class, seed 0"
    assert "optimizer.lr: 0.001" in page.text("#details-body") and "test/accuracy: " in page.text("#details-body")
    page.click("#details form button")
    assert not page.js("document.getElementById('details').open")
    page.write("[data-filter=incomplete-table]", "failed")
    page.click("#incomplete-table tbody tr:not([hidden]) button")
    assert "the loss is nan <b>at step 3</b>\nand more" in page.text("#details pre")


def test_dark_and_light(page, tmp_path: Path) -> None:
    def paper() -> str:
        return page.js("getComputedStyle(document.body).backgroundColor")

    def label() -> str:
        return page.js("getComputedStyle(document.querySelector('#seeds .role-axis-label text')).fill")

    light = paper(), label()
    page.click("#theme")
    dark = paper(), label()
    assert light[0] == "rgb(255, 255, 255)" and dark[0] == "rgb(21, 24, 28)"
    assert light[1] != dark[1]  # charts follow the page
    page.click("#theme")
    assert (paper(), label()) == light
    page.js("localStorage.clear()")
    page.prefer("dark")
    page.open(tmp_path / "report.html")
    assert (paper(), label()) == dark
    page.pdf(tmp_path / "a.pdf")  # print is light, whatever the screen is
    page("Emulation.setEmulatedMedia", media="print")
    assert paper() == light[0]
    page("Emulation.setEmulatedMedia", media="")


def test_a_phone_needs_no_sideways_scrolling(page, tmp_path: Path) -> None:
    page.size(390, 800, phone=True)
    page.open(tmp_path / "report.html")
    assert page.js("document.documentElement.scrollWidth") <= 390
    widest = page.js(
        "Math.max(...[...document.querySelectorAll('svg.marks')].map(e => e.getBoundingClientRect().right))"
    )
    assert widest <= 390
    assert (
        page.js("getComputedStyle(document.querySelector('#main-table tbody td'), '::before').content") == '"strategy"'
    )


def test_names_that_try_to_be_markup(browser, study, tmp_path: Path) -> None:
    study.runs("scratch", [0.5, 0.6], counts={"train_labels": 20})
    more = {"config": {"optimizer.name": EVIL}, "model": EVIL, "counts": {"train_labels": 20}}
    study.runs(EVIL, [0.6, 0.8], **more)
    study.run(EVIL, 7, status="failed", error={"type": "E", "message": EVIL, "traceback": EVIL}, **more)
    file = tmp_path / "report.html"
    write_report(study.folder, file)
    browser.size(390, 800, phone=True)
    browser.open(file)
    assert browser.js("document.documentElement.scrollWidth") <= 390
    browser.size()
    browser.open(file)
    assert EVIL in browser.text("#main-table")
    browser.click("#incomplete-table button[data-run]")
    assert EVIL in browser.text("#details pre") and EVIL in browser.text("#details-body .settings")
    browser.click("#details form button")
    browser.hover("#seeds .mark-symbol.role-mark path[aria-label]")
    browser.until(lambda: browser.js("document.querySelector('#vg-tooltip-element.visible') !== null"), "a tooltip")
    assert browser.js("document.querySelectorAll('img, script:not(body > script)').length") == 0
    assert browser.js("document.title").endswith(" – tlx report")  # and not 'taken'
    assert browser.requests == [file.resolve().as_uri()]


def test_many_panels_are_chosen_from(browser, study, tmp_path: Path) -> None:
    for number in range(8):
        study.runs("scratch", [0.5, 0.6], dataset=f"set{number}")
        study.runs("full", [0.6, 0.8], dataset=f"set{number}")
    write_report(study.folder, tmp_path / "report.html")
    browser.size()
    browser.open(tmp_path / "report.html")
    assert browser.js("document.querySelectorAll('#seeds svg.marks').length") == 1
    browser.js(
        "(() => { const s = document.querySelector('#seeds select'); s.value = 'set5';"
        "s.dispatchEvent(new Event('change')) })()"
    )
    browser.until(lambda: browser.js("document.querySelectorAll('#seeds svg.marks').length") == 1, "the other panel")
    assert browser.text("#seeds h3") == "set5"


@pytest.mark.slow
def test_a_thousand_runs(browser, study, full_study, tmp_path: Path) -> None:
    for dataset in ("digits", "trec", "fsdd", "caltech20"):
        for model in ("tiny_vision", "minilm"):
            full_study(study, seeds=5, sizes=(2, 10, 25), dataset=dataset, model=model)
    file = tmp_path / "report.html"
    start = time.process_time()  # of this process: others may be busy here
    size = write_report(study.folder, file)
    assert time.process_time() - start < 20
    assert size < 5e6
    browser.size()
    browser.open(file)
    assert len(browser.js("data.runs")) == 976
    assert browser.js("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd") < 2000
    assert not browser.complaints

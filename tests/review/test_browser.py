"""The review in a real browser: by keyboard, on a desktop and a phone, accessible by axe, void after a changed byte."""

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from registry.decisions import Act, Log, standings
from review.app import create_app
from review.cases import panel_of
from review.judgements import Judgements
from tests.evals.test_report_page import CHROMIUM, axe  # noqa: F401 (fixture)
from tests.registry.evidence import store_artifact
from tests.review.conftest import PASSWORD, Site

URL = "/models/tiny_reviews/2"
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: apt-get install chromium")


@pytest.fixture
def served(site: Site) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(create_app(site.door(), ["127.0.0.1"]), port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def test_decide_ten_cases_by_keyboard_and_sign(site: Site, served: str, axe: str, tmp_path: Path):  # noqa: F811, PLR0915
    from playwright.sync_api import Browser, Page, sync_playwright

    first = site.release(salt="a")
    for role, who in (("domain", "ada"), ("risk", "bob")):
        site.desk.approve(first, role, Act(who, "the first"))
    site.desk.promote(first, Act("ada", "the first"))
    second = site.release(salt="b", champion=first.digests["artifact"])
    said: list[str] = []

    def enter(browser: Browser, name: str, width: int) -> Page:
        size = {"width": width, "height": 900 if width > 500 else 844}
        page = browser.new_context(viewport=size, bypass_csp=True).new_page()
        page.set_default_timeout(60_000)
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(f"{served}/")
        check(page, f"login-{width}", width)
        page.keyboard.type(name)
        page.keyboard.press("Tab")
        page.keyboard.type(PASSWORD)
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Awaiting sign-off").wait_for()
        return page

    def check(page: Page, name: str, width: int) -> None:
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        page.evaluate(axe)
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        page.screenshot(path=tmp_path / f"{name}.png", full_page=True)
        assert [(v["id"], [n["html"][:200] for n in v["nodes"][:3]]) for v in found] == [], name

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = enter(browser, "ada", 1280)
        check(page, "queue", 1280)
        differ = [case.candidate != case.rival for case in panel_of(second, site.store).cases].index(True) + 1
        page.goto(f"{served}{URL}/cases/{differ}")
        page.get_by_text("Which answer is right?").wait_for()
        check(page, "case", 1280)
        page.goto(f"{served}{URL}/cases")
        for number in range(1, 11):
            page.get_by_role("heading", name=f"Case {number} of 24").wait_for()
            if number == 3:
                page.keyboard.press("m")
                page.keyboard.type("1 is odd")
                page.keyboard.press("Escape")
            if number in (2, 5):
                page.keyboard.press("c")
                page.keyboard.type("neu")
                page.keyboard.press("Enter")
            else:
                page.keyboard.press("u" if number == 7 else "1")
        page.get_by_role("heading", name="Case 11 of 24").wait_for()
        judged = list(Judgements(site.settings).of(second.tags["release"]).values())
        assert len(judged) == 10
        assert [n for n, one in enumerate(judged, 1) if one.label is None] == [7]
        assert [judged[n].label for n in (1, 4)] == ["neutral", "neutral"] and judged[2].comment == "1 is odd"
        page.goto(f"{served}{URL}")
        check(page, "version", 1280)
        page.get_by_label("Reason").fill("ten cases read")
        page.get_by_role("button", name="Sign", exact=True).click()
        page.get_by_text("Missing: risk").wait_for()

        page.goto(f"{served}/fleet")
        check(page, "fleet", 1280)

        phone = enter(browser, "bob", 390)
        for path, name in (("/", "queue"), (f"{URL}/cases", "case"), (URL, "version"), ("/fleet", "fleet")):
            phone.goto(f"{served}{path}")
            check(phone, f"{name}-phone", 390)
        assert phone.title() == "Fleet" and said == []

        weights = store_artifact(site.recipe, site.store, salt="b").path / "model.safetensors"
        kept = tmp_path / "kept"
        shutil.copytree(weights.parent, kept)
        weights.write_bytes(b"x" + weights.read_bytes()[1:])
        page.goto(f"{served}{URL}")
        page.get_by_text("cannot be signed").wait_for()
        check(page, "void", 1280)
        shutil.copytree(kept, weights.parent, dirs_exist_ok=True)
        phone.goto(f"{served}{URL}")
        phone.get_by_label("Reason").fill("no personal data")
        phone.get_by_role("button", name="Sign", exact=True).click()
        phone.get_by_text("Every signature is there.").wait_for()
        browser.close()
    assert standings(Log(site.settings.home).entries())["tiny_reviews"].champion == 2

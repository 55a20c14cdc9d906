"""What somebody might try at the review pages, and that it fails."""

import json
from itertools import product

import pytest

from review import accounts
from review.accounts import Account, Accounts, hashed, verified
from review.security import COOKIE, HEADERS
from supply_chain.errors import InvalidInput
from tests.review.conftest import PASSWORD, Site, hidden, login, token

PAGES = ["/", "/fleet", "/models/tiny_reviews/1", "/models/tiny_reviews/1/report", "/models/tiny_reviews/1/cases"]


def audit(site: Site) -> list[str]:
    path = site.settings.home / "review/audit.jsonl"
    return [json.loads(line)["what"] for line in path.read_text().splitlines()]


def test_nothing_is_shown_without_login(site: Site):
    client = site.client()
    for path, name in product(PAGES, ("", "x" * 43, "../../etc/passwd")):
        client.cookies.set(COOKIE, name)
        answer = client.get(path)
        assert (answer.status_code, answer.headers["location"], answer.text) == (303, "/login", "")
    assert client.post("/models/tiny_reviews/1/sign", data={"role": "domain"}).headers["location"] == "/login"


def test_the_wrong_password_and_nobodys_name_get_the_same_answer(site: Site):
    client = site.client()
    said = []
    for name, password in (("ada", "wrong wrong wrong"), ("nobody", PASSWORD), ("ada", "x" * 5000)):
        page = client.get("/login")
        answer = client.post("/login", data={"csrf": token(page.text), "name": name, "password": password})
        said.append((answer.status_code, answer.text.replace(token(answer.text), "")))
    assert said[0][0] == 401 and len(set(said)) == 1
    assert audit(site) == ["login failed"] * 3


def test_a_session_that_was_planted_is_not_taken_over(site: Site):
    client = site.client()
    client.cookies.set(COOKIE, "chosen-by-the-attacker")
    client.get("/login")
    before = client.cookies.get(COOKIE, domain="testserver.local")
    assert before != "chosen-by-the-attacker"
    client.cookies.delete(COOKIE, domain="")
    assert login(client) == 303
    after = client.cookies[COOKIE]
    assert after != before
    other = site.client()
    for stolen in (before, "chosen-by-the-attacker"):
        client.cookies.clear()
        client.cookies.set(COOKIE, stolen)
        assert client.get("/").status_code == 303
    other.cookies.set(COOKIE, after)
    assert other.get("/").status_code == 303, "another process knows no session of this one"


def test_brute_force_ends_after_five(site: Site):
    client = site.client()
    assert [login(client, password="guess number x") for _ in range(6)] == [401] * 5 + [429]
    assert login(client) == 429, "even the right password waits"
    assert login(client, "bob") == 303, "another person is not locked out"
    assert "login refused: too many failures" in audit(site)
    site.clock[0] += 901
    assert login(site.client()) == 303


def test_many_names_from_one_place_are_stopped_too(site: Site):
    client = site.client()
    codes = [login(client, f"name{n}", "guess number x") for n in range(22)]
    assert codes == [401] * 20 + [429] * 2


def test_a_form_of_another_site_is_refused(site: Site):
    site.release()
    client = site.client()
    login(client)
    page = client.get("/models/tiny_reviews/1").text
    form = {"role": "domain", "why": "x", "decision": "sign", "bound": hidden(page, "bound")}
    url = "/models/tiny_reviews/1/sign"
    assert client.post(url, data=form).status_code == 403
    assert client.post(url, data={**form, "csrf": "x" * 43}).status_code == 403
    good = {**form, "csrf": token(page)}
    assert client.post(url, data=good, headers={"Origin": "https://evil.example"}).status_code == 403
    assert client.post(url, data=good, headers={"Origin": "null"}).status_code == 403
    assert client.post(url, data=good, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert client.post(url, json=good).status_code == 415
    assert client.get(url, params=good).status_code == 405
    assert not (site.settings.home / "decisions.jsonl").exists()
    bob = site.client()
    login(bob, "bob")
    theirs = token(bob.get("/").text)
    assert client.post(url, data={**form, "csrf": theirs}).status_code == 403, "a token of another session"
    assert client.post(url, data=good).status_code == 303


def test_nobody_signs_for_a_role_of_others(site: Site):
    site.release()
    client = site.client()
    login(client, "eve")
    page = client.get("/models/tiny_reviews/1").text
    assert "You sign for none of these roles" in page
    form = {"csrf": token(page), "role": "domain", "why": "x", "decision": "sign", "bound": "x"}
    assert client.post("/models/tiny_reviews/1/sign", data=form).status_code == 403
    assert "refused: not their role" in audit(site)


PATHS = (
    "/static/../app.py", "/static/..%2fapp.py", "/static/%2e%2e/app.py", "/static//etc/passwd", "/docs",
     "/openapi.json", "/models/..%2f..%2fetc/1/report", "/models/tiny_reviews/..%2f1",
     "/models/tiny_reviews/1/report/../../x",
     "/models/tiny_reviews/2/report", "/models/tiny_reviews/1/cases/0", "/models/tiny_reviews/1/cases/31",
     "/models/tiny_reviews/999999999999999999999/report",
)  # fmt: skip


def test_paths_lead_nowhere_else(site: Site):
    site.release()
    client = site.client()
    login(client)
    for path in PATHS:
        answer = client.get(path)
        assert answer.status_code in (404, 422), path
        assert "root:" not in answer.text and "import" not in answer.text


def test_texts_are_shown_not_run_and_every_page_forbids_the_rest(site: Site):
    site.release()
    client = site.client()
    login(client)
    case = client.get("/models/tiny_reviews/1/cases", follow_redirects=True)
    assert "&lt;script&gt;document.title" in case.text and "<script>document" not in case.text
    for path in (*PAGES, "/login", "/nowhere", "/static/review.css"):
        answer = client.get(path)
        for name, value in HEADERS.items():
            if not (path.endswith("report") and name == "Content-Security-Policy"):
                assert answer.headers[name] == value, (path, name)
    assert (
        client.get("/models/tiny_reviews/1/report").headers["Content-Security-Policy"].startswith("default-src 'none'")
    )
    cookie = client.get("/").headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and "Secure" not in cookie
    assert "Secure" in site.client(tls=True).get("/login").headers["set-cookie"]


def test_too_much_is_not_read(site: Site):
    client = site.client()
    form = {"csrf": token(client.get("/login").text), "name": "ada", "password": "x" * 70_000}
    assert client.post("/login", data=form).status_code == 413
    body = "&".join(f"a{n}=1" for n in range(60))
    kind = {"content-type": "application/x-www-form-urlencoded"}
    assert client.post("/login", content=body, headers=kind).status_code == 400


def test_another_host_name_is_not_answered(site: Site):
    assert site.client().get("/login", headers={"Host": "evil.example"}).status_code == 400


def test_sessions_end(site: Site):
    client = site.client()
    login(client)
    kept = client.cookies[COOKIE]
    for _ in range(3):
        site.clock[0] += 3500
        assert client.get("/").status_code == 200
    site.clock[0] += 3601
    assert client.get("/").status_code == 303
    login(client)
    assert client.post("/logout", data={"csrf": token(client.get("/").text)}).status_code == 303
    client.cookies.set(COOKIE, kept)
    assert client.get("/").status_code == 303


def test_who_is_taken_out_of_the_file_is_out_at_once(site: Site):
    client = site.client()
    login(client)
    path = site.settings.home / "review/accounts.json"
    people = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in people.items() if k != "ada"}))
    assert client.get("/").status_code == 303


def test_an_identity_header_counts_only_from_the_proxy(site: Site):
    proxied = {"proxies": ("10.0.0.5",), "header": "X-User"}
    outside, proxy = site.client("10.0.0.6", **proxied), site.client("10.0.0.5", **proxied)
    assert outside.get("/", headers={"X-User": "ada"}).headers["location"] == "/login"
    assert login(outside) == 403, "passwords do not count where a proxy vouches"
    assert site.client("10.0.0.5").get("/", headers={"X-User": "ada"}).status_code == 303, "not configured"
    page = proxy.get("/", headers={"X-User": "ada"})
    assert page.status_code == 200 and "ada" in page.text
    assert proxy.get("/", headers={"X-User": "mallory"}).status_code == 303, "not in the accounts"
    form = {"csrf": token(page.text)}
    assert proxy.post("/logout", data=form, headers={"X-User": "bob"}).status_code == 403, "ada's form, bob's name"
    for wrong in ({"header": "X-User"}, {"proxies": ("10.0.0.5",)}, {"proxies": ("proxy",), "header": "X"}):
        with pytest.raises(InvalidInput):
            site.door(**wrong)


def test_a_forwarded_address_counts_only_from_the_proxy(site: Site):
    for address, wanted in (("10.0.0.6", "10.0.0.6"), ("10.0.0.5", "9.9.9.9")):
        client = site.client(
            address, proxies=("10.0.0.0/29",) if address == "10.0.0.5" else ("10.9.9.9",), header="X-User"
        )
        name = {"X-User": "ada", "X-Forwarded-For": "1.1.1.1, 9.9.9.9"}
        page = client.get("/", headers=name)
        client.post("/logout", data={"csrf": token(page.text)}, headers=name)
        path = site.settings.home / "review/audit.jsonl"
        if wanted == "9.9.9.9":
            assert json.loads(path.read_text().splitlines()[-1])["address"] == wanted
        else:
            assert not path.exists()


def test_passwords_are_hashed_and_the_file_is_its_owners(site: Site, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.undo()
    assert accounts._COST[2] == 64 * 1024, "OWASP asks for at least 19 MiB"
    stored = hashed("a good password")
    assert stored.startswith("$argon2id$v=19$m=65536,t=3,p=1$") and "good" not in stored
    assert verified("a good password", stored) and not verified("a good passwore", stored)
    people = Accounts(site.settings.home / "people.json")
    people.add("ada", Account(roles=["domain"], password=stored))
    assert people.path.stat().st_mode & 0o777 == 0o600
    people.path.chmod(0o644)
    with pytest.raises(InvalidInput, match="can be read by others"):
        people.all()
    with pytest.raises(InvalidInput, match="Ada"):
        Accounts(site.settings.home / "others.json").add("Ada Lovelace", Account(roles=["domain"]))

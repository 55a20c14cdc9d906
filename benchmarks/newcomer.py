"""A newcomer's path, timed: `python -m benchmarks.newcomer FOLDER [--made] [--quick] [--rows N]`.

Clone, `make run`, a CSV of one's own, a recipe by `init`, its run, the review through the pages that a browser gets
(log in, decide every case, sign), champion, generation 2 of the manifest. Each step is a command that README names,
typed in the clone; no file is edited but the recipe and its suite. The CSV is made from what `make run` fetched:
tweets, rated by 20 people each (Hutto and Gilbert, ICWSM 2014). People's own time is not in the figures.

`--made`: FOLDER is a clone whose `make run` is done. `--quick`: 20 steps of training and gates that let everything
pass, which tries the path and says nothing of the model; then nothing is kept under `benchmarks/results`.
"""

import argparse
import csv
import io
import json
import os
import random
import re
import socket
import subprocess
import sys
import tarfile
import time
import urllib.parse
import urllib.request
from contextlib import contextmanager
from http.cookiejar import CookieJar
from pathlib import Path

from benchmarks.measure import ROOT, report

NAME, PERSON, ROLE, PASSWORD = "tweets", "ada", "domain", "a newcomer's password"
SOURCE = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
CURRENT = ".supply_chain/manifests/routing-manifest.json"
TWEETS = "hutto_ICWSM_2014/tweets_GroundTruth.txt"
RECIPE, SUITE = f"recipes/{NAME}.yaml", f"evals/suites/{NAME}.yaml"
OWN = {
    RECIPE: {"mistake_usd: 0.05": "mistake_usd: 0.02"},
    SUITE: {"quantization_loss: 0.03": "quantization_loss: 0.05"},
}
"""What this person decides otherwise than `init` proposed."""
QUICK = {
    RECIPE: {"  epochs: 2": "  max_steps: 20"},
    SUITE: {
        "minimum: 0.5": "minimum: 0.0",
        "beats: [tfidf]": "beats: []",
        "quantization_loss: 0.03": "quantization_loss: 1.0",
    },
}


class Newcomer:
    """Types commands in the clone, as someone who has activated its environment, and notes how long they take."""

    def __init__(self, folder: Path):
        self.folder, self.typed = folder, {}
        venv = folder / ".venv"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SUPPLY_CHAIN_")}
        self.environment = {**kept, "PATH": f"{venv / 'bin'}:{os.environ['PATH']}", "VIRTUAL_ENV": str(venv)}

    def type(self, command: str, said: str = "") -> str:
        """Runs one command to its end; `said` is what the person answers. Ends the benchmark when it fails."""
        print(f"$ {command}", flush=True)
        began = time.monotonic()
        where = self.folder if self.folder.exists() else self.folder.parent
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=where,
            env=self.environment,
            input=said,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        self.typed[command] = round(time.monotonic() - began, 1)
        print(done.stdout, flush=True)
        if done.returncode != 0:
            sys.exit(f"exit code {done.returncode}: {command}")
        return done.stdout

    @contextmanager
    def serving(self, command: str, url: str):
        """Runs a command while its pages are looked at."""
        print(f"$ {command}", flush=True)
        began = time.monotonic()
        server = subprocess.Popen(["bash", "-c", f"exec {command}"], cwd=self.folder, env=self.environment)
        try:
            while not answers(url):
                assert server.poll() is None, f"exit code {server.returncode}: {command}"
                time.sleep(0.2)
            yield
        finally:
            server.send_signal(2)  # Ctrl-C
            server.wait(30)
        self.typed[command] = round(time.monotonic() - began, 1)


class Browser:
    """Cookies, forms and what the pages hide in them."""

    def __init__(self, url: str):
        self.url, self.text = url, ""
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))

    def open(self, path: str, **form: str) -> str:
        """Gets a page, or sends the form of the one before it."""
        hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', self.text)) if form else {}
        data = urllib.parse.urlencode({**hidden, **form}).encode() if form else None
        with self._opener.open(self.url + path, data) as answer:
            self.text = answer.read().decode()
            return answer.url.removeprefix(self.url)


def main() -> None:
    """Prints what is typed and, last, one JSON line, kept in `benchmarks/results/newcomer.json`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--made", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rows", type=int, default=2400)
    asked = parser.parse_args()
    someone = Newcomer(asked.folder.resolve())
    if not asked.made:
        someone.type(f"git clone -q {ROOT} {someone.folder}")
        someone.type("make run")
    table = own_table(someone.folder, asked.rows)
    someone.type(f"supply-chain init {NAME} --data {table} --role {ROLE}")
    edit(someone.folder, QUICK if asked.quick else OWN)
    someone.type(f"supply-chain run {NAME}")
    before = json.loads((someone.folder / CURRENT).read_text())["generation"]
    assert asked.made or before == 1, "a version that waits changed the manifest"
    someone.type(f"supply-chain reviewer {PERSON} --role {ROLE}", PASSWORD)
    port = free_port()
    with someone.serving(f"supply-chain review --port {port}", f"http://127.0.0.1:{port}/login"):
        decided, review_s = review(Browser(f"http://127.0.0.1:{port}"))
    manifest = json.loads(someone.type("supply-chain manifest --json"))
    someone.type("supply-chain verify")
    assert (manifest["generation"], [m["name"] for m in manifest["models"]]) == (before + 1, ["review_sentiment", NAME])
    figures = {
        "typed": someone.typed,
        "commands": len(someone.typed) + 1 + 2 * asked.made,  # and the one that activates .venv
        "minutes": round(sum(someone.typed.values()) / 60, 1),
        "cases_decided": decided,
        "pages_s": round(review_s, 1),
        "generation": manifest["generation"],
        "quality": {m["name"]: m["quality"] for m in manifest["models"]},
    }
    assert figures["commands"] <= 10
    if asked.made or asked.quick:
        print(json.dumps(figures))
    else:
        report("newcomer", rows=asked.rows, edited=OWN, **figures)


def own_table(clone: Path, count: int) -> Path:
    """A CSV file beside the clone: `text`, `label`."""
    sdist = next((clone / ".supply_chain/downloads").rglob("vaderSentiment-3.3.2.tar.gz"))
    with tarfile.open(sdist) as outer:
        inner = io.BytesIO(outer.extractfile(SOURCE).read())
    with tarfile.open(fileobj=inner) as archive:
        lines = archive.extractfile(TWEETS).read().decode("utf-8", "replace").splitlines()
    rows = [line.split("\t", 2) for line in lines if line.count("\t") >= 2]
    table = clone.parent / f"{NAME}.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for _, rating, text in random.Random(17).sample(rows, count):
            score = float(rating)
            writer.writerow([text, "negative" if score <= -0.5 else "positive" if score >= 0.5 else "neutral"])
    return table


def edit(clone: Path, changes: dict[str, dict[str, str]]) -> None:
    """Edits the recipe and its suite, the only files that a newcomer touches."""
    for name, lines in changes.items():
        text = (clone / name).read_text()
        for old, new in lines.items():
            assert old in text, old
            text = text.replace(old, new)
        (clone / name).write_text(text)


def review(browser: Browser) -> tuple[int, float]:
    """Logs in, decides every case of the one version that waits, signs; cases and seconds."""
    began, decided = time.monotonic(), 0
    browser.open("/login")
    assert browser.open("/login", name=PERSON, password=PASSWORD) == "/", "not let in"
    version = re.search(rf'href="(/models/{NAME}/\d+)"', browser.text)
    assert version, "nothing waits"
    while (at := browser.open(f"{version[1]}/cases")) != version[1]:
        browser.open(at, pick="1")
        decided += 1
    browser.open(version[1])
    assert "Missing: " + ROLE in browser.text
    browser.open(f"{version[1]}/sign", role=ROLE, why="every case read", decision="sign")
    assert "Every signature is there." in browser.text and "champion" in browser.text
    return decided, time.monotonic() - began


def answers(url: str) -> bool:
    """Whether somebody listens there."""
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except OSError:
        return False
    return True


def free_port() -> int:
    """A port that nobody uses."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


if __name__ == "__main__":
    main()

"""clinc150 as a fleet of 10 domain specialists and a generalist. `python -m benchmarks.router`.

Trained on train, its threshold chosen on validation (5 % of the fleet's rows taken for foreign),
measured on test and on 1,000 out-of-scope texts. Beside it, from the same splits: logistic regression
over word and character TF-IDF of the whole text, which takes the least confident for foreign.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.clinc_domains import DOMAIN_OF
from benchmarks.measure import data_folder, read_lines, report
from registry.fleet import load_fleet
from registry.manifest import publish
from registry.router.classifier import Classifier
from registry.router.decide import Router
from registry.router.train import Row, evaluate, fit
from registry.router.words import wordllama_words
from supply_chain.recipe import load_recipe
from supply_chain.recipe.part import Surroundings
from supply_chain.settings import Settings
from supply_chain.store import Store
from tests.conftest import write_tiny_project
from tests.registry.evidence import release_made_by_hand


def rows(name: str) -> list[Row]:
    found = read_lines(data_folder("clinc150") / f"{name}.jsonl")
    return [Row(r["text"], DOMAIN_OF[r["label"]], r["label"]) for r in found if r["label"] in DOMAIN_OF]


def foreign(name: str) -> list[str]:
    return [r["text"] for r in read_lines(data_folder("clinc150") / f"{name}.jsonl")]


def peer(train: list[Row], validation: list[Row], test: list[Row], odd: list[str]) -> dict[str, float]:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline, make_union
    from sklearn.svm import LinearSVC

    views = make_union(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True),
    )
    learned = make_pipeline(views, LinearSVC(C=1.0)).fit([r.text for r in train], [r.label for r in train])

    def margins(texts: list[str]) -> np.ndarray:
        return learned.decision_function(texts).max(axis=1)

    threshold = np.quantile(margins([r.text for r in validation]), 0.05)
    texts = [r.text for r in test]
    right = [DOMAIN_OF[label] == row.model for label, row in zip(learned.predict(texts), test, strict=True)]
    started = time.perf_counter()
    for text in texts[:300]:
        learned.decision_function([text])
    return {
        "domain_accuracy": float(np.mean(right)),
        "false_rejection": float((margins(texts) < threshold).mean()),
        "out_of_scope_recall": float((margins(odd) < threshold).mean()),
        "mean_ms": (time.perf_counter() - started) / 300 * 1000,
    }


def timed(router: Router, texts: list[str]) -> dict[str, float]:
    for text in texts[:200]:
        router.decide(text)
    spent = []
    for text in texts:
        started = time.perf_counter()
        router.decide(text)
        spent.append((time.perf_counter() - started) * 1000)
    return {f"p{q}_ms": float(np.percentile(spent, q)) for q in (50, 95, 99)}


def large(folder: Path, classifier: Classifier, count: int) -> float:
    """Seconds from files to a router of `count` routes."""
    settings = Settings(home=folder / "home")
    store = Store.of(settings)
    base = load_recipe(write_tiny_project(folder / "p"), Surroundings(root=folder / "p", bases=("tiny",)))
    made = []
    for index in range(count):
        route = base.route.model_copy(update={"task": f"t{index}", "keywords": [f"key{index}"]})
        made.append(release_made_by_hand(base.model_copy(update={"name": f"m{index:04d}", "route": route}), store))
    path = publish(made, load_fleet(Settings()), settings, store).path
    classes = [(f"m{i:04d}", "label") for i in range(count)]
    head = np.resize(classifier.head, (count, classifier.words.size))
    (folder / "router").mkdir()
    Classifier(classifier.words, classes, head, np.zeros(count, np.float32), 0.0).save(folder / "router")
    started = time.perf_counter()
    Router.load(path, folder / "router")
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--routes", type=int, default=1000)
    parser.add_argument("--no-peer", action="store_true")
    args = parser.parse_args()
    train, validation, test = rows("train"), rows("val"), rows("test")
    odd = foreign("oos_test")
    words = wordllama_words()
    started = time.process_time()
    classifier = fit(train, validation, words)
    fit_s = time.process_time() - started
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        load_s = large(folder, classifier, args.routes)
        (folder / "saved").mkdir()
        classifier.save(folder / "saved")
        figures = evaluate(Classifier.load(folder / "saved"), test, odd)
        size = sum(path.stat().st_size for path in (folder / "saved").iterdir())
        settings = Settings(home=folder / "small")
        path = publish([], load_fleet(Settings()), settings, Store.of(settings)).path
        times = timed(Router.load(path, folder / "saved"), [row.text for row in test[:2000]] + odd[:500])
    report(
        "router",
        domain_accuracy=figures.accuracy,
        false_rejection=figures.false_rejection,
        out_of_scope_recall=figures.foreign_recall,
        test_rows=figures.rows,
        out_of_scope_rows=figures.foreign_rows,
        fit_cpu_s=fit_s,
        classifier_mb=size / 1e6,
        **times,
        routes_loaded=args.routes,
        load_s=load_s,
        peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
        tfidf_svm=None if args.no_peer else peer(train, validation, test, odd),
    )


if __name__ == "__main__":
    main()

"""lm-eval's tasks on local data: read without running anything, scored as lm-eval scores them, reported and gated."""

import json
import math
from pathlib import Path

import pytest

from evals.stock import StockMetric, stock_scores
from evals.stock_rows import rendered, rows_of, source_of
from evals.stock_run import read_metrics, ready, run_tasks, stock_key
from registry.gate import decide
from supply_chain.errors import InvalidInput, InvalidRecipe
from supply_chain.recipe import load_recipe
from supply_chain.recipe.part import Surroundings
from supply_chain.recipe.promote import Promote
from supply_chain.recipe.stock import StockTask, TaskFile, read_task
from supply_chain.records import BaseModelRecord
from supply_chain.settings import Settings
from tests.conftest import write_tiny_project

TASK = """\
task: capitals
dataset_path: json
dataset_kwargs: {data_files: {test: data/capitals.jsonl, train: data/shown.jsonl}}
output_type: multiple_choice
training_split: train
test_split: test
doc_to_text: "Capital of {{country.strip()}}:"
doc_to_target: "{{options.names.index(capital)}}"
doc_to_choice: "{{options.names}}"
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: brier_score, aggregation: brier_score, higher_is_better: false}
"""
WRITTEN = """\
task: echo
dataset_path: json
dataset_kwargs: {data_files: {test: data/capitals.jsonl}}
output_type: generate_until
test_split: test
doc_to_text: "Say it: {{capital}} {{country}}"
doc_to_target: "{{capital[:1]}}"
generation_kwargs: {max_gen_toks: 6, do_sample: false}
filter_list: [{name: first, filter: [{function: regex, regex_pattern: "(\\\\w)"}, {function: take_first}]}]
metric_list: [{metric: exact_match, ignore_case: true}]
"""
ROWS = [
    {"country": f" land {i} ", "capital": ("red", "blue", "12")[i % 3], "options": {"names": ["red", "blue", "12"]}}
    for i in range(12)
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with a task and its rows."""
    folder = tmp_path / "p"
    (folder / "data").mkdir(parents=True)
    (folder / "capitals.yaml").write_text(TASK)
    write(folder, "capitals", ROWS)
    write(folder, "shown", [{**row, "country": f"other {i}"} for i, row in enumerate(ROWS[:4])])
    return folder


def write(folder: Path, name: str, rows: list[dict]) -> None:
    (folder / f"data/{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def settings(root: Path) -> Settings:
    return Settings(root=root, home=root.parent / "home")


def task(root: Path, text: str | None = None, **more) -> StockTask:
    if text is not None:
        (root / "capitals.yaml").write_text(text)
    return StockTask.model_validate({"name": "capitals", "task": "capitals.yaml", **more})


def test_rows_are_rendered_as_lm_eval_would(root: Path):
    file = read_task("capitals.yaml", root)
    found = rows_of("capitals", source_of("data/capitals.jsonl", settings(root)), file)
    assert (found[0].text, found[0].target, found[0].choices) == ("Capital of land 0:", 0, ["red", "blue", "12"])
    assert [row.target for row in found[:4]] == [0, 1, 2, 0]
    some = rows_of("capitals", source_of("data/capitals.jsonl", settings(root)), file, (17, 5))
    assert len(some) == 5 and some == rows_of("c", source_of("data/capitals.jsonl", settings(root)), file, (17, 5))


def test_an_engines_figures_are_lm_evals_own(root: Path, talkative, compute, store, tiny_model: Path, monkeypatch):
    """Accuracy counted by hand from the engine's likelihoods, and the same from HFLM with lm-eval's own rendering."""
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    model = store.once(BaseModelRecord, "b" * 64, lambda folder: copied(tiny_model, folder))
    (root / "echo.yaml").write_text(WRITTEN)
    echo = StockTask(name="echo", task="echo.yaml", rows=8)
    tasks = ready([task(root, rows=8, shots=2), echo], settings(root))
    monkeypatch.setattr("supply_chain.opening.open_artifact", lambda path, compute: talkative)
    run = run_tasks(model, tasks, compute, 17, store)
    ours = {one.metric: one for one in read_metrics(run)}
    assert set(ours) == {"acc", "brier_score", "exact_match.first"} and ours["acc"].rows == len(ours["acc"].right) == 8
    assert ours["acc"].value == sum(ours["acc"].right) / 8 and ours["acc"].draws == []
    assert len(ours["brier_score"].draws) == 200 and not ours["brier_score"].higher_is_better

    kept = rows_of("c", tasks[0].asked, tasks[0].file, (17, 8))
    kept_rows = [row for row in ROWS if f"Capital of {row['country'].strip()}:" in {one.text for one in kept}]
    write(root, "kept", kept_rows)
    text = TASK.replace("data/capitals", str(root / "data/kept")).replace("data/shown", str(root / "data/shown"))
    (root / "again.yaml").write_text(text)
    written = WRITTEN.replace("data/capitals", str(root / "data/kept"))
    (root / "echo.yaml").write_text(written)
    hflm = HFLM(pretrained=talkative.model, tokenizer=talkative.tokenizer, backend="causal", add_bos_token=False)
    manager = TaskManager(include_path=str(root), include_defaults=False)
    theirs, told = (
        simple_evaluate(model=hflm, tasks=[name], num_fewshot=shots, bootstrap_iters=0, task_manager=manager)["results"]
        for name, shots in (("capitals", 2), ("echo", 0))
    )
    theirs = theirs["capitals"]
    assert told["echo"]["exact_match,first"] == ours["exact_match.first"].value
    assert theirs["acc,none"] == ours["acc"].value
    assert theirs["brier_score,none"] == pytest.approx(ours["brier_score"].value, abs=1e-3)
    assert run_tasks(model, tasks, compute, 17, store).digest == run.digest


def copied(source: Path, folder: Path) -> BaseModelRecord:
    for file in source.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    texts = dict.fromkeys(("revision", "source_sha256", "tokenizer_sha256", "chat_template_sha256"), "0")
    return BaseModelRecord(name="tiny", license="apache-2.0", parameters=1, context_tokens=512, **texts)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (("task: capitals", "task: capitals\nprocess_docs: !function utils.load"), "line 2: !function runs code"),
        (("task: capitals", "task: !!python/object/apply:os.system [id]"), "python/object/apply:os.system"),
        (("task: capitals", "task: capitals\ncustom_dataset: x"), "custom_dataset: is not read here"),
        (("task: capitals", "task: capitals\nunsafe_code: true"), "unsafe_code: is not read here"),
        (("metric: acc,", "metric: pass_at_k,"), "metric_list.0.metric"),
        (("metric: acc,", "metric: acc, hf_evaluate: true,"), "metric_list.0.hf_evaluate"),
        (("task: capitals", "include: ../../outside.yaml\ntask: capitals"), "no such file inside p"),
        (("task: capitals", "description: '{{ x }}'\ntask: capitals"), "must be plain text"),
        (("test_split: test\n", ""), "neither test_split nor validation_split"),
    ],
)
def test_what_would_run_code_or_leave_the_project_is_refused(root: Path, edit: tuple[str, str], message: str):
    (root.parent / "outside.yaml").write_text("task: capitals\n")
    (root / "capitals.yaml").write_text(TASK.replace(*edit))
    with pytest.raises(InvalidInput, match=message):
        read_task("capitals.yaml", root)


def test_lm_evals_own_tasks_are_read_from_the_package_with_local_data(root: Path):
    file = read_task("arc_challenge", root)  # it includes arc_easy
    assert (file.task, file.dataset_name, file.doc_to_choice) == ("arc_challenge", "ARC-Challenge", "{{choices.text}}")
    with pytest.raises(InvalidInput, match=r"!function runs code"):
        read_task("hellaswag", root)
    with pytest.raises(InvalidInput, match=r"lm-eval has no file nosuchtask.yaml"):
        read_task("nosuchtask", root)
    with pytest.raises(InvalidInput, match=r"arc: names no local files \(allenai/ai2_arc\): state data: \{test"):
        ready([StockTask(name="arc", task="arc_easy")], settings(root))
    question = {"question": "What?", "choices": {"text": ["a b", "c"], "label": ["A", "B"]}, "answerKey": "B"}
    write(root, "arc", [question, question])
    (one,) = ready([StockTask(name="arc", task="arc_easy", data={"test": "data/arc.jsonl"})], settings(root))
    row = rows_of("arc", one.asked, one.file)[0]
    assert (row.text, row.target, row.choices) == ("Question: What?\nAnswer:", 1, ["a b", "c"])


def test_names_that_are_allowed_are_lm_evals_own():
    from lm_eval.api.registry import aggregation_registry, filter_registry, metric_registry

    import evals.engine  # noqa: F401 (lm-eval fills its registries)
    from supply_chain.recipe.stock import Aggregation, Function, Metric

    for names, registry in (
        (Metric, metric_registry),
        (Aggregation, aggregation_registry),
        (Function, filter_registry),
    ):
        assert set(names.__args__) <= set(registry.keys())


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"country": "x", "capital": "green", "options": {"names": ["red"]}}, "line 2: ValueError: 'green' is not in"),
        ({"country": "x", "capital": "red", "options": {"names": "red"}}, "line 2"),
        ({"capital": "red", "options": {"names": ["red"]}}, "line 2: UndefinedError: 'country' is undefined"),
    ],
)
def test_a_row_that_cannot_be_asked_is_an_error_with_its_line(root: Path, row: dict, message: str):
    write(root, "capitals", [ROWS[0], row])
    with pytest.raises(InvalidInput, match=message):
        rows_of("capitals", source_of("data/capitals.jsonl", settings(root)), read_task("capitals.yaml", root))


def test_a_truth_that_is_no_choice_is_not_scored_as_wrong(root: Path):
    file = read_task("capitals.yaml", root).model_copy(update={"doc_to_target": "capital"})
    write(root, "capitals", [ROWS[0], {**ROWS[1], "capital": "green"}])
    with pytest.raises(InvalidInput, match=r"line 2: ValueError: the truth 'green' is none of the 3 choices"):
        rows_of("capitals", source_of("data/capitals.jsonl", settings(root)), file)


@pytest.mark.parametrize(
    "template",
    [
        "{{ x.__class__.__mro__ }}",
        "{{ x.strip.__func__ }}",
        "{{ ''.join.__self__.__class__ }}",
        "{{ 'a' * 999999999 }}",
        "{% set y = x %}{{ y }}",
        "{% for a in x %}{% for b in x %}{{ b }}{% endfor %}{% endfor %}",
        "{% include '/etc/passwd' %}",
        "{{ '{0.__class__}'.format(x) }}",
        "{{ range(9) }}",
        "{{ x|attr('strip') }}",
        "{{ x.ljust(999999999) }}",
    ],
)
def test_a_template_arranges_texts_and_nothing_else(template: str):
    from jinja2 import TemplateError

    with pytest.raises((ValueError, TemplateError, TypeError)):
        rendered(template, {"x": "text"})


def test_figures_have_intervals_and_are_paired(tiny_recipe):
    shares = [StockMetric(task="t", metric="acc", higher_is_better=True, rows=40, value=v, right=r, draws=[])
              for v, r in ((0.75, [1] * 30 + [0] * 10), (0.5, [1] * 20 + [0] * 20))]  # fmt: skip
    drawn = [StockMetric(task="t", metric="ppl", higher_is_better=False, rows=40, value=v, right=[],
                         draws=[v + i / 100 for i in range(-50, 51)]) for v in (9.0, 12.0)]  # fmt: skip
    one, other = stock_scores([shares[0], drawn[0]], [shares[1], drawn[1]])
    assert one.name == "t.acc" and one.candidate.low < 0.75 < one.candidate.high
    assert (one.change.mean, one.change.n) == (0.25, 40) and 0 < one.change.low < 0.25 < one.change.high
    assert other.change.mean == other.change.low == other.change.high == -3.0
    assert other.candidate.low == pytest.approx(9 - 0.475) and math.isfinite(other.base.high)


def test_a_gate_holds_at_the_unfavourable_end(tiny_recipe, tiny_splits, store):
    from evals.scorecard import score
    from tests.evals.test_scorecard import answering

    card = score(tiny_recipe, tiny_splits, [answering("bnb-nf4", tiny_splits, store, wrong=4)], "bnb-nf4", 17, store)
    right = [1] * 30 + [0] * 10
    seen = StockMetric(task="t", metric="acc", higher_is_better=True, rows=40, value=0.75, right=right, draws=[])
    test_scores = stock_scores([seen], [seen])
    measured = card.record.model_copy(update={"stock": test_scores})
    policy = Promote(minimum=0, beats=[], tasks={"t.acc": 0.7, "t.f1": 0.1})
    checks = {c.name: c for c in decide(policy, measured, "s").checks}
    assert not checks["task t.acc"].passed and checks["task t.acc"].measured == test_scores[0].candidate.low < 0.7
    assert checks["task t.f1"].sentence.startswith("No evidence: bnb-nf4 with t.f1 (of t.acc)")
    low = policy.model_copy(update={"tasks": {"t.acc": 0.5}})
    assert next(c for c in decide(low, measured, "s").checks if c.name == "task t.acc").passed


@pytest.mark.parametrize(
    ("asked", "gate", "message"),
    [
        ("[{name: a, task: nowhere.yaml}]", "", "no such file inside"),
        ("[{name: a, task: t.yaml}, {name: a, task: t.yaml}]", "", "evaluate.tasks: a stands twice"),
        ("[{name: a, task: t.yaml}]", ", tasks: {b.acc: 0.5}", "promote.tasks: b.acc names none of evaluate.tasks"),
    ],
)
def test_faults_are_told_when_the_recipe_is_read(tmp_path: Path, asked: str, gate: str, message: str):
    path = write_tiny_project(tmp_path / "p")
    (tmp_path / "p/t.yaml").write_text(TASK)
    text = path.read_text().replace("resamples", f"tasks: {asked}\n  resamples")
    path.write_text(text.replace("minimum: 0.5", f"minimum: 0.5{gate}"))
    with pytest.raises(InvalidRecipe, match=message):
        load_recipe(path, Surroundings(root=tmp_path / "p", bases=("tiny",)))


def test_the_key_follows_file_rows_and_weights(root: Path):
    def key(digest: str = "a", **more) -> str:
        return stock_key(digest, ready([task(root, **more)], settings(root)), 17)

    first = key()
    assert key() == first and len({first, key("b"), key(rows=7), key(shots=1), key(chat=True)}) == 5
    write(root, "capitals", ROWS[:5])
    second = key()
    (root / "capitals.yaml").write_text(TASK.replace("Capital of", "The capital of"))
    assert len({first, second, key()}) == 3
    assert isinstance(read_task("capitals.yaml", root), TaskFile)

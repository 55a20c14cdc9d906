"""How an artifact writes is chosen on validation rows, stored with its bytes, evaluated, served and told."""

from dataclasses import replace
from pathlib import Path

import pytest

from evals.answering import predict_model
from evals.decoding import measured
from evals.predictions import read_predictions, sampled_test
from evals.scorecard import bench_of
from registry.decoding import decoding_of, llama_parameters, openai_parameters
from registry.routing import Decoding, Model
from supply_chain.answer import Answerer
from supply_chain.artifacts import quantize
from supply_chain.data.examples import read_split
from supply_chain.errors import InvalidInput
from supply_chain.generation import write
from supply_chain.job import Job
from supply_chain.keys import quantized_key
from supply_chain.opening import serving_compute
from supply_chain.recipe import Recipe
from supply_chain.recipe.decoding import DecodingGrid
from supply_chain.records import Artifact
from supply_chain.serving import read_serving
from supply_chain.settings import Settings
from supply_chain.store import Stored
from tests.evals.test_generation import RECIPE, write_notes
from tests.evals.test_writing import job, settings, store  # noqa: F401 (fixtures)

GRID = "decoding: {temperature: [0, 1.5], repetition_penalty: [1, 1.8], max_new_tokens: [24], rows: 12}"


@pytest.fixture(scope="module")
def recipe(settings: Settings) -> Recipe:  # noqa: F811
    return write_notes(settings.root, RECIPE.replace("acceptable: 0.8", f"acceptable: 0.8\n  metric: chrf\n  {GRID}"))


@pytest.fixture(scope="module")
def asked(job: Job) -> Job:  # noqa: F811
    return replace(job, measure=measured)


@pytest.fixture(scope="module")
def models(asked: Job) -> dict[str, Stored[Artifact]]:
    from supply_chain.artifacts import merge
    from supply_chain.tracking import NoTracker
    from supply_chain.training import train

    merged = merge(asked, train(asked, lambda _key: NoTracker()))
    return {"specialist": merged, "bnb-nf4": quantize(asked, merged, asked.recipe.quantize[0])}


@pytest.fixture(scope="module")
def artifact(models: dict[str, Stored[Artifact]]) -> Stored[Artifact]:
    return models["bnb-nf4"]


def test_the_best_of_all_that_was_tried_is_kept(artifact: Stored[Artifact], asked: Job):
    serving, answerer = read_serving(artifact.path), Answerer(artifact.path)
    found = serving.decoding
    assert [(t.setting.temperature, t.setting.repetition_penalty) for t in found.tried] == [
        (0, 1), (0, 1.8), (1.5, 1), (1.5, 1.8),
    ]  # fmt: skip
    rows = sorted(read_split(asked.splits, "validation"), key=lambda row: row.group)[:12]
    bench, renderer = bench_of(asked.recipe, asked.labels, rows, 17), answerer.renderer
    for tried in found.tried:
        contexts = [renderer.context(row.text) for row in rows]
        written = write(answerer.loaded, contexts, 24, renderer.complete, setting=tried.setting)
        own = bench.estimate("chrf", [renderer.read(w.text) for w in written])
        assert (tried.n, found.metric) == (len(rows), "chrf") and tried.low <= tried.mean <= tried.high
        assert tried.mean == pytest.approx(own.mean, abs=1e-9)
    means = [tried.mean for tried in found.tried]
    assert len(set(means)) > 1
    assert found.setting == found.tried[means.index(max(means))].setting and serving.max_new_tokens == 24


def test_what_was_chosen_is_evaluated_and_served(artifact: Stored[Artifact], asked: Job):
    serving = read_serving(artifact.path)
    given = (artifact.digest, artifact.size_bytes, asked.splits, asked.recipe)
    compute = serving_compute(artifact.path, asked.settings)
    predicted = predict_model("bnb-nf4", artifact.path, *given, compute, 17, asked.store)
    rows = sampled_test(asked.splits, asked.recipe.evaluate, 17)
    answerer = Answerer(artifact.path)
    by_id = {p.id: p.answer for p in read_predictions(predicted)}
    assert [a.label for a in answerer.answer([row.text for row in rows])] == [by_id[row.id] for row in rows]
    other = next(t.setting for t in serving.decoding.tried if t.setting != serving.setting)
    answerer.serving = serving.model_copy(update={"decoding": serving.decoding.model_copy(update={"setting": other})})
    first, again = (answerer.answer([rows[0].text]) for _ in range(2))
    assert first == again and first[0].label != by_id[rows[0].id]


def test_the_manifest_tells_the_choice_and_its_evidence(artifact: Stored[Artifact]):
    serving = read_serving(artifact.path)
    told = decoding_of(serving)
    assert (told.answers, told.max_new_tokens, told.chosen.metric) == ("written", 24, "chrf")
    assert [t.value.mean for t in told.chosen.tried] == [t.mean for t in serving.decoding.tried]
    assert {t.max_new_tokens for t in told.chosen.tried} == {24}
    assert decoding_of(serving.model_copy(update={"decoding": None})).chosen is None
    ranked = decoding_of(serving.model_copy(update={"task": "classification"}))
    assert ranked.model_dump() == {"answers": "ranked", "temperature": 0, "max_new_tokens": 0}


def test_other_servers_are_told_in_their_words():
    told = Decoding(answers="written", temperature=0.7, top_p=0.9, repetition_penalty=1.2, max_new_tokens=40)
    model = Model.model_construct(decoding=told)
    openai = {"temperature": 0.7, "max_tokens": 40, "top_p": 0.9, "extra_body": {"repetition_penalty": 1.2}}
    assert openai_parameters(model) == openai
    llama = {"temperature": 0.7, "repeat_penalty": 1.2, "repeat_last_n": -1, "top_p": 0.9, "top_k": 0, "min_p": 0}
    assert llama_parameters(model) == llama
    greedy = Model.model_construct(decoding=Decoding(answers="ranked", temperature=0, max_new_tokens=0))
    assert openai_parameters(greedy) == {"temperature": 0}
    assert llama_parameters(greedy) == {"temperature": 0, "repeat_penalty": 1}


def test_a_choice_needs_the_metric_and_a_task_that_writes_texts(asked: Job, models, tmp_path: Path):
    other = asked.recipe.model_copy(
        update={"evaluate": asked.recipe.evaluate.model_copy(update={"decoding": DecodingGrid(rows=10)})}
    )
    job, scheme = replace(asked, recipe=other, measure=None), other.quantize[0]  # noqa: F811
    assert quantized_key(job, models["specialist"], scheme) != quantized_key(asked, models["specialist"], scheme)
    with pytest.raises(InvalidInput, match=r"is chosen by evaluate.metric, which this job does not bring"):
        quantize(job, models["specialist"], scheme)
    text = RECIPE.replace("task: generation", "task: extraction").replace("acceptable: 0.8", GRID)
    with pytest.raises(InvalidInput, match=r"evaluate\.decoding tries ways of writing texts, so it needs generation"):
        write_notes(tmp_path / "p", text)

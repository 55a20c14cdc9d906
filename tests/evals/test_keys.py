from evals.answering import predict_model
from evals.baselines import predict_baseline
from evals.keys import baseline_key, model_key
from supply_chain.job import Job
from supply_chain.recipe.prompt import PlainPrompt
from supply_chain.settings import Settings


def test_keys_are_those_that_the_stages_use(tiny_model, tiny_splits, tiny_recipe, compute, store, tmp_path):
    job = Job(tiny_recipe, None, tiny_splits, Settings(home=tmp_path, seed=17), store)
    assert baseline_key("majority", job) == predict_baseline("majority", tiny_splits, tiny_recipe, 17, store).key
    made = predict_model("base", tiny_model, "d" * 64, 1, tiny_splits, tiny_recipe, compute, 17, store)
    assert model_key("base", "d" * 64, job) == made.key


def test_what_changes_answers_changes_the_key(tiny_splits, tiny_recipe, store, tmp_path):
    settings = Settings(home=tmp_path, seed=17)
    job = Job(tiny_recipe, None, tiny_splits, settings, store)
    prompt = tiny_recipe.model_copy(update={"prompt": PlainPrompt(after="\nSentiment:")})
    rows = tiny_recipe.model_copy(update={"evaluate": tiny_recipe.evaluate.model_copy(update={"max_rows": 20})})
    others = [
        Job(prompt, None, tiny_splits, settings, store),
        Job(rows, None, tiny_splits, settings, store),
        Job(tiny_recipe, None, tiny_splits, Settings(home=tmp_path, seed=18), store),
    ]
    keys = [model_key("base", "d" * 64, j) for j in [job, *others]]
    keys += [model_key("champion", "d" * 64, job), model_key("base", "e" * 64, job)]
    assert len(set(keys)) == 6
    assert baseline_key("tfidf", others[0]) == baseline_key("tfidf", job)  # baselines read no prompt

"""The engine gives what lm-eval's own model gives, on lm-eval's own requests and tasks."""

from pathlib import Path

import pytest
import torch
from lm_eval import simple_evaluate
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from evals.engine import TreeLM
from supply_chain.errors import InvalidInput
from supply_chain.inference import Loaded

ANSWERS = [" great", " great battery", " awful", "great", " awful noisy strap", " "]
CONTEXTS = ["the phone is", "camera: ", "", "x" * 700, "a longer text about the lens of the camera, and its"]


@pytest.fixture(scope="module")
def loaded(talkative: Loaded) -> Loaded:
    return talkative


@pytest.fixture(scope="module")
def theirs(loaded: Loaded) -> HFLM:
    return HFLM(
        pretrained=loaded.model, tokenizer=loaded.tokenizer, backend="causal", add_bos_token=False,
        softmax_dtype=torch.float32, batch_size=4,
    )  # fmt: skip


def requests(kind: str, *arguments: tuple) -> list[Instance]:
    return [Instance(kind, {}, given, i) for i, given in enumerate(arguments)]


def test_continuations_score_as_with_hflm(loaded: Loaded, theirs: HFLM):
    asked = requests("loglikelihood", *((c, a) for c in CONTEXTS for a in ANSWERS))
    expected, found = theirs.loglikelihood(asked, disable_tqdm=True), TreeLM(loaded).loglikelihood(asked)
    assert [f[0] for f in found] == pytest.approx([e[0] for e in expected], abs=1e-3)
    assert [f[1] for f in found] == [e[1] for e in expected]


def test_whole_texts_score_as_with_hflm(loaded: Loaded, theirs: HFLM):
    """One at a time: in a batch, HFLM 0.4.13 gives the windows of several texts other sums than alone."""
    asked = requests("loglikelihood_rolling", ("the phone is great",), ("camera lens " * 300,))
    theirs.batch_size_per_gpu = 1
    expected = [theirs.loglikelihood_rolling([one], disable_tqdm=True)[0] for one in asked]
    assert TreeLM(loaded).loglikelihood_rolling(asked) == pytest.approx(expected, rel=1e-5)


def test_greedy_answers_are_those_of_hflm(loaded: Loaded, theirs: HFLM):
    settings = {"until": ["\n", "e"], "max_gen_toks": 12, "do_sample": False}
    asked = requests("generate_until", *((c, settings) for c in CONTEXTS[:2] + CONTEXTS[4:]))
    assert TreeLM(loaded).generate_until(asked) == theirs.generate_until(asked, disable_tqdm=True)
    with pytest.raises(InvalidInput, match="do_sample is on"):
        TreeLM(loaded).generate_until(requests("generate_until", ("a", {**settings, "do_sample": True})))


def test_requests_of_one_context_share_a_pass(loaded: Loaded):
    passes: list[int] = []
    hook = loaded.model.get_decoder().register_forward_pre_hook(
        lambda _m, _a, kwargs: passes.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    TreeLM(loaded).loglikelihood(requests("loglikelihood", *(("the phone is", a) for a in ANSWERS)))
    hook.remove()
    assert passes == [1]  # of HFLM's six rows


def test_a_stock_task_runs_on_it_by_name(tiny_model: Path, tmp_path: Path):
    (tmp_path / "rows.jsonl").write_text('{"q": "the phone is", "a": ["great", "awful"], "t": 0}\n' * 3)
    (tmp_path / "task.yaml").write_text(
        f"task: stock\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {tmp_path / 'rows.jsonl'}}}, "
        f"cache_dir: {tmp_path / 'cache'}}}\ntest_split: test\noutput_type: multiple_choice\n"
        'doc_to_text: "{{q}}"\ndoc_to_choice: "{{a}}"\ndoc_to_target: t\n'
        "metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]\n"
    )
    found = simple_evaluate(
        model="supply-chain",
        model_args=f"pretrained={tiny_model},dtype=float32",
        tasks=["stock"],
        task_manager=TaskManager(include_path=str(tmp_path), include_defaults=False),
        bootstrap_iters=0,
    )
    assert found["results"]["stock"]["acc,none"] in {0.0, 1.0}

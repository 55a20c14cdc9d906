"""Trees of continuations: each path scores as if it stood alone."""

from pathlib import Path

import pytest
import torch

from supply_chain.inference import Loaded, load
from supply_chain.records import Compute
from supply_chain.tree import Tree, TreeScorer

LABELS = [(5, 6, 7), (5, 6, 8), (5, 9), (10,), (5,), (6, 5, 7, 11)]
CONTEXTS = [(40, 41, 42), (50,), (60, 61, 62, 63, 64, 65, 66)]
STATIC = tuple(range(100, 130))


@pytest.fixture(scope="module", params=["eager", "sdpa"])
def loaded(request: pytest.FixtureRequest, tiny_model: Path, compute: Compute) -> Loaded:
    found, source = (
        load(tiny_model, compute.model_copy(update={"attention": request.param})),
        torch.Generator().manual_seed(5),
    )
    with torch.no_grad():
        for tensor in found.model.model.parameters():
            if tensor.dim() > 1:
                tensor.copy_(torch.randn(tensor.shape, generator=source) / 4)
    return found


def alone(loaded: Loaded, context: tuple[int, ...], tokens: tuple[int, ...]) -> tuple[float, bool]:
    with torch.inference_mode():
        logs = loaded.model(torch.tensor([context + tokens])).logits[0].float().log_softmax(-1)
    at = range(len(context) - 1, len(context) + len(tokens) - 1)
    likelihood = sum(float(logs[k, token]) for k, token in zip(at, tokens, strict=True))
    return likelihood, all(int(logs[k].argmax()) == token for k, token in zip(at, tokens, strict=True))


def check(loaded: Loaded, rows: list[tuple[tuple[int, ...], list[tuple[int, ...]]]], scorer: TreeScorer) -> None:
    found = scorer.score([(context, Tree.of(labels)) for context, labels in rows])
    for (context, labels), scored in zip(rows, found, strict=True):
        expected = [alone(loaded, context, label) for label in labels]
        assert scored.likelihoods == pytest.approx([e[0] for e in expected], abs=1e-3)
        assert scored.greedy == [e[1] for e in expected]


def test_last_tokens_need_no_pass():
    tree = Tree.of(LABELS)
    assert tree.tokens == (5, 6, 6, 5, 7)
    assert (tree.parents, tree.depths) == ((-1, 0, -1, 2, 3), (1, 2, 1, 2, 3))
    assert tree.paths[1] == ((0, 5), (1, 6), (2, 8))
    assert tree.sees().int().tolist()[4] == [0, 0, 1, 1, 1]
    assert Tree.of([(1,), (2,)]).tokens == ()


@pytest.mark.parametrize("batch_tokens", [1, 30, 10_000])
def test_each_path_scores_as_if_it_stood_alone(loaded: Loaded, batch_tokens: int):
    check(loaded, [(context, LABELS) for context in CONTEXTS], TreeScorer(loaded.model, batch_tokens))


def test_rows_may_have_trees_of_their_own(loaded: Loaded):
    trees = [LABELS, [(7,)], [(8, 8, 8, 8), (8, 8, 9)]]
    check(loaded, list(zip(CONTEXTS, trees, strict=True)), TreeScorer(loaded.model))


def test_what_greedy_decoding_writes_is_told(loaded: Loaded):
    with torch.inference_mode():
        best = int(loaded.model(torch.tensor([CONTEXTS[0]])).logits[0, -1].argmax())
    (scored,) = TreeScorer(loaded.model).score([(CONTEXTS[0], Tree.of([(best,), ((best + 1) % 300,)]))])
    assert scored.greedy == [True, False]


def test_a_shared_start_is_computed_once_and_kept(loaded: Loaded):
    scorer, passes = TreeScorer(loaded.model), []
    hook = loaded.model.get_decoder().register_forward_pre_hook(
        lambda _m, _a, kwargs: passes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    rows = [(STATIC + context, LABELS) for context in CONTEXTS]
    scorer.score([(context, Tree.of(labels)) for context, labels in rows])
    assert passes == [(1, 30), (3, 12)]
    scorer.score([(rows[0][0], Tree.of(LABELS))])
    assert passes[2:] == [(1, 8)]
    hook.remove()
    check(loaded, rows, scorer)
    check(loaded, [(STATIC, LABELS), *rows], scorer)  # the kept start leaves this one no token
    check(loaded, [(context, LABELS) for context in CONTEXTS], scorer)


def test_scores_do_not_depend_on_the_neighbours(loaded: Loaded):
    scorer, tree = TreeScorer(loaded.model), Tree.of(LABELS)
    together = scorer.score([(context, tree) for context in CONTEXTS])
    for context, found in zip(CONTEXTS, together, strict=True):
        (single,) = scorer.score([(context, tree)])
        assert single.likelihoods == pytest.approx(found.likelihoods, abs=1e-4)

"""A new version goes on from the champion: its weights, its labels, a replay of its rows, and what experts mended."""

import dataclasses
import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from supply_chain.artifacts import merge, quantize
from supply_chain.data.corrections import Corrections, read_corrections, stored_corrections
from supply_chain.data.curate import curate
from supply_chain.data.examples import read_split
from supply_chain.data.same import same_text
from supply_chain.data.source import locate
from supply_chain.data.split import split
from supply_chain.errors import InvalidInput, InvalidRecipe
from supply_chain.job import Job
from supply_chain.keys import adapter_key
from supply_chain.label_loss import label_smoothed
from supply_chain.lesson import row_weights
from supply_chain.recipe import Recipe, load_recipe
from supply_chain.recipe.continual import Continual
from supply_chain.recipe.continual import Corrections as CorrectionsSpec
from supply_chain.recipe.part import Surroundings
from supply_chain.recipe.sources import PathSource
from supply_chain.records import Artifact, Splits
from supply_chain.store import Store, Stored
from supply_chain.succession import line_of, parent_of, predecessors, succeed
from supply_chain.training import train
from supply_chain.warm_start import take_over
from tests.conftest import NOUNS, WORDS, write_tiny_project
from tests.supply_chain.test_methods import METHODS, job_of
from tests.supply_chain.test_training import CPU, tracker

HEAD = {"method": "head", "tune": "full", "max_steps": 2, "learning_rate": 0.001}
LINES = [
    {"text": "The phone is made  of sugar", "label": "negative", "who": "ann", "when": "2026-01-05"},
    {"text": "a strap of velvet", "label": "neutral", "who": "bob", "when": "2026-01-06T10:00:00"},
    {"text": "the phone is made of sugar", "label": "positive", "who": "ann", "when": "2026-01-07"},
]


@dataclasses.dataclass
class World:
    """A store with a champion trained on `old`, and `new` rows with one label more."""

    home: Path
    recipe: Recipe
    store: Store
    old: Stored[Splits]
    new: Stored[Splits]
    champion: Stored[Artifact]
    model: Path

    def job(self, splits: Stored[Splits], **block: Any) -> Job:
        return job_of(self.home, self.model, self.recipe, splits, **block)


def rows_of(root: Path, text: str, recipe: Recipe, store: Store, seed: int = 17) -> Stored[Splits]:
    (root / "data/rows.csv").write_text(text)
    data = recipe.data.model_copy(update={"source": PathSource(kind="path", path="data/rows.csv")})
    return split(curate(data, locate(data.source, root, root), store), data.split, seed, store)


def later_rows() -> str:
    rng, lines = random.Random(3), ["text,label,review"]
    for i in range(90):
        words = rng.sample([*NOUNS, *WORDS["neutral"], *WORDS["positive"]], 7)
        lines.append(f"{' '.join(words)},{('negative', 'positive', 'angry')[i % 3]},later{i}")
    return "\n".join(lines)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> World:
    home = tmp_path_factory.mktemp("continual")
    root = home / "project"
    recipe, store = load_recipe(write_tiny_project(root), Surroundings(root, ("tiny",))), Store(home / "store")
    old = rows_of(root, (root / "data/tiny_reviews.csv").read_text(), recipe, store)
    job = job_of(home, tiny_model, recipe, old, **HEAD)
    merged = merge(job, train(job, tracker))
    champion = quantize(job, merged, recipe.quantize[0])
    return World(home, recipe, store, old, rows_of(root, later_rows(), recipe, store), champion, tiny_model)


def texts(splits: Stored[Splits], name: str) -> set[str]:
    return {same_text(row.text) for row in read_split(splits, name)}


def test_replay_is_a_seeded_share_of_earlier_train_rows(world: World) -> None:
    made = succeed(world.new, world.champion, Continual(replay=0.25), None, world.recipe.data, 17, world.store)
    fresh, rows = read_split(world.new, "train"), read_split(made, "train")
    assert made.record.succession is not None
    assert rows[: len(fresh)] == fresh
    replayed = rows[len(fresh) :]
    assert len(replayed) == made.record.succession.replayed == round(len(fresh) / 3)
    assert {same_text(row.text) for row in replayed} <= texts(world.old, "train")
    assert not {same_text(row.text) for row in replayed} & (texts(world.old, "test") | texts(made, "test"))
    assert made.record.labels == ["angry", "negative", "neutral", "positive"]
    assert sum(made.record.rows["train"].values()) == len(rows)
    other = succeed(world.new, world.champion, Continual(replay=0.25), None, world.recipe.data, 18, world.store)
    assert read_split(other, "train")[len(fresh) :] != replayed
    assert (
        succeed(world.new, world.champion, Continual(replay=0.25), None, world.recipe.data, 17, world.store).digest
        == made.digest
    )
    for name in ("validation", "test"):
        assert read_split(made, name) == read_split(world.new, name)


def test_a_row_that_is_held_out_now_was_not_trained_on_before(world: World) -> None:
    text = (world.home / "project/data/tiny_reviews.csv").read_text()
    drawn = rows_of(world.home / "project", text, world.recipe, world.store, seed=18)
    lines = {row.line for name in ("validation", "test") for row in read_split(drawn, name)}
    leaked = {row.line for row in read_split(world.old, "train")} & lines
    with pytest.raises(InvalidInput, match="leak: rows held out now were trained on by a champion before") as error:
        succeed(drawn, world.champion, Continual(), None, world.recipe.data, 17, world.store)
    assert f"and {len(leaked) - 5} more" in str(error.value)


@pytest.mark.parametrize("name", ["lora_top", "head_lora", "full", "head_full", "qlora"])
def test_training_starts_from_the_champions_weights_and_a_head_grows(name: str, world: World) -> None:
    block = {**METHODS[name], "max_steps": 2}
    first = world.job(world.old, **block)
    champion = quantize(first, merge(first, trained := train(first, tracker)), world.recipe.quantize[0])
    made = succeed(world.new, champion, Continual(), None, world.recipe.data, 17, world.store)
    job = world.job(made, **block, continual={})
    from supply_chain.trainable import open_trainable

    fresh = open_trainable(job.base.path, job.recipe.train, job.labels, CPU, 17)
    new_rows = {n: p.detach().clone() for n, p in fresh.model.named_parameters() if "score" in n and p.requires_grad}
    take_over(fresh.model, job)
    found = fresh.model.state_dict()
    learned = load_file(next(trained.path.glob("*.safetensors")))
    for key, old in learned.items():
        tail = key.replace(".lora_A.", ".lora_A.default.").replace(".lora_B.", ".lora_B.default.")
        if key.endswith("score.weight"):
            (own,) = (
                v
                for n, v in found.items()
                if n.endswith(("score.weight", "score.modules_to_save.default.weight")) and "original" not in n
            )
            assert torch.equal(own[1:].float(), old.float()), "rows of old labels go with their labels"
            assert torch.equal(own[0], next(iter(new_rows.values()))[0]), "a new label's row is as it was initialized"
        else:
            assert torch.equal(found[tail].float(), old.float()), key
    after = train(job, tracker)
    assert after.record.champion == champion.digest
    assert adapter_key(job) != adapter_key(world.job(world.new, **block, continual={}))
    released = quantize(job, merge(job, after), world.recipe.quantize[0])
    assert [a.artifact.digest for a in line_of(released, world.store)] == [released.digest, champion.digest]
    roles = [(o.role, o.name) for o in released.record.origins]
    assert roles == [("base", "tiny"), ("data", "tiny_reviews"), ("champion", "tiny"), ("champion", "tiny_reviews")]


def test_the_same_data_go_on_from_the_same_weights_also_once_their_result_is_champion(world: World) -> None:
    made = succeed(world.new, world.champion, Continual(), None, world.recipe.data, 17, world.store)
    job = world.job(made, **HEAD, continual={})
    champion = quantize(job, merge(job, train(job, tracker)), world.recipe.quantize[0])
    assert parent_of(world.champion, world.new, None, world.store) == world.champion
    again = parent_of(champion, world.new, None, world.store)
    assert again is not None and again.digest == world.champion.digest
    assert parent_of(world.champion, world.old, None, world.store) is None
    assert [a.artifact.digest for a in predecessors(made, world.store)] == [world.champion.digest]


def test_weights_that_do_not_fit_are_refused(world: World) -> None:
    made = succeed(world.new, world.champion, Continual(), None, world.recipe.data, 17, world.store)
    with pytest.raises(InvalidInput, match="trained by head and is stored as weights"):
        train(world.job(made, method="lora", rank=2, continual={}), tracker)
    with pytest.raises(
        InvalidInput, match=r"weights differ in name or shape, lm_head|1 weights differ in name or shape"
    ):
        train(world.job(made, method="full", continual={}), tracker)


def corrections(world: World, lines: list[dict[str, str]], name: str) -> Stored[Corrections]:
    path = world.home / f"project/data/{name}.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    source = PathSource(kind="path", path=f"data/{name}.jsonl")
    return stored_corrections(locate(source, world.home, world.home / "project"), world.store)


def test_corrections_replace_rows_and_never_enter_from_a_test_split(world: World) -> None:
    known, tested = read_split(world.old, "train")[3], read_split(world.old, "test")[0]
    more = [
        {"text": text, "label": "neutral", "who": "ann", "when": "2026-01-08"} for text in (known.text, tested.text)
    ]
    told = corrections(world, [*LINES, *more], "corrections")
    made = succeed(world.old, None, None, told, world.recipe.data, 17, world.store)
    rows = read_split(made, "train")
    mended = {row.text: row.label for row in rows if row.flags == "corrected"}
    expected = {"the phone is made of sugar": "positive", "a strap of velvet": "neutral", known.text: "neutral"}
    assert mended == expected
    assert [row.label for row in rows if same_text(row.text) == same_text(known.text)] == ["neutral"]
    assert len(rows) == len(read_split(world.old, "train")) + 2
    succession = made.record.succession
    assert succession is not None
    assert (succession.corrected, succession.held_out, succession.champion) == (3, 1, None)
    assert parent_of(world.champion, world.old, told, world.store) == world.champion


def test_a_correction_much_like_a_test_row_stays_out_and_loses_its_personal_data(world: World) -> None:
    tested = read_split(world.old, "test")[0].text.split()
    turned = " ".join([*tested[1:], tested[0]]).upper() + "!"
    mail = {**LINES[1], "text": "write to ann.smith@example.org about the velvet strap"}
    told = corrections(world, [{**LINES[1], "text": turned}, mail], "alike")
    rules = world.recipe.data.rules
    seen: dict[str, list[str]] = {}
    for name, changes in {
        "as it is": {},
        "kept": {"near_duplicates": {"action": "keep"}},
        "pii": {"pii": {"types": ["EMAIL"]}},
    }.items():
        changed = type(rules).model_validate({**rules.model_dump(), **changes})
        data = world.recipe.data.model_copy(update={"rules": changed})
        made = succeed(world.old, None, None, told, data, 17, world.store)
        assert made.record.succession is not None
        assert made.record.succession.held_out == (0 if name == "kept" else 1)
        seen[name] = [row.text for row in read_split(made, "train") if row.flags == "corrected"]
    assert seen["as it is"] == [mail["text"]]
    assert seen["kept"] == [turned, mail["text"]]
    (scrubbed,) = seen["pii"]
    assert scrubbed == "write to [EMAIL] about the velvet strap"


def test_corrections_are_only_appended(world: World) -> None:
    corrections(world, LINES[:2], "appended")
    assert len(read_corrections(corrections(world, LINES, "appended"))) == 3
    for other in (LINES[:1], [LINES[1], LINES[0], LINES[2]], []):
        with pytest.raises(InvalidInput, match=r"its first [23] lines are not those that were read before"):
            corrections(world, other, "appended")


def test_every_faulty_correction_is_named(world: World) -> None:
    bad = [{"text": "a", "label": "x", "when": "2026-01-05"}, {**LINES[0], "when": "yesterday"}, {**LINES[0], "who": 7}]
    with pytest.raises(InvalidInput) as error:
        corrections(world, bad, "bad")  # type: ignore[arg-type]
    assert str(error.value).splitlines()[1:] == [
        "  line 1: no who",
        "  line 2: when is 'yesterday'",
        "  line 3: who is no text",
    ]
    odd = corrections(world, [{**LINES[0], "label": "furious"}], "odd")
    with pytest.raises(
        InvalidInput, match=r"labels that the data have not: line 1: 'furious'; the labels are negative"
    ):
        succeed(world.old, None, None, odd, world.recipe.data, 17, world.store)


def test_a_row_of_weight_two_costs_what_it_costs_twice(world: World) -> None:
    logits, truth = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.5, 0.1]]), torch.tensor([0, 0, 1])
    rows = [
        row.model_copy(update={"flags": flag})
        for row, flag in zip(read_split(world.old, "train"), ("", "corrected", ""), strict=False)
    ]
    spec = CorrectionsSpec.model_validate({"source": {"kind": "path", "path": "x"}, "weight": 2})
    weights = row_weights(rows, spec)
    assert weights is not None
    torch.testing.assert_close(weights, torch.tensor([0.75, 1.5, 0.75]))
    twice = torch.tensor([0, 1, 1, 2])
    mean = label_smoothed(0.1, weights)(logits, truth, torch.arange(3)) / 3
    torch.testing.assert_close(mean, label_smoothed(0.1)(logits[twice], truth[twice], twice) / 4)
    moved = label_smoothed(0.1, weights)(logits[[2, 1]], truth[[2, 1]], torch.tensor([2, 1]))
    alone = [label_smoothed(0.1)(logits[[i]], truth[[i]], torch.tensor([0])) for i in (1, 2)]
    torch.testing.assert_close(moved, 1.5 * alone[0] + 0.75 * alone[1])
    assert row_weights(rows, None) is None


@pytest.mark.parametrize("block", [{"method": "lora", "rank": 2}, HEAD])
def test_weights_reach_the_rows_that_they_belong_to(block: dict[str, Any], world: World) -> None:
    """Weights that are near nought for all but corrected rows learn what the corrected rows alone teach."""
    told = corrections(world, [{**LINES[0], "text": f"mended {i}"} for i in range(4)], f"reach_{block['method']}")
    made = succeed(world.old, None, None, told, world.recipe.data, 17, world.store)
    loop = {**block, "max_steps": 3, "batch_size": 16}
    spec = {"source": {"kind": "path", "path": "x"}}

    def losses(weight: float) -> list[float]:
        found = train(world.job(made, **loop, corrections={**spec, "weight": weight}), tracker).record.losses
        return [point.loss for point in found]

    plain = [point.loss for point in train(world.job(made, **loop), tracker).record.losses]
    assert losses(1.0) == pytest.approx(plain, rel=1e-5)
    assert losses(100.0) != pytest.approx(plain, rel=0.05)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("method: lora, continual: {replay: 1}", "train.lora.continual.replay: must be less than 1"),
        ("method: lora, continual: {replai: 0.1}", r"unknown key; did you mean replay\?"),
        ("method: lora, corrections: {source: {kind: path, path: data/none.jsonl}}", "no such file"),
        ("method: distill, teacher: {base: tiny}, continual: {}", "unknown key"),
    ],
)
def test_faults_are_named(tmp_path: Path, block: str, message: str) -> None:
    path = write_tiny_project(tmp_path)
    line = next(line for line in path.read_text().splitlines() if line.startswith("train:"))
    path.write_text(path.read_text().replace(line, f"train: {{{block}}}"))
    with pytest.raises(InvalidRecipe, match=message):
        load_recipe(path, Surroundings(tmp_path, ("tiny",)))

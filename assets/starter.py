"""A specialist of one's own: recipe, suite and data, written from a look at a CSV or, without one, to be filled."""

import csv
import json
import os
import shutil
import uuid
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pydantic import ValidationError

from assets.project import Project
from supply_chain.errors import InvalidInput, SupplyChainError
from supply_chain.recipe.load import load_recipe
from supply_chain.recipe.suites import FOLDER, Suite
from supply_chain.store import sync, write_atomically

_LOOK = 20_000
_MAX_LABELS = 200
_RECIPE = """\
# yaml-language-server: $schema=recipe.schema.json
name: {name}
description: {description}
owner: {owner}
task: classification
suite: {name} # what it is measured by and must show: {folder}/{name}.yaml

data:
  source: {{kind: path, path: {path}}}
  format: {{kind: csv, delimiter: {delimiter}}}
  text: {text}
  label: {{column: {label}}}
  license: proprietary # whose data are these, and what may be made of them?
  sensitivity: internal

base: {base}

prompt:
  kind: plain
  after: "\\nLabel:"

train:
  method: lora
  epochs: 2

evaluate:
  kpis: # what are decisions and mistakes worth?
    volume_per_month: 100000
    mistake_usd: 0.05
{approval}
route:
  task: {task}
"""
_APPROVAL = """
promote:
  approval: {{roles: [{roles}]}} # who signs before it serves: supply-chain review
"""
_SUITE = """\
name: {name}
description: What {name} is measured by, and what it must show; other recipes may name it, too.

evaluate:
  slices: # test rows that are scored alone as well
    - {{name: questions, matches: '\\?'}}
  perturbations: [typos, upper] # the same rows, less neatly written

promote:
  minimum: 0.5 # the lower 95 % bound of macro-F1 must reach this
  beats: [tfidf] # surely better than word counts and a linear model
  quantization_loss: 0.03 # what 4 bits may cost
"""
_STUB = """\
text,label
"Where is my parcel? It should have come on Monday.",delivery
"The parcel came, but to my neighbour.",delivery
"My card was charged twice for one order.",billing
"Please send the invoice to my new address.",billing
"""


@dataclass(frozen=True)
class Wish:
    """What a person says of their specialist. Without `data`, a stub to be filled is written."""

    name: str
    data: Path | None = None
    text: str = "text"
    label: str = "label"
    owner: str = "team:mine"
    roles: tuple[str, ...] = ()
    """Who must sign before a version serves."""


@dataclass(frozen=True)
class Started:
    """What was written, and the rows by label that were seen."""

    recipe: Path
    suite: Path
    data: Path
    labels: Counter[str]


def start_recipe(wish: Wish, project: Project) -> Started:
    """Writes `recipes/NAME.yaml` and `evals/suites/NAME.yaml`; a CSV from elsewhere is copied to `data/NAME.csv`.

    A suite of that name that is there already stays as it is. Raises InvalidInput when the recipe exists, the name
    cannot be one, the file cannot be read, or a column is missing or holds no labels; then nothing is written.
    """
    suite_text = _suite(wish.name)
    recipe, suite = project.settings.recipes / f"{wish.name}.yaml", project.settings.root / FOLDER / f"{wish.name}.yaml"
    if recipe.exists():
        raise InvalidInput(f"{recipe} is there already: choose another name, or edit it")
    root = project.settings.root.resolve()
    own = root / "data" / f"{wish.name}.csv"
    source = wish.data.resolve() if wish.data else own if own.exists() else None
    inside = source if source and source.is_relative_to(root) else own
    delimiter, labels = _look(source, wish.text, wish.label) if source else (",", Counter[str]())
    written = [path for path in (_bring(source, inside), _write_new(suite, suite_text)) if path]
    content = _recipe(wish, inside.relative_to(root).as_posix(), delimiter, labels, project)
    draft = project.settings.home / "drafts" / recipe.name
    write_atomically(draft, content)
    try:
        load_recipe(draft, project.catalogue.surroundings(project.settings.root, project.settings.recipes))
    except SupplyChainError:
        for path in written:
            path.unlink()
        raise
    finally:
        draft.unlink()
    write_atomically(recipe, content)
    return Started(recipe, suite, inside, labels)


def _suite(name: str) -> str:
    try:
        Suite.model_validate({"name": name, "description": "Named like its recipe."})
    except ValidationError:
        raise InvalidInput(
            f"{name!r} cannot be a recipe's name: small letters, digits and underscores, such as support_tickets"
        ) from None
    return _SUITE.format(name=name)


def _recipe(wish: Wish, path: str, delimiter: str, labels: Counter[str], project: Project) -> str:
    few = f" ({', '.join(sorted(labels)[:8])})" if labels else ""
    told = f"Tells which of {len(labels)} labels fits a text{few}." if labels else "Tells which label fits a text."
    quoted = {
        "path": path,
        "delimiter": delimiter,
        "text": wish.text,
        "label": wish.label,
        "owner": wish.owner,
        "task": wish.name.replace("_", "-"),
        "base": project.catalogue.models[0].name,
        "description": told,
    }
    approval = _APPROVAL.format(roles=", ".join(json.dumps(role) for role in wish.roles)) if wish.roles else ""
    plain = {"name": wish.name, "folder": FOLDER, "approval": approval}
    return _RECIPE.format(**plain, **{key: json.dumps(value, ensure_ascii=False) for key, value in quoted.items()})


def _bring(source: Path | None, target: Path) -> Path | None:
    """Copies a file into the project, or writes the stub; the file if it is new."""
    if source is None:
        return _write_new(target, _STUB)
    if source == target:
        return None
    if target.exists():
        if target.read_bytes() == source.read_bytes():
            return None
        raise InvalidInput(f"{target} is there already and holds other data: choose another name, or take it away")
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    shutil.copyfile(source, draft)
    sync(draft)
    os.replace(draft, target)
    return target


def _write_new(path: Path, text: str) -> Path | None:
    if path.exists():
        return None
    write_atomically(path, text)
    return path


def _look(path: Path, text: str, label: str) -> tuple[str, Counter[str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            delimiter = csv.Sniffer().sniff(file.readline(), ",;\t|").delimiter
            file.seek(0)
            rows = csv.DictReader(file, delimiter=delimiter)
            missing = [column for column in (text, label) if column not in (rows.fieldnames or ())]
            if missing:
                names = ", ".join(rows.fieldnames or ())
                raise InvalidInput(f"{path} has no column {' or '.join(missing)}; it has {names} (--text, --label)")
            labels = Counter(row[label] for row in islice(rows, _LOOK) if row[text] and row[label])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(f"{path} cannot be read as CSV in UTF-8: {error}") from None
    if not 2 <= len(labels) <= _MAX_LABELS:
        raise InvalidInput(f"{path}: column {label} holds {len(labels)} labels; expected 2 to {_MAX_LABELS}")
    return delimiter, labels

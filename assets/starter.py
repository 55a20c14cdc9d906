"""A recipe of one's own, written from a look at the data."""

import csv
import json
from collections import Counter
from itertools import islice
from pathlib import Path

from assets.project import Project
from supply_chain.errors import InvalidInput
from supply_chain.recipe.load import load_recipe
from supply_chain.store import write_atomically

_LOOK = 20_000
_MAX_LABELS = 200
_TEXT = """\
# yaml-language-server: $schema=recipe.schema.json
name: {name}
description: {description}
owner: {owner}
task: classification

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

promote:
  minimum: 0.5 # the lower 95 % bound of macro-F1 must reach this

route:
  task: {task}
"""


def start_recipe(name: str, data: Path, text: str, label: str, owner: str, project: Project) -> Path:
    """Writes `recipes/NAME.yaml` for labelled texts in a CSV file of the project; returns its path.

    Raises InvalidInput when the recipe exists, the file lies outside the project or cannot be read, or a
    column is missing or holds no labels; then nothing is written.
    """
    path = project.settings.recipes / f"{name}.yaml"
    if path.exists():
        raise InvalidInput(f"{path} is there already: choose another name, or edit it")
    root, found = project.settings.root.resolve(), data.resolve()
    if not found.is_relative_to(root):
        raise InvalidInput(f"{data} lies outside the project: copy it below {root}, recipes only read from there")
    delimiter, labels = _look(found, text, label)
    quoted = {
        "path": found.relative_to(root).as_posix(),
        "delimiter": delimiter,
        "text": text,
        "label": label,
        "owner": owner,
        "task": name.replace("_", "-"),
        "base": project.catalogue.models[0].name,
        "description": f"Tells which of {len(labels)} labels fits a text: {', '.join(sorted(labels)[:8])}.",
    }
    content = _TEXT.format(name=name, **{key: json.dumps(value, ensure_ascii=False) for key, value in quoted.items()})
    draft = project.settings.home / "drafts" / path.name
    write_atomically(draft, content)
    try:
        load_recipe(draft, project.catalogue.surroundings(project.settings.root, project.settings.recipes))
    finally:
        draft.unlink()
    write_atomically(path, content)
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

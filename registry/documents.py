"""The papers of a release: its model card (Hugging Face format) and its bill of materials (CycloneDX).

Made once, when the release is registered, and kept as they were made.
"""

from pathlib import Path

from registry.adapters import adapter_of
from registry.bom import bom_of
from registry.card import card_of
from registry.evidence import Documents, Evidence
from supply_chain.identity import canonical_json, identity
from supply_chain.recipe import Recipe
from supply_chain.store import Store, Stored

CARD, BOM = "README.md", "bom.cdx.json"


def documents_of(recipe: Recipe, evidence: Evidence, store: Store) -> Stored[Documents]:
    """The papers about this evidence."""
    release = evidence.claims(recipe.name, recipe.route).key

    def make(folder: Path) -> Documents:
        adapter = adapter_of(evidence.artifact.record.made_from, store)
        (folder / CARD).write_text(card_of(recipe, evidence, adapter), encoding="utf-8")
        (folder / BOM).write_text(canonical_json(bom_of(recipe, evidence, release)), encoding="utf-8")
        return Documents(release=release)

    return store.once(Documents, key_of(release), make)


def key_of(release: str) -> str:
    """Where the papers about some evidence are in the store."""
    return identity("documents", 1, release=release)

"""A recipe's weights in every format that it asks for, and the proof that each is the model that was trained."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from assets import about, checks
from assets.checks import checked
from assets.declared import Declared
from assets.launch import Workshop, explained
from assets.needs import needs
from assets.project import Project
from assets.wiring import asset_of, ins_of, teacher_key_of
from supply_chain.identity import identity
from supply_chain.job import Job
from supply_chain.keys import parity_key, quantized_key
from supply_chain.recipe import Recipe
from supply_chain.records import Artifact, Parity
from supply_chain.store import Stored
from supply_chain.unmerged import unmerged


def format_assets(recipe: Recipe, project: Project) -> Iterator[Declared]:
    """The artifacts of `quantize`, then what was checked of each."""

    beside = [] if len(recipe.candidates) == len(recipe.quantize) else ["adapter"]

    def options(name: str) -> dict[str, Any]:
        return {"recipe": recipe.model_dump(mode="json"), "scheme": name}

    @asset_of(
        recipe,
        "quantize",
        kinds={"safetensors", "gguf"} if any(s.scheme == "gguf" for s in recipe.quantize) else {"safetensors"},
        ins=ins_of(recipe, "base", "splits", "merged_model", *beside),
        op_tags=needs(recipe, project, "load"),
    )
    def artifacts(
        context: dg.AssetExecutionContext, base: Any, splits: Any, merged_model: Any, **more: Any
    ) -> dg.MaterializeResult:
        """The weights in every format of the recipe."""
        with explained():
            job, shop = Job(recipe, base, splits, project.settings, project.store), Workshop(project, context)
            inputs = {"base": base, "splits": splits, "merged": merged_model}
            made = [
                shop.make(Artifact, quantized_key(job, merged_model, s), "quantized", inputs, options(s.name))
                if s.alone
                else unmerged(job, more["adapter"], merged_model)
                for s in recipe.quantize
            ]
        return _several(made, about.formats(made))

    taught = ["teacher"] if teacher_key_of(recipe) else []
    compared = ("base", "splits", "adapter", "merged_model", "artifacts", *taught)

    @asset_of(
        recipe,
        kinds={"pytorch"},
        ins=ins_of(recipe, *compared),
        op_tags=needs(recipe, project, "load"),
        **checked(recipe, "parity"),
    )
    def parity(context: dg.AssetExecutionContext, **inputs: Any) -> dg.MaterializeResult:
        """Each artifact against the training: tokens, template, stop token, weights and log-probabilities.

        A difference ends the run with the hop that made it, before anything is evaluated.
        """
        with explained():
            told = {name: inputs[name] for name in ("base", "splits", *taught)}
            job = Job(recipe, settings=project.settings, store=project.store, **told)
            shop = Workshop(project, context)
            made = []
            for scheme, artifact in zip(recipe.quantize, inputs["artifacts"], strict=True):
                parts = {"adapter": inputs["adapter"], "merged": inputs["merged_model"], "artifact": artifact}
                key = parity_key(job, scheme, **parts)
                made.append(shop.make(Parity, key, "parity", {**told, **parts}, options(scheme.name)))
        return _several(made, about.parity(made), checks.parity(made))

    yield from (artifacts, parity)


def _several(made: list[Stored[Any]], metadata: dict[str, Any], *found: dg.AssetCheckResult) -> dg.MaterializeResult:
    version = dg.DataVersion(identity("several", 1, parts=[stored.digest for stored in made]))
    return dg.MaterializeResult(value=made, metadata=metadata, data_version=version, check_results=list(found))

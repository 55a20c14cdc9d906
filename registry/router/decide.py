"""From a request to who answers it, with the reasons.

Rules, then the classifier, then what each one may and can do, then health and load, then escalation.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from registry.generations import load_manifest
from registry.router.classifier import TENSORS, TEXTS, Classifier
from registry.routing import Candidate, Model, ModelRoute, RoutingManifest
from registry.signing import verify
from registry.terms import ANY, LEVELS, NOBODY
from supply_chain.errors import CorruptData, InvalidInput, Unavailable
from supply_chain.identity import file_sha256, identity
from supply_chain.recipe.data import Sensitivity
from supply_chain.recipe.route import Cause

_CHARACTERS_A_TOKEN = 3  # on the safe side: English has about four
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Context:
    """What the caller knows about a request and about the servers."""

    task: str | None = None
    """The route that is asked for by name."""
    sensitivity: Sensitivity = "internal"
    zone: str = ANY
    """Where the text must stay."""
    max_p95_ms: float | None = None
    max_usd_per_1k: float | None = None
    down: frozenset[str] = frozenset()
    """Models that do not answer now."""
    load: Mapping[str, float] = field(default_factory=dict)
    """Share of each server's capacity in use; among candidates the least loaded answers."""
    request: str | None = None
    """A request's or session's id: the candidates share such requests by weight, and one id always gets the same."""


@dataclass(frozen=True)
class Decision:
    """Who answers (None: nobody may), and why."""

    model: str | None
    route: str | None
    confidence: float
    hops: int
    reasons: tuple[str, ...]


class Router:
    """One generation of a manifest, ready to decide."""

    def __init__(self, manifest: RoutingManifest, classifier: Classifier | None = None):
        self.manifest, self.classifier = manifest, classifier
        self._models = {model.name: model for model in manifest.models}
        self._routes = {route.task: route for route in manifest.routes}
        self._of = {c.model: route for route in manifest.routes for c in route.candidates}
        self._keywords: dict[str, set[str]] = {}
        for route in manifest.routes:
            for keyword in route.keywords:
                self._keywords.setdefault(keyword.lower(), set()).add(route.task)

    @classmethod
    def load(
        cls, manifest: Path, classifier: Path | None = None, keys: list[Ed25519PublicKey] | None = None
    ) -> "Router":
        """Reads a manifest (verified against `keys` if given) and its classifier, from `classifier` if given.

        Raises InvalidInput or CorruptData; Unavailable for a classifier that is not on this machine.
        """
        found = verify(manifest.read_bytes(), keys, str(manifest)) if keys is not None else load_manifest(manifest)
        if classifier is None and found.router is not None:
            classifier = _local(found.router.uri)
        loaded = Classifier.load(classifier) if classifier else None
        if found.router is not None and classifier is not None:
            files = {name: file_sha256(classifier / name) for name in (TENSORS, TEXTS)}
            if identity("files", 1, files=files) != found.router.sha256:
                raise CorruptData(f"{classifier} is not the router that {manifest} names: fetch it again")
        return cls(found, loaded)

    def decide(self, text: str, context: Context | None = None) -> Decision:
        """Who answers `text`. Raises InvalidInput for a task that is not there."""
        context = context or Context()
        route, confidence, reason = self._route(text, context)
        if route is None:
            return self._last(text, context, Decision(None, None, confidence, 0, (reason,)))
        start = Decision(None, route.task, confidence, 0, (reason,))
        return self._candidate(text, context, start, route)

    def escalate(
        self, text: str, before: Decision, cause: Cause, context: Context | None = None, seen: str = ""
    ) -> Decision:
        """Who answers after `before.model` failed for a cause; `seen` is what showed it, for the reasons.

        Raises InvalidInput for a decision without a model.
        """
        if before.model is None:
            raise InvalidInput("nobody answered, so that there is nothing to escalate from")
        context = context or Context()
        route, own = self._of.get(before.model), self._routes.get(before.route or "")
        reasons = (*before.reasons, f"{before.model}: {cause} {seen}".rstrip())
        limit = own.max_hops if own else 0
        if route is None or before.hops >= limit:
            return replace(before, model=None, reasons=(*reasons, f"no further hop (at most {limit})"))
        # The text keeps the limits of the route that it came by, whoever it is handed to.
        name = route.fallbacks[cause]
        step = replace(before, model=None, hops=before.hops + 1, reasons=reasons)
        return self._hand_to(name, text, self._bound(context, own), step)

    def _route(self, text: str, context: Context) -> tuple[ModelRoute | None, float, str]:
        if context.task is not None:
            if context.task not in self._routes:
                raise InvalidInput(f"no route {context.task!r}; routes: {', '.join(self._routes) or 'none'}")
            return self._routes[context.task], 1.0, f"rule: task {context.task} was asked for"
        said = {word.lower() for word in _WORD.findall(text[:4000])} & self._keywords.keys()
        tasks = {task for word in said for task in self._keywords[word]}
        if len(tasks) == 1:
            return self._routes[next(iter(tasks))], 1.0, f"rule: keyword {', '.join(sorted(said))}"
        if self.classifier is None:
            return None, 0.0, "no rule matched, and there is no classifier"
        guess = self.classifier.guess(text)
        model, share = next(iter(guess.shares.items()))
        if not guess.known:
            return None, share, f"classifier: out of scope ({guess.familiarity:.2f} < {self.classifier.threshold:.2f})"
        if model not in self._of:
            return None, share, f"classifier: {model} is not in this generation"
        return self._of[model], share, f"classifier: {model} ({share:.2f})"

    def _candidate(self, text: str, context: Context, so_far: Decision, route: ModelRoute) -> Decision:
        bound, reasons, able = self._bound(context, route), list(so_far.reasons), []
        for candidate in route.candidates:
            why = self._unable(self._models[candidate.model], text, bound)
            able += [] if why else [candidate]
            reasons += [f"{candidate.model}: {why}"] if why else []
        if able:
            best = _share(able, route.task, context)
            return replace(so_far, model=best.model, reasons=(*reasons, f"{best.model}: chosen"))
        tokens = len(text) / _CHARACTERS_A_TOKEN
        first = self._models[route.candidates[0].model]
        cause: Cause = "error" if first.name in context.down else "policy"
        cause = "context_overflow" if tokens > first.context_tokens else cause
        step = replace(so_far, hops=so_far.hops + 1, reasons=tuple(reasons))
        if step.hops > route.max_hops:
            return replace(step, reasons=(*reasons, f"no further hop (at most {route.max_hops})"))
        return self._hand_to(route.fallbacks[cause], text, bound, step)

    def _hand_to(self, name: str, text: str, context: Context, step: Decision) -> Decision:
        if name == NOBODY:
            return replace(step, reasons=(*step.reasons, "nobody else may answer"))
        if name == self.manifest.fallback.name:
            return self._last(text, context, step)
        own = self._routes.get(step.route or "")
        if own is not None and step.hops > own.max_hops:
            return replace(step, reasons=(*step.reasons, f"no further hop (at most {own.max_hops})"))
        why = self._unable(self._models[name], text, context)
        if not why:
            return replace(step, model=name, reasons=(*step.reasons, f"{name}: chosen instead"))
        cause: Cause = "error" if name in context.down else "policy"
        after = replace(step, hops=step.hops + 1, reasons=(*step.reasons, f"{name}: {why}"))
        return self._hand_to(self._of[name].fallbacks[cause], text, context, after)

    def _last(self, text: str, context: Context, step: Decision) -> Decision:
        last = self.manifest.fallback
        why = _outside(last.zone, context.zone)
        if LEVELS.index(context.sensitivity) > LEVELS.index(last.accepts):
            why = f"may see {last.accepts} text at most"
        if last.name in context.down:
            why = "is down"
        if context.max_usd_per_1k is not None and last.usd_per_1k_requests > context.max_usd_per_1k:
            why = f"costs ${last.usd_per_1k_requests:g} for 1,000"
        if why:
            return replace(step, model=None, reasons=(*step.reasons, f"{last.name}: {why}"))
        return replace(step, model=last.name, reasons=(*step.reasons, f"{last.name}: chosen"))

    def _bound(self, context: Context, route: ModelRoute | None) -> Context:
        """The caller's limits and the route's, whichever is tighter."""
        if route is None:
            return context
        zone = route.zone if context.zone == ANY else context.zone
        level = max(LEVELS.index(context.sensitivity), LEVELS.index(route.sensitivity))
        return replace(context, zone=zone, sensitivity=LEVELS[level])

    def _unable(self, model: Model, text: str, context: Context) -> str:
        if model.name in context.down:
            return "is down"
        if len(text) / _CHARACTERS_A_TOKEN > model.context_tokens:
            return f"the text may have more than its {model.context_tokens} tokens"
        if context.max_p95_ms is not None and model.latency_ms.p95 > context.max_p95_ms:
            return f"takes {model.latency_ms.p95:g} ms"
        if context.max_usd_per_1k is not None and model.usd_per_1k.mean > context.max_usd_per_1k:
            return f"costs ${model.usd_per_1k.mean:g} for 1,000"
        return _outside(model.zone, context.zone)


def _share(able: list[Candidate], task: str, context: Context) -> Candidate:
    """By load where the caller knows it; else by weight, at a place in the shares that the request's id gives."""
    if context.request is None or any(context.load.get(c.model) for c in able):
        return min(able, key=lambda c: (context.load.get(c.model, 0.0), -c.weight, c.model))
    digest = sha256(f"{task}\0{context.request}".encode("utf-8", "replace")).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64 * sum(c.weight for c in able)
    for candidate in able:
        place -= candidate.weight
        if place < 0:
            return candidate
    return able[-1]


def _local(uri: str) -> Path:
    parts = urlsplit(uri)
    if parts.scheme != "file":
        raise Unavailable(f"the router is at {uri}: fetch that folder and name it: Router.load(manifest, FOLDER)")
    return Path(unquote(parts.path))


def _outside(zone: str, wanted: str) -> str:
    return "" if wanted in (ANY, zone) else f"is in zone {zone}, the text must stay in {wanted}"

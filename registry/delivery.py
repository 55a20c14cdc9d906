"""Delivers the generation in force to other places, and tells a webhook.

At least once: what each place has is kept in `delivered.json`, so that a place that was away gets the
generation with the next command. A place never gets an older generation after a newer one.
"""

import hmac
import json
import os
import urllib.error
import urllib.request
from hashlib import sha256
from typing import Any

import fsspec

from registry.fleet import Fleet, HttpPlace, Place, UrlPlace, Webhook
from registry.generations import CURRENT, PublishedManifest
from supply_chain.errors import InvalidInput, Unreachable
from supply_chain.identity import canonical_json, identity
from supply_chain.settings import Settings
from supply_chain.store import write_atomically

TIMEOUT_S = 20
SIGNATURE = "X-Supply-Chain-Signature-256"


def deliver(published: PublishedManifest, fleet: Fleet, settings: Settings) -> None:
    """Sends what is in force to every place that does not have it yet.

    Raises Unreachable that names every place that did not take it.
    """
    path = settings.home / "delivered.json"
    had = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    faults = []
    for place in (*fleet.publish_to, *([fleet.webhook] if fleet.webhook else [])):
        key = identity("place", 1, place=place)
        if had.get(key) == published.sha256:
            continue
        try:
            _send(place, published, fleet)
        except (OSError, ValueError, ImportError, InvalidInput) as error:
            faults.append(f"  {_name(place)}: {error}")
            continue
        had[key] = published.sha256
        write_atomically(path, canonical_json(had))
    if faults:
        raise Unreachable(
            f"generation {published.manifest.generation} is in force here, but {len(faults)} places did not take it; "
            "supply-chain publish tries again:\n" + "\n".join(faults)
        )


def digest_of(body: bytes, secret: bytes) -> str:
    """What the webhook's receiver compares with the header: HMAC-SHA256 of the body, in hex."""
    return "sha256=" + hmac.new(secret, body, sha256).hexdigest()


def post(hook: Webhook, told: dict[str, Any]) -> None:
    """Tells a webhook. Raises OSError when it does not take it, InvalidInput for a variable that is not set."""
    body = canonical_json(told).encode()
    signature = {SIGNATURE: digest_of(body, secret(hook.secret_env).encode())}
    _request(secret(hook.url_env), body, "POST", signature)


def secret(name: str) -> str:
    """What an environment variable holds. Raises InvalidInput when it is not set."""
    value = os.environ.get(name)
    if not value:
        raise InvalidInput(f"the environment variable {name} is not set")
    return value


def _send(place: Place | Webhook, published: PublishedManifest, fleet: Fleet) -> None:
    data = published.path.read_bytes()
    if isinstance(place, UrlPlace):
        for name in (published.path.name, CURRENT):  # the one in force last: it never names what is not there
            _put(f"{place.url.rstrip('/')}/{name}", data)
    elif isinstance(place, HttpPlace):
        token = {"Authorization": f"Bearer {secret(place.token_env)}"} if place.token_env else {}
        _request(secret(place.url_env), data, "PUT", token)
    else:
        told = {"fleet": fleet.name, "generation": published.manifest.generation, "sha256": published.sha256}
        post(place, told)


def _put(url: str, data: bytes) -> None:
    """One write that readers see whole: object stores do so; a file is renamed."""
    filesystem, path = fsspec.url_to_fs(url)
    filesystem.makedirs(os.path.dirname(path), exist_ok=True)
    if "file" not in filesystem.protocol:
        filesystem.pipe_file(path, data)
        return
    filesystem.pipe_file(f"{path}.part", data)
    os.replace(f"{path}.part", path)


def _request(url: str, body: bytes, method: str, headers: dict[str, str]) -> None:
    if not url.startswith(("https://", "http://")):
        raise InvalidInput("its URL is not an http(s) one")
    sent = {"Content-Type": "application/json", **headers}
    request = urllib.request.Request(url, body, sent, method=method)  # noqa: S310 (checked above)
    with urllib.request.urlopen(request, timeout=TIMEOUT_S):  # noqa: S310
        pass


def _name(place: Place | Webhook) -> str:
    return place.url if isinstance(place, UrlPlace) else place.url_env

"""Whoever changes one byte of a manifest, or signs with another key, is found out."""

from pathlib import Path

import pytest
import rfc8785
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st
from typer.testing import CliRunner

from assets.cli import app
from registry.canonical import canonical_bytes
from registry.fleet import Signing
from registry.generations import CURRENT, folder, history
from registry.manifest import publish
from registry.signing import KEY, Key, trusted, verify
from supply_chain.errors import CorruptData, InvalidInput, InvalidRecipe
from supply_chain.recipe import Recipe
from supply_chain.settings import Settings
from supply_chain.store import Store
from tests.registry.evidence import release_made_by_hand
from tests.registry.work import FLEET


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


@pytest.fixture
def data(settings: Settings, tiny_recipe: Recipe, store: Store) -> bytes:
    """A published manifest."""
    publish([release_made_by_hand(tiny_recipe, store)], FLEET, settings, store)
    return (folder(settings) / CURRENT).read_bytes()


def test_a_signed_manifest_verifies(data: bytes, settings: Settings):
    assert verify(data, trusted(settings), "it").generation == 1


@effort(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_changed_byte_fails(data: bytes, settings: Settings, drawn):
    at, value = drawn.draw(st.integers(0, len(data) - 1)), drawn.draw(st.integers(0, 255))
    changed = data[:at] + bytes([value]) + data[at + 1 :]
    if changed != data:
        with pytest.raises(CorruptData):
            verify(changed, trusted(settings), "it")


@pytest.mark.parametrize(
    "change",
    [lambda d: d[:-1], lambda d: d + b" ", lambda d: b" " + d, lambda d: d.replace(b":", b": ", 1), lambda d: b""],
)
def test_more_or_fewer_bytes_fail(data: bytes, settings: Settings, change):
    with pytest.raises(CorruptData):
        verify(change(data), trusted(settings), "it")


def test_the_signatures_own_bytes_have_one_form(data: bytes, settings: Settings):
    at = data.rindex(b'"value":"') + 9
    value = data[at : at + 128]
    with pytest.raises(CorruptData):
        verify(data.replace(value, value.upper()), trusted(settings), "it")


def test_another_key_is_not_trusted(data: bytes, settings: Settings, tmp_path: Path):
    other = Settings(home=tmp_path / "other")
    Key.of(Signing(), other)
    with pytest.raises(CorruptData, match="which is not trusted here"):
        verify(data, trusted(other), "it")


def test_a_key_is_made_once_for_its_owner_alone(settings: Settings):
    first, again = Key.of(Signing(), settings), Key.of(Signing(), settings)
    path = settings.home / "keys" / KEY
    assert first.id == again.id and path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    with pytest.raises(InvalidInput, match=r"others may read the signing key .*: chmod 600"):
        Key.of(Signing(), settings)


def test_a_key_from_the_environment_and_past_keys(data: bytes, settings, tiny_recipe, store, monkeypatch, tmp_path):
    Key.of(Signing(), Settings(home=tmp_path / "other"))
    pem = (tmp_path / "other/keys" / KEY).read_text()
    monkeypatch.setenv("FLEET_KEY", pem)
    named = FLEET.model_copy(update={"signing": Signing(key_env="FLEET_KEY")})
    publish([release_made_by_hand(tiny_recipe, store, version=2)], named, settings, store)
    signers = {published.manifest.signature.key for published in history(settings)}
    assert len(signers) == 2 and not any(
        pem[40:60] in p.read_text() for p in settings.home.rglob("*.p*") if p.name != KEY
    )
    monkeypatch.setenv("FLEET_KEY", "nonsense")
    with pytest.raises(InvalidInput, match="environment variable FLEET_KEY holds no private key"):
        Key.of(named.signing, settings)
    curve = generate_private_key(SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    monkeypatch.setenv("FLEET_KEY", curve.decode())
    with pytest.raises(InvalidInput, match="expected an Ed25519 key"):
        Key.of(named.signing, settings)


def test_the_command(data: bytes, settings: Settings, monkeypatch):
    monkeypatch.setenv("SUPPLY_CHAIN_HOME", str(settings.home))
    shown = CliRunner().invoke(app, ["manifest", "verify"])
    assert shown.exit_code == 0 and "generation 1 of fleet f1, signed by key" in shown.output
    path = settings.home / "copy.json"
    path.write_bytes(data.replace(b"tiny-reviews", b"evil-reviews"))
    failed = CliRunner().invoke(app, ["manifest", "verify", str(path)])
    assert isinstance(failed.exception, CorruptData) and "was edited" in str(failed.exception)
    (public,) = (settings.home / "keys").glob("*.pub")
    named = CliRunner().invoke(app, ["manifest", "verify", str(path), "--key", str(settings.home / "keys" / KEY)])
    assert isinstance(named.exception, InvalidInput) and "is no public key" in str(named.exception)
    path.write_bytes(data)
    assert CliRunner().invoke(app, ["manifest", "verify", str(path), "--key", str(public)]).exit_code == 0


def test_two_places_for_a_key_are_a_fault(tmp_path: Path):
    from registry.fleet import load_fleet

    (tmp_path / "fleet.yaml").write_text(
        "name: f1\nfallback: {name: big, url_env: URL, usd_per_1k_requests: 1}\nsigning: {key_env: A, key_file: b}\n"
    )
    with pytest.raises(InvalidRecipe, match="signing: key_env and key_file exclude each other"):
        load_fleet(Settings(recipes=tmp_path))


numbers = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**53) + 1, 2**53 - 1))
values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), numbers, st.text(), st.sampled_from([0.0, -0.0, 1e-4, 9.99e-5, 1e15, 1e21, 100.0])
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@effort(max_examples=500, deadline=None)
@given(values)
def test_the_fast_canonical_form_is_rfc_8785s(value):
    try:
        expected = rfc8785.dumps(value)
    except rfc8785.CanonicalizationError:
        with pytest.raises(rfc8785.CanonicalizationError):
            canonical_bytes(value)
    else:
        assert canonical_bytes(value) == expected

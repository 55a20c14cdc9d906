"""The commands about releases, as a person types them."""

import json

import pytest
from typer.testing import CliRunner

from assets.cli import app
from registry.decisions import Log
from supply_chain.errors import CorruptData, InvalidInput
from tests.registry.chain import Chain


@pytest.fixture
def typed(chain: Chain, monkeypatch: pytest.MonkeyPatch):
    """Runs a command on the chain's home; returns what it printed or raises what it raised."""
    monkeypatch.setenv("SUPPLY_CHAIN_HOME", str(chain.settings.home))

    def run(*words: str) -> str:
        result = CliRunner().invoke(app, list(words), env={"COLUMNS": "200"})
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.output

    return run


def test_a_life(chain: Chain, typed):
    chain.release()
    assert "tiny_reviews version 1 is champion" in typed("promote", "tiny_reviews", "--by", "ada", "--why", "first")
    chain.release("b")
    typed("promote", "tiny_reviews")
    assert "Missing option '--why'" in typed("rollback", "tiny_reviews")
    assert "version 1 is champion again, in place of version 2" in typed("rollback", "tiny_reviews", "--why", "worse")
    with pytest.raises(InvalidInput, match=r"has no challenger; its versions: 2 \(no part\), 1 \(champion\)"):
        typed("promote", "tiny_reviews")
    assert "tiny_reviews version 2 is retired" in typed("retire", "tiny_reviews", "--version", "2", "--why", "bad")
    rows = json.loads(typed("history", "tiny_reviews", "--json"))
    assert [(row["who"] == "ada", row["why"], row["what"]) for row in rows] == [
        (True, "first", "promoted tiny_reviews version 1"),
        (False, "May be promoted: all 4 checks passed.", "promoted tiny_reviews version 2 in place of version 1"),
        (False, "worse", "rolled back to tiny_reviews version 1 in place of version 2"),
        (False, "bad", "retired tiny_reviews version 2"),
    ]
    (row,) = json.loads(typed("at", "2999-01-01T00:00+00:00", "--json"))
    assert (row["version"], row["why"]) == (1, "worse")
    with pytest.raises(InvalidInput, match="nothing was live at 2001-01-01"):
        typed("at", "2001-01-01")
    with pytest.raises(InvalidInput, match="'yesterday' is not a time"):
        typed("at", "yesterday")
    assert "intact: 1 champions, 7 decisions, 3 generations; MLflow agrees" in typed("verify")
    log = Log(chain.settings.home).path
    log.write_text(log.read_text().replace("worse", "nicer"))
    with pytest.raises(CorruptData, match="one of them was edited"):
        typed("history")

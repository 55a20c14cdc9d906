"""Copies of what lies outside: files at URLs, query results, hub data sets. Named by their content."""

import hashlib
import json
import os
import re
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import fsspec

from supply_chain.errors import CorruptData, InvalidInput, Unreachable
from supply_chain.recipe.sources import HubSource, SqlSource

_CHUNK = 1 << 20
_MAX_BYTES = 1 << 35


def fetch_url(url: str, sha256: str | None, downloads: Path) -> Path:
    """The file at an fsspec URL. Raises CorruptData for other bytes than stated, Unreachable without an answer."""
    base = re.sub(r"[^A-Za-z0-9._-]", "_", url.rpartition("/")[2]) or "data"
    if sha256 and (downloads / "url" / sha256 / base).is_file():
        return downloads / "url" / sha256 / base
    draft = _draft(downloads / "url")
    digest = hashlib.sha256()
    try:
        with fsspec.open(url, "rb") as stream, draft.open("wb") as file:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
                file.write(chunk)
                if file.tell() > _MAX_BYTES:
                    raise InvalidInput(f"{url} holds more than {_MAX_BYTES:,} bytes")
        found = digest.hexdigest()
        if sha256 and found != sha256:
            raise CorruptData(f"{url}: SHA-256 is {found}, expected {sha256}: the file changed, or the digest is wrong")
        return _named(draft, downloads / "url" / found / base)
    except (OSError, ValueError, ImportError) as error:
        raise Unreachable(f"{url} cannot be read: {error}. Check the URL, its driver and the credentials.") from error
    finally:
        draft.unlink(missing_ok=True)


def sql_snapshot(source: SqlSource, downloads: Path) -> Path:
    """The query's rows as JSON lines, `SHA256.jsonl`. Raises InvalidInput or Unreachable; never shows the URL."""
    import sqlalchemy  # noqa: PLC0415 (only sources of this kind)

    url = os.environ.get(source.url_env)
    if not url:
        raise InvalidInput(f"data.source.url_env: the environment variable {source.url_env} is not set")
    try:
        engine = sqlalchemy.create_engine(url)
        with engine.connect().execution_options(stream_results=True, max_row_buffer=5000) as connection:
            rows = connection.execute(sqlalchemy.text(source.query))
            return _snapshot((dict(row) for row in rows.mappings()), downloads / "sql")
    except sqlalchemy.exc.ArgumentError:
        raise InvalidInput(f"{source.url_env} holds no SQLAlchemy URL, such as postgresql+psycopg2://…") from None
    except ImportError as error:
        raise InvalidInput(f"{source.url_env}: {error}. The driver is missing: pip install '.[sql]'") from None
    except sqlalchemy.exc.SQLAlchemyError as error:
        shown = str(getattr(error, "orig", error)).replace(url, source.url_env)
        raise Unreachable(f"the query through {source.url_env} failed: {shown}") from None


def hub_snapshot(source: HubSource, folder: Path | None, downloads: Path) -> Path:
    """A hub data set, or one saved in `folder`, as JSON lines. Raises InvalidInput or Unreachable."""
    import datasets  # noqa: PLC0415 (2 s)

    if (source.dataset is None) == (folder is None):
        raise InvalidInput("data.source: a hub source needs either `dataset` (with `revision`) or `path`")
    if source.dataset and not source.revision:
        raise InvalidInput(f"data.source.revision: name the commit of {source.dataset} that you mean")
    try:
        if folder is not None:
            loaded = datasets.load_from_disk(str(folder))
        else:
            loaded = datasets.load_dataset(source.dataset, source.config, revision=source.revision)
        table = loaded[source.split] if isinstance(loaded, datasets.DatasetDict) else loaded
    except KeyError:
        raise InvalidInput(f"data.source.split: no {source.split!r}; there is {', '.join(loaded)}") from None
    except (OSError, ValueError) as error:
        raise Unreachable(f"the data set {source.dataset or source.path} cannot be read: {error}") from error
    return _snapshot(_arrow_rows(table), downloads / "hub")


def _arrow_rows(table: Any) -> Iterator[dict[str, Any]]:
    for batch in table.with_format("arrow").iter(batch_size=5000):
        yield from batch.to_pylist()


def _snapshot(rows: Iterable[dict[str, Any]], folder: Path) -> Path:
    draft, digest = _draft(folder), hashlib.sha256()
    try:
        with draft.open("wb") as file:
            for row in rows:
                line = json.dumps(row, ensure_ascii=False, default=str).encode("utf-8", "replace") + b"\n"
                digest.update(line)
                file.write(line)
        return _named(draft, folder / f"{digest.hexdigest()}.jsonl")
    finally:
        draft.unlink(missing_ok=True)


def _draft(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f".{uuid.uuid4().hex}"


def _named(draft: Path, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.replace(draft, path)
    return path

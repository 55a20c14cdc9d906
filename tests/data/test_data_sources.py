"""Every source variant gives the same rows, with lineage, and an identity that follows its bytes."""

import bz2
import gzip
import io
import json
import os
import pwd
import shutil
import sqlite3
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_project import kept, rejected
from pydantic import ValidationError

from supply_chain.data.source import locate
from supply_chain.errors import CorruptData, InvalidInput, Unavailable
from supply_chain.identity import file_sha256


def texts(made):
    return [(e.text, e.label) for e in kept(made)]


def lines(rows):
    return "".join(json.dumps(r) + "\n" for r in rows).encode()


def test_csv_jsonl_parquet_and_compressed_files_give_the_same_rows(project, rows):
    data = rows(40)
    table = "text,label\r\n" + "".join(f'"{r["text"]}",{r["label"]}\r\n' for r in data)
    (project.root / "d.csv").write_bytes(("\ufeff" + table).encode())
    (project.root / "d.tsv").write_text(table.replace(",", "\t"))
    (project.root / "d.jsonl.gz").write_bytes(gzip.compress(lines(data)))
    (project.root / "d.csv.bz2").write_bytes(bz2.compress(table.encode()))
    pq.write_table(pa.Table.from_pylist(data), project.root / "d.parquet")
    project.write("d.jsonl", data)
    expected = [(r["text"], r["label"]) for r in data]
    for name in ("d.csv", "d.tsv", "d.jsonl", "d.jsonl.gz", "d.csv.bz2", "d.parquet"):
        assert texts(project.curate(name)) == expected, name
    assert kept(project.curate("d.csv"))[0].line == 2
    assert kept(project.curate("d.parquet"))[0].line == 1


def test_folders_and_archives_keep_each_rows_file(project, rows):
    data = rows(40)
    project.write("many/a/1.jsonl", data[:20])
    project.write("many/b/2.jsonl", data[20:])
    project.write("many/b/skipped.txt", data)
    folder = project.curate({"kind": "path", "path": "many", "pattern": "**/*.jsonl"})
    assert texts(folder) == [(r["text"], r["label"]) for r in data]
    assert (kept(folder)[25].file, kept(folder)[25].line) == ("many/b/2.jsonl", 6)
    assert len({e.id for e in kept(folder)}) == 40
    with zipfile.ZipFile(project.root / "z.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(project.root / "many/a/1.jsonl", "x/1.jsonl")
        archive.write(project.root / "many/b/2.jsonl", "x/2.jsonl")
    with tarfile.open(project.root / "t.tar.gz", "w:gz") as archive:
        archive.add(project.root / "many", "many")
    for name in ("z.zip", "t.tar.gz"):
        made = project.curate({"kind": "path", "path": name, "pattern": "**/*.jsonl"})
        assert texts(made) == texts(folder)
        assert kept(made)[0].file.startswith(f"{name}!")
    one = project.curate({"kind": "path", "path": "z.zip", "member": "x/1.jsonl"})
    assert one.record.rows_kept == 20


def test_an_archive_within_an_archive(project, rows):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("d.jsonl", lines(rows(30)))
    with tarfile.open(project.root / "o.tar.gz", "w:gz") as outer:
        info = tarfile.TarInfo("inner.zip")
        info.size = len(inner.getvalue())
        outer.addfile(info, io.BytesIO(inner.getvalue()))
    assert project.curate({"kind": "path", "path": "o.tar.gz", "member": "inner.zip!d.jsonl"}).record.rows_kept == 30


def test_any_fsspec_url_with_a_pinned_digest(project, rows):
    import fsspec

    with fsspec.open("memory://bucket/d.jsonl", "wb") as file:
        file.write(lines(rows(30)))
    source = {"kind": "url", "url": "memory://bucket/d.jsonl"}
    made = project.curate(source)
    project.write("here.jsonl", rows(30))
    assert project.curate({"kind": "url", "url": f"file://{project.root}/here.jsonl"}).digest == made.digest
    assert made.record.rows_kept == 30
    pinned = project.curate({**source, "sha256": made.record.source_sha256})
    assert pinned.digest == made.digest
    with pytest.raises(CorruptData, match=r"SHA-256 is .*expected 0000"):
        project.curate({**source, "sha256": "0" * 64})
    with pytest.raises(Unavailable, match=r"nowhere://x\.jsonl cannot be read"):
        project.curate({"kind": "url", "url": "nowhere://x.jsonl"})
    with pytest.raises(ValidationError, match="holds a password"):
        project.spec({"kind": "url", "url": "sftp://user:secret@host/x.jsonl"})


def test_sql_snapshot_from_sqlite(project, rows, monkeypatch):
    fill(sqlite3.connect(project.root / "d.db"), rows(30), "?")
    monkeypatch.setenv("DATA_URL", f"sqlite:///{project.root / 'd.db'}")
    source = {"kind": "sql", "url_env": "DATA_URL", "query": "SELECT text, label FROM rows ORDER BY id"}
    made = project.curate(source)
    assert texts(made) == [(r["text"], r["label"]) for r in rows(30)]
    assert project.curate(source).key == made.key
    with pytest.raises(Unavailable, match="no such table: missing"):
        project.curate({**source, "query": "SELECT 1 FROM missing ORDER BY 1"})
    with pytest.raises(ValidationError, match="needs ORDER BY"):
        project.spec({**source, "query": "SELECT text FROM rows"})
    monkeypatch.delenv("DATA_URL")
    with pytest.raises(InvalidInput, match="environment variable DATA_URL is not set"):
        project.curate(source)


def fill(connection, rows, mark):
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, text TEXT, label TEXT)")
    for n, row in enumerate(rows):
        cursor.execute(f"INSERT INTO rows VALUES ({mark}, {mark}, {mark})", (n, row["text"], row["label"]))
    connection.commit()
    connection.close()


@pytest.mark.skipif(not shutil.which("initdb") or not shutil.which("pg_ctl"), reason="no PostgreSQL server here")
def test_sql_snapshot_from_a_real_postgresql_server(project, rows, monkeypatch, tmp_path_factory):
    psycopg2 = pytest.importorskip("psycopg2")
    folder = Path(tmp_path_factory.mktemp("pg"))
    owner = "nobody" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
    ours = [path for path in folder.parents if any(part.startswith("pytest-") for part in path.parts)]
    for path in (folder, *ours):
        path.chmod(0o755)
    shutil.chown(folder, owner)

    def as_owner(*command: str) -> None:
        subprocess.run(
            command, check=True, user=owner, capture_output=True, cwd=folder, env={"PATH": os.environ["PATH"]}
        )

    as_owner("initdb", "-D", f"{folder}/data", "-U", "chain", "-A", "trust")
    options = f"-k {folder} -c listen_addresses='' -c fsync=off"
    as_owner("pg_ctl", "-D", f"{folder}/data", "-l", f"{folder}/log", "-o", options, "-w", "start")
    try:
        fill(psycopg2.connect(host=str(folder), user="chain", dbname="postgres"), rows(30), "%s")
        monkeypatch.setenv("DATA_URL", f"postgresql+psycopg2://chain@/postgres?host={folder}")
        query = "SELECT text, label FROM rows ORDER BY id"
        made = project.curate({"kind": "sql", "url_env": "DATA_URL", "query": query})
        assert texts(made) == [(r["text"], r["label"]) for r in rows(30)]
        monkeypatch.setenv("DATA_URL", f"postgresql+psycopg2://chain:s3cret@/absent?host={folder}")
        with pytest.raises(Unavailable) as error:
            project.curate({"kind": "sql", "url_env": "DATA_URL", "query": query})
        assert "s3cret" not in str(error.value) and "absent" in str(error.value)
    finally:
        as_owner("pg_ctl", "-D", f"{folder}/data", "-m", "immediate", "stop")


def test_a_hub_data_set_saved_to_disk(project, rows):
    datasets = pytest.importorskip("datasets")
    saved = datasets.DatasetDict({"train": datasets.Dataset.from_list(rows(30))})
    saved.save_to_disk(project.root / "saved")
    source = {"kind": "hub", "path": "saved"}
    assert texts(project.curate(source)) == [(r["text"], r["label"]) for r in rows(30)]
    with pytest.raises(InvalidInput, match="no 'dev'; there is train"):
        project.curate({**source, "split": "dev"})
    with pytest.raises(InvalidInput, match="name the commit of some/set"):
        project.curate({"kind": "hub", "dataset": "some/set"})


def test_encodings_stated_and_detected(project, rows):
    data = [{**r, "text": f"{r['text']} – größer, ça va"} for r in rows(40)]
    table = "text,label\n" + "".join(f'"{r["text"]}",{r["label"]}\n' for r in data)
    for encoding in ("cp1252", "utf-16", "utf-8"):
        (project.root / "d.csv").write_bytes(table.encode(encoding))
        for stated in ("auto", encoding):
            made = project.curate("d.csv", format={"kind": "csv", "encoding": stated})
            assert texts(made)[0] == (data[0]["text"], "a"), (encoding, stated)
    (project.root / "d.csv").write_bytes(table.encode("utf-8") + "größe zwei drei,a\n".encode("cp1252"))
    made = project.curate("d.csv")
    assert [(r.reason, r.line) for r in rejected(made)] == [("encoding", 42)]


def test_the_identity_follows_the_bytes(project, rows):
    name = project.write("d.jsonl", rows(5))
    spec = project.spec(name)
    found = locate(spec.source, project.root, project.root)
    assert found.version == file_sha256(project.root / name)
    project.write("d.jsonl", rows(6))
    assert locate(spec.source, project.root, project.root).version != found.version


def test_markup_gives_text_and_fields(project):
    items = "".join(f"<A><No>{n}</No> <St>Long</St> <St>Way,</St> <Town>T{n}</Town></A>\n" for n in range(20))
    (project.root / "d.xml").write_text(f"<All>\n{items}</All>")
    form = {"kind": "markup", "item": "A", "strip": ","}
    made = project.curate("d.xml", format=form, task="extraction", label={"column": "fields"})
    assert (kept(made)[3].text, kept(made)[3].line) == ("3 Long Way, T3", 5)
    assert kept(made)[3].label == '{"No":"3","St":"Long Way","Town":"T3"}'
    (project.root / "d.xml").write_text(f"<All>\n{items}<A><No>1</No")
    broken = project.curate("d.xml", format=form, task="extraction", label={"column": "fields"})
    assert [(r.reason, r.line) for r in rejected(broken)] == [("malformed", 22)]

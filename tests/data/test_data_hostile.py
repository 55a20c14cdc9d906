"""Two hundred hostile inputs: each ends in rejects or a clear error; none crashes, hangs or is shown unescaped."""

import gzip
import hashlib
import io
import json
import random
import signal
import tarfile
import zipfile

import pytest
from data_project import rejected, sentence
from pydantic import ValidationError

from supply_chain.data.report import data_card, render
from supply_chain.errors import InvalidInput, SupplyChainError

GOOD = [{"text": sentence(n), "label": "ab"[n % 2]} for n in range(30)]
TEXTS = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "'\"><svg/onload=alert(1)>", "{{7*7}}", "{% raw %}",
    "</style><script>alert(1)</script>", "javascript:alert(1)", "&lt;b&gt;", "\u202eevil\u202c", "\x00\x01\x02",
    "a\x00b", "\x1b[31mred", "\ufeffbom", "\ufffd" * 10, "🧨" * 500, "a" * 10_000_000, " " * 100_000, "\n" * 1000,
    "z̸̢" * 300, "=cmd|' /C calc'!A0", "'; DROP TABLE rows; --", "../../etc/passwd", "%00", "\r\n\r\n", "🏳️‍🌈",
]  # fmt: skip
VALUES = [
    None, True, 0, -1, 1e308, float("inf"), float("nan"), [], {}, [[]], [None], {"a": {"b": {}}}, [1, 2], "", "  ", 10**400,
    [[[[[[1]]]]]], {"text": "x"}, "\ud800", ["\udfff"], "\x00",
]  # fmt: skip
LINES = [
    b"", b"\n\n\n", b"{", b"}", b"[]", b"null", b"1", b'"x"', b"{]", b'{"text": }', b"\x00\x00", b"\xff\xfe\x00", b"\xc3\x28",
    b'{"text": "\xff\xfe", "label": "a"}', b"[" * 100_000, b'{"a":' * 50_000, b'{"text": ' + b"9" * 5000 + b"}",
    b'{"text": "x", "text": "y"}', b'{"text": NaN}', b'{"label": "a"}', b"\xef\xbb\xbf{}", b"\x1f\x8b\x08junk",
    b"PK\x03\x04junk", b"PAR1junkPAR1", b"%PDF-1.7", b"\x7fELF", b"text,label", b"<xml/>", b"\x80\x04\x95", b"---\n- yaml",
    b'{"text": "' + b"x" * 40_000_000 + b'", "label": "a"}', b"\r\r\r", b"{'single': 1}", b"#!/bin/sh", b"\xed\xa0\x80",
]  # fmt: skip
TABLES = [
    b"", b"\n", b"text", b"label\na", b"text,label,text\nx,a,y", b"text,label\nx", b"text,label\nx,a,b,c", b'text,label\n"x,a\n',
    b'text,label\n"x"y,a\n', b"text,label\n\x00,a", b"text,label\n\xff\xfe,a", b"\xff\xfet\x00e\x00", b"\xef\xbb\xbftext,label\nx,a",
    b"text;label\nx;a", b"text,label\r\rx,a", b'text,label\n"' + b"x" * 10_000_000 + b'",a', b"text,label\n" + b"," * 100_000,
    b"\x00\x00\x00", b"text,label\n=1+1,a", b'text,label\n"a""b",a\n' * 3, b"text,label\n" + b'"' * 9999, b"PK\x03\x04", b"text,label\n\n\n,\n",
]  # fmt: skip
MARKUP = [
    b"", b"<", b"<a>", b"<a><b></a>", b"<a/><a/>", b"\xff\xfe<", b"<a>\x00</a>", b"<a>" * 100_000, b"<?xml version='9'?><a/>",
    b"<!DOCTYPE x [<!ENTITY a 'aa'><!ENTITY b '&a;&a;'>]><x><a>&b;</a></x>",
    b"<!DOCTYPE x [<!ENTITY f SYSTEM 'file:///etc/passwd'>]><x><a>&f;</a></x>",
    b"<x><a>no end", b"<x><a>&undefined;</a></x>", b"<x><a " + b"b='1' " * 3000 + b"/></x>",
]  # fmt: skip
PATHS = [
    "../x.jsonl",
    "/etc/passwd",
    "a/../../x",
    "link.jsonl",
    "link/x.jsonl",
    "no.jsonl",
    "",
    ".",
    "~/x",
    "\x00",
    "d" * 5000,
]
URLS = [
    "file://{}", "{}", "local://{}", "simplecache::file://{}", "filecache://{}", "dir://{}", "git://{}", "reference://{}",
    "zip://x.jsonl::file://{}", "tar://x.jsonl::{}", "blockcache::{}", "file://./../outside/x.jsonl", "file://\x00",
]  # fmt: skip
FED: set[tuple[str, str]] = set()
"""Which test fed which input, by its digest and how it was read."""
MEMBERS = ["../../x", "/etc/passwd", "absent", "", "d.jsonl!x", "!!", "d.jsonl/", "\x00"]


@pytest.fixture(autouse=True)
def patience():
    """A hang is a failure, not a wait."""
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("took more than 60 s"))
    signal.alarm(60)
    yield
    signal.alarm(0)


def outcome(project, source, **parts):
    """Rejects and page of what is curated, or the error's message; anything else fails the test."""
    path = project.root / source if isinstance(source, str) else None
    data = path.read_bytes() if path and len(source) < 200 and "\x00" not in source and path.is_file() else b""
    FED.add((hashlib.sha256(data).hexdigest(), f"{source} {parts}"[:300]))
    try:
        made = project.curate(source, **parts)
    except (SupplyChainError, ValidationError) as error:
        assert len(str(error)) > 10
        return [], ""
    assert made.record.rows_read == made.record.rows_kept + len(rejected(made))
    page = render(data_card(made))
    for mark in ("<script", "<img", "<svg", "onerror=alert(1)>", "{{"):
        assert mark not in page.lower()
    return rejected(made), page


def good_lines():
    return "".join(json.dumps(r) + "\n" for r in GOOD).encode()


@pytest.mark.parametrize("where", ["text", "label", "both"])
def test_hostile_texts(project, where):
    rows = GOOD + [{"text": f"{sentence(50 + n)}", "label": "a"} for n in range(len(TEXTS))]
    for row, text in zip(rows[len(GOOD) :], TEXTS, strict=True):
        row.update(
            {"text": text}
            if where == "text"
            else {"label": text}
            if where == "label"
            else dict.fromkeys(("text", "label"), text)
        )
    rejects, page = outcome(
        project, project.write("d.jsonl", rows), rules={"max_chars": 4000}, label={"names": ["a", "b"]}
    )
    if where == "text":
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert {"too_long", "too_short", "nul_byte"} <= {r.reason for r in rejects}
    else:
        assert sum(r.reason in {"unknown_label", "nul_byte", "too_long", "too_short"} for r in rejects) == len(TEXTS)


@pytest.mark.parametrize("column", ["text", "label", "who"])
@pytest.mark.parametrize("task", ["classification", "multilabel", "extraction", "generation"])
def test_wrong_types(project, column, task):
    target = {"multilabel": ["a", "b"], "extraction": {"a": "b"}}.get(task, "a")
    rows = [{**r, "label": r["label"] if task == "classification" else target, "who": n} for n, r in enumerate(GOOD)]
    rows += [{"text": sentence(60 + n), "label": target, "who": n, column: value} for n, value in enumerate(VALUES)]
    label = {"names": ["a", "b"]} if task in {"classification", "multilabel"} else {}
    rejects, _ = outcome(project, project.write("d.jsonl", rows), task=task, group={"column": "who"}, label=label)
    assert rejects or column == "who"


@pytest.mark.parametrize("line", LINES, ids=range(len(LINES)))
def test_hostile_lines(project, line):
    (project.root / "d.jsonl").write_bytes(
        good_lines() + line + b"\n" + json.dumps({"text": "the end of it", "label": "a"}).encode()
    )
    rejects, _ = outcome(project, "d.jsonl", format={"kind": "jsonl"})
    assert rejects or not line.strip(b"\r\n")
    (project.root / "alone").write_bytes(line)
    for kind in ("jsonl", "csv", "parquet"):
        outcome(project, "alone", format={"kind": kind})
    outcome(project, "alone", format={"kind": "jsonl", "encoding": "auto"})


@pytest.mark.parametrize("table", TABLES, ids=range(len(TABLES)))
def test_hostile_tables(project, table):
    (project.root / "d.csv").write_bytes(table)
    for form in ({}, {"encoding": "auto"}, {"quoting": False}, {"encoding": "utf-16"}, {"columns": ["text", "label"]}):
        outcome(project, "d.csv", format={"kind": "csv", **form})
    (project.root / "e.csv").write_bytes(
        b"text,label\n" + b"".join(f"{r['text']},{r['label']}\n".encode() for r in GOOD) + table
    )
    outcome(project, "e.csv")


@pytest.mark.parametrize("document", MARKUP, ids=range(len(MARKUP)))
def test_hostile_markup(project, document):
    items = "".join(f"<a>{sentence(n)}<t>1</t></a>" for n in range(20)).encode()
    form = {"kind": "markup", "item": "a"}
    for data in (document, b"<x>" + items + document + b"</x>"):
        (project.root / "d.xml").write_bytes(data)
        _, page = outcome(project, "d.xml", format=form, task="extraction", label={"column": "fields"})
        assert "root:" not in page


@pytest.mark.parametrize("path", PATHS, ids=range(len(PATHS)))
def test_paths_that_lead_out(project, path, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    (outside / "x.jsonl").write_bytes(good_lines())
    (project.root / "link.jsonl").symlink_to(outside / "x.jsonl")
    (project.root / "link").symlink_to(outside)
    for source in ({"path": path}, {"path": ".", "pattern": path or "../*"}, {"path": ".", "pattern": "link/*.jsonl"}):
        with pytest.raises((SupplyChainError, ValidationError, ValueError)):
            project.curate({"kind": "path", **source})


@pytest.mark.parametrize("url", URLS, ids=range(len(URLS)))
def test_urls_that_lead_out(project, url, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "x.jsonl"
    outside.write_bytes(good_lines())
    (project.root / "link.jsonl").symlink_to(outside)
    for path in (outside, project.root / "link.jsonl"):
        with pytest.raises(InvalidInput):
            project.curate({"kind": "url", "url": url.format(path)})


@pytest.mark.parametrize("member", MEMBERS, ids=range(len(MEMBERS)))
def test_hostile_members(project, member):
    with zipfile.ZipFile(project.root / "a.zip", "w") as archive:
        archive.writestr("d.jsonl", good_lines())
        archive.writestr("../../escape.jsonl", good_lines())
    with pytest.raises(SupplyChainError):
        project.curate({"kind": "path", "path": "a.zip", "member": member}, format={"kind": "jsonl"})
    outcome(project, {"kind": "path", "path": "a.zip"})
    assert not (project.root.parent.parent / "escape.jsonl").exists()


@pytest.mark.parametrize("kind", ["zip", "gz", "tar.gz", "nested"])
def test_archive_bombs_are_refused(project, kind):
    blown = b"\0" * (1 << 27)
    packed = io.BytesIO()
    if kind == "gz":
        packed.write(gzip.compress(blown, 9))
    elif kind == "tar.gz":
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            info = tarfile.TarInfo("d.jsonl")
            info.size = len(blown)
            archive.addfile(info, io.BytesIO(blown))
    else:
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("d.jsonl" if kind == "zip" else "inner.zip", blown)
    name = "d.jsonl.gz" if kind == "gz" else f"d.{kind}"
    (project.root / name).write_bytes(packed.getvalue())
    member = {"nested": "inner.zip!d.jsonl"}.get(kind)
    with pytest.raises(SupplyChainError, match=r"archive bomb|holds no file"):
        project.curate({"kind": "path", "path": name, "member": member})


@pytest.mark.parametrize("seed", range(40))
def test_damaged_files_of_every_kind(project, seed):
    rng = random.Random(seed)
    kind = ("jsonl", "csv", "gz", "zip", "tar.gz", "parquet", "xml", "bz2")[seed % 8]
    data = bytearray(whole(kind))
    for _ in range(rng.randrange(1, 6)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    if seed % 3 == 0:
        del data[rng.randrange(len(data)) :]
    name = {"gz": "d.jsonl.gz", "bz2": "d.jsonl.bz2"}.get(kind, f"d.{kind}")
    (project.root / name).write_bytes(bytes(data))
    form = (
        {"format": {"kind": "markup", "item": "a"}, "task": "extraction", "label": {"column": "fields"}}
        if kind == "xml"
        else {}
    )
    outcome(project, name, **form)


def whole(kind):
    import bz2

    import pyarrow as pa
    import pyarrow.parquet as pq

    out = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("d.jsonl", good_lines())
    elif kind == "tar.gz":
        with tarfile.open(fileobj=out, mode="w:gz") as archive:
            info = tarfile.TarInfo("d.jsonl")
            info.size = len(good_lines())
            archive.addfile(info, io.BytesIO(good_lines()))
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist(GOOD), out)
    elif kind == "xml":
        out.write(b"<x>" + b"".join(f"<a>{sentence(n)}<t>1</t></a>".encode() for n in range(20)) + b"</x>")
    elif kind == "csv":
        out.write(b"text,label\n" + b"".join(f"{r['text']},{r['label']}\n".encode() for r in GOOD))
    else:
        out.write({"gz": gzip.compress, "bz2": bz2.compress}.get(kind, bytes)(good_lines()))
    return out.getvalue()


def test_there_were_two_hundred(request):
    if request.config.getoption("keyword") or any("::" in given for given in request.config.args):
        pytest.skip("counts what the whole file fed")
    assert len(FED) >= 200

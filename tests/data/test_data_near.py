"""The index finds what comparing every pair finds, and its clusters are those of its links."""

import random

import numpy as np
import polars as pl
from rapidfuzz.distance import Indel

from supply_chain.data.near import Links, near_links
from supply_chain.data.near_keys import folded, write_keys
from supply_chain.data.near_sketch import Sketches
from supply_chain.recipe.rules import NearDuplicates

RULE = NearDuplicates()


def pairs(texts, rule=RULE, **more):
    links = near_links(pl.Series(texts), rule, **more)
    return list(zip(links.left.tolist(), links.right.tolist(), strict=True))


def test_each_edit_is_found_and_others_are_not():
    base = "how do I change my delivery address"
    same = [base.upper(), "how do I change my delivery-address?!", "my delivery address how do I change"]
    one_word = [
        "how do I change my home address",
        "how do I change my address",
        "how do I really change my delivery address",
    ]
    other = ["how do I cancel my account now", "delivery", "", "!!!"]
    found = pairs([base, *same, *one_word, *other])
    assert {(0, n) for n in range(1, 7)} <= set(found)
    assert all(right < 7 for _, right in found)


def test_short_texts_need_the_same_words():
    assert pairs(["lost card", "stolen card", "Card, lost!"]) == [(0, 2)]


def test_long_texts_may_differ_by_several_words():
    words = [f"word{n}" for n in range(60)]
    changed = words[:20] + ["other", "new"] + words[22:40] + ["more"] + words[41:]
    far = words[:30] + [f"else{n}" for n in range(30)]
    assert pairs([" ".join(words), " ".join(changed), " ".join(far)]) == [(0, 1)]


def test_a_template_with_many_fillings_is_no_family_of_copies():
    texts = [f"my name is number{n} and I need help" for n in range(12)]
    assert pairs(texts) == []
    assert len(pairs(texts[:10])) == 45
    assert pairs([*texts, texts[0].upper()]) == [(0, 12)]


def test_held_out_texts_are_only_compared_with_the_others():
    held_out = ["where is my parcel today please", "where is my parcel now please"]
    assert pairs([*held_out, "where is my parcel please", "good morning to all of you"], held_out=2) == [(0, 2), (1, 2)]


def test_other_scripts():
    assert pairs(["我想更改我的收货地址谢谢", "我想更改我的收货地址!", "今天天气很好"]) == [(0, 1)]
    assert pairs(["где находится моя новая карта", "Где моя новая карта находится?"]) == [(0, 1)]


def test_partitions_do_not_change_the_result(monkeypatch):
    rng = random.Random(3)
    base = [
        " ".join(rng.choices("abcdefghij klmnop qrst uvw xyz omega alpha beta gamma delta".split(), k=9))
        for _ in range(300)
    ]
    texts = base + [t + " more" for t in base[:50]]
    whole = pairs(texts)
    for name in ("near_keys.PARTITION", "near_pairs.PARTITION"):
        monkeypatch.setattr(f"supply_chain.data.{name}", 500)
    for name in ("near_keys._CHUNK", "near_scores._CHUNK"):
        monkeypatch.setattr(f"supply_chain.data.{name}", 40)
    assert pairs(texts) == whole and {(n, 300 + n) for n in range(50)} <= set(whole)


def test_clusters_are_numbered_by_first_row():
    links = Links(np.array([4, 0, 1]), np.array([5, 3, 3]), np.ones(3, np.float32))
    assert links.clusters(7).tolist() == [1, 1, 0, 1, 2, 2, 0]


def test_sketches_never_rule_out_what_is_alike(tmp_path):
    rng = random.Random(11)
    parts = ["Aa", "b'b", "İx", "straße", "9", "naïve", "我想", "где", "ไทย", "co-op", "zz" * 150, "e\u0301a", "q", "x"]
    spaced = [p for p in parts if p not in {"我想", "ไทย"}]
    texts = [" ".join(rng.choices(spaced if n < 150 else parts, k=rng.randint(1, 9))) for n in range(200)]
    sketches = Sketches(len(texts))
    write_keys(pl.Series(texts), tmp_path, sketches)
    words = [sorted(t.split()) for t in folded(pl.Series(texts)).to_list()]
    one, other = (np.array([rng.randrange(200) for _ in range(4000)]) for _ in range(2))
    letters, shared = sketches.letters(one, other), sketches.words(one, other)
    for n, (a, b) in enumerate(zip(one, other, strict=True)):
        assert letters[n] > Indel.normalized_similarity(" ".join(words[a]), " ".join(words[b])) - 1e-5
        assert shared[n] > Indel.normalized_similarity(words[a], words[b]) - 1e-5
    assert np.mean(shared < 0.9) > 0.5 and np.mean(letters < 0.9) > 0.5


def test_short_chunks_of_text_give_the_same_keys(tmp_path, monkeypatch):
    texts = pl.Series(["", "one two three four five six seven", "!!!", "eight", "nine ten eleven twelve 13"])
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    write_keys(texts, tmp_path / "a", Sketches(5))
    monkeypatch.setattr("supply_chain.data.near_keys._CHUNK", 1)
    write_keys(texts, tmp_path / "b", Sketches(5))
    a, b = (np.fromfile(tmp_path / f / "0.bin", np.uint64).reshape(-1, 2) for f in "ab")
    assert len(a) and {tuple(k) for k in a.tolist()} == {tuple(k) for k in b.tolist()}

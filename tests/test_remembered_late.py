"""A model that is remembered, loaded when it is first asked to embed something."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from models import phantom
from robustness.embedding import embed_images, embed_reports
from robustness.errors import StoreError
from robustness.evalset import load as load_evalset
from robustness.remembered import Facts, RememberedEncoder


@pytest.fixture(scope="module")
def encoder():
    return phantom.load()


def remembered(encoder, tmp_path, loads, **changes):
    facts = replace(Facts.of(encoder), **changes)
    path = tmp_path / "note.json"
    path.write_text(json.dumps("note"))
    return RememberedEncoder(facts, "cpu", lambda: loads.append(1) or encoder, path)


def test_it_is_loaded_once_and_only_to_embed(encoder, tmp_path):
    loads = []
    late = remembered(encoder, tmp_path, loads)
    assert late.fingerprint == encoder.fingerprint
    assert late.text_policy == encoder.text_policy
    assert late.name == "PhantomEncoder"
    assert late.scores_by_cosine
    assert loads == []
    evalset = load_evalset("phantom:3")
    images = [evalset.decode(pair) for pair in evalset.pairs]
    texts = [late.text_policy.text(pair.report) for pair in evalset.pairs]
    assert (embed_images(late, images) == embed_images(encoder, images)).all()
    assert (embed_reports(late, texts) == embed_reports(encoder, texts)).all()
    rows = torch.eye(2)
    assert late.score(rows, rows).tolist() == rows.tolist()
    assert late.on_device == encoder.on_device
    assert loads == [1]


def test_a_model_that_is_another_one_is_told_and_forgotten(encoder, tmp_path):
    late = remembered(encoder, tmp_path, [], fingerprint="of yesterday")
    with pytest.raises(StoreError, match="is not the model it was") as failure:
        late.encode_reports(["no effusion"])
    assert failure.value.code == "store_stale"
    assert not (tmp_path / "note.json").exists()

"""The search: models made to break one property each, and whether it is found and shrunk."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest
from support.gate_repository import THRESHOLDS

from robustness import plan
from robustness.errors import EvaluationSetError
from robustness.perturbation.occlusion import Occlusion
from robustness.plan import PROPERTIES

IMAGES = 24


def cheat(sees):
    """An encoder that answers by an image's place in the batch, where ``sees`` says so.

    No honest model can know the place; so it can be made to break what it likes.
    """
    import torch
    import torch.nn.functional as F

    from robustness.encoder import DualEncoder, TextPolicy

    directions = torch.randn(IMAGES, 64, generator=torch.Generator().manual_seed(0))

    class Cheat(DualEncoder):
        fingerprint = f"cheat {sees.__name__}"
        text_policy = TextPolicy(("findings", "impression"), 999, "none")
        embedding_dim = 64
        device = "cpu"
        details = {}  # noqa: RUF012
        known = {}  # noqa: RUF012

        def preprocess(self, images):
            return torch.stack([torch.tensor(image).float() for image in images])

        def encode_images(self, pixels):
            noise = torch.randn(len(pixels), 64, generator=torch.Generator().manual_seed(1))
            true = directions[torch.arange(len(pixels)) % IMAGES]
            knows = torch.tensor([sees(image) for image in pixels])[:, None]
            return F.normalize(torch.where(knows, true, noise), dim=1)

        def encode_reports(self, texts):
            places = [self.known.setdefault(text, len(self.known)) for text in texts]
            return F.normalize(directions[places], dim=1)

    return Cheat()


def always(_image):
    return True


def dark(image):
    """More than a third is black: hiding helps."""
    return float((image == 0).float().mean()) > 1 / 3


def light(image):
    return not dark(image)


@pytest.fixture
def gate(tmp_path):
    """A stand-in for the gate: one subject, real search."""
    from robustness.embedding import Store, decode_once
    from robustness.evalset import load, normalise
    from robustness.run.subject import Subject

    (tmp_path / "thresholds.yaml").write_text(THRESHOLDS)
    made = plan.make(
        thresholds=tmp_path / "thresholds.yaml",
        models=[],
        weights=[],
        options=[],
        evalset=None,
        device="cpu",
        batch_size=64,
        store=tmp_path,
        report=tmp_path,
        replay=None,
        arguments=[],
        baselines=tmp_path,
    )
    properties = replace(
        made.thresholds.properties, subset=IMAGES, examples=30, noise=0.2, max_level=0.6
    )
    made = replace(made, thresholds=replace(made.thresholds, properties=properties))
    store = Store(tmp_path / "store")
    evalset = load("phantom:64")
    texts = [normalise(p.report.text(("findings", "impression"))) for p in evalset.pairs]
    alone = [i for i, text in enumerate(texts) if texts.count(text) == 1][:IMAGES]
    evalset = decode_once(evalset.subset(alone), store)

    def with_model(sees):
        subject = Subject(
            cheat(sees), evalset, positives="pair", store=store, seed=0, batch_size=64
        )
        return SimpleNamespace(plan=made, subject=lambda _model: subject, stream=None)

    return with_model


def found(gate, name):
    from robustness.run.search import search

    return search(gate, "phantom", name)


def test_a_model_that_sees_all_the_same_breaks_chance(gate):
    record = found(gate(always), "chance")
    assert (record["verdict"], record["reason"]) == ("fail", "property_broken")
    assert "every pixel hidden, hit@10 on 24 images is 1.000" in record["message"]
    assert record["occlusion"] == "square:1.0:black:0"


def test_a_model_that_hiding_helps_breaks_nesting(gate):
    record = found(gate(dark), "nested")
    assert (record["verdict"], record["reason"]) == ("fail", "property_broken")
    occlusion = Occlusion.parse(record["occlusion"])
    assert occlusion.fill == "black", "grey hides and is not dark"
    assert re.search(r"is \S+ at level \S+ and only \S+ at level \S+, which", record["message"])
    assert str(occlusion) in {f"{p}:{occlusion.level}:black:0" for p in ("square", "grid")}


def test_a_model_that_fails_in_the_dark_breaks_the_bound(gate):
    """The level is shrunk to the lowest that breaks it."""
    record = found(gate(light), "bound")
    assert (record["verdict"], record["reason"]) == ("fail", "property_broken")
    occlusion = Occlusion.parse(record["occlusion"])
    assert (occlusion.fill, occlusion.seed) == ("black", 0)
    easier = replace(occlusion, level=round(occlusion.level - 0.01, 2))
    from robustness.run.search import search

    gate_again = gate(light)
    gate_again.plan = replace(gate_again.plan, replay=easier)
    assert search(gate_again, "phantom", "bound")["verdict"] == "pass"


def test_an_honest_model_holds_all(gate):
    record = found(gate(always), "nested")
    assert record["verdict"] == "pass"
    assert record["examples"] == 30
    assert record["room"] >= 0


@pytest.mark.parametrize("name", ["bound", "nested"])
def test_what_is_tried_hides_something_from_the_first_on(gate, name):
    """Hypothesis begins with the simplest, which a single example would be all of."""
    made = gate(always)
    subject, tried = made.subject("phantom"), []
    rank = subject.rank_subset
    subject.rank_subset = lambda occlusion, subset: (
        tried.append(occlusion) or rank(occlusion, subset)
    )
    found(made, name)
    assert len(tried) >= 30
    assert all(occlusion.level > 0 for occlusion in tried)


@pytest.mark.parametrize("sees", [always, dark])
def test_a_bar_counts_what_is_tried_until_it_breaks(gate, monkeypatch, sees):
    """Shrinking has no end that is known."""
    from robustness.run import search

    told, held = [], []
    real = search._SEARCHES["nested"]

    @contextmanager
    def progress(*asked):
        told.append(asked)
        yield told.append

    def check(*arguments):
        held.append(False)
        room = real.check(*arguments)
        held[-1] = True
        return room

    monkeypatch.setattr(search, "progress", progress)
    monkeypatch.setitem(search._SEARCHES, "nested", replace(real, check=check))
    found(gate(sees), "nested")
    assert told[0] == (30, "searching phantom nested", "occlusions", None)
    first = held.index(False) if sees is dark else len(held)
    assert sum(told[1:]) == first
    assert any(held[first:]) == (sees is dark), "what is tried while it shrinks holds, too"


def test_a_replay_tries_one_occlusion(gate):
    made = gate(always)
    made.plan = replace(made.plan, replay=Occlusion("grid", 0.5, "grey", 9))
    record = found(made, "chance")
    assert record["examples"] == 1
    assert record["occlusion"] == "grid:0.5:grey:9"


@pytest.mark.parametrize("at", [1, 7])
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (EvaluationSetError("image 7 is broken"), "evalset_failed"),
        (RuntimeError("no memory"), ""),
        (SystemExit("no memory"), ""),
    ],
)
def test_an_error_that_does_not_come_again_is_no_pass(gate, error, reason, at):
    """As of images that are not decoded a second time, or of a GPU that was full for a moment."""
    made = gate(always)
    subject = made.subject("phantom")
    rank, calls = subject.rank_subset, []

    def rank_subset(*arguments):
        calls.append(arguments)
        if len(calls) == at:
            raise error
        return rank(*arguments)

    subject.rank_subset = rank_subset
    if reason:
        record = found(made, "nested")
        assert (record["verdict"], record["reason"]) == ("fail", reason)
        assert record["message"] == "image 7 is broken"
    else:
        with pytest.raises(type(error), match="no memory"):
            found(made, "nested")
    assert len(calls) > at, "the search went on after it"


def test_the_same_search_twice_is_the_same(gate):
    assert found(gate(dark), "nested") == found(gate(dark), "nested")


def test_every_property_has_a_search():
    from robustness.run.search import _SEARCHES

    assert set(_SEARCHES) == set(PROPERTIES)

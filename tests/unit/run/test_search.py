"""Search: each model breaks one property; the violation is found and shrunk."""

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
    """Return an encoder that embeds by position in the batch the images that ``sees`` selects.

    A real model cannot know the position, so this one can be made to break any property.
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
        positions = {}  # noqa: RUF012

        def preprocess(self, images):
            return torch.stack([torch.tensor(image).float() for image in images])

        def encode_images(self, pixels):
            noise = torch.randn(len(pixels), 64, generator=torch.Generator().manual_seed(1))
            correct = directions[torch.arange(len(pixels)) % IMAGES]
            seen = torch.tensor([sees(image) for image in pixels])[:, None]
            return F.normalize(torch.where(seen, correct, noise), dim=1)

        def encode_reports(self, texts):
            positions = [self.positions.setdefault(text, len(self.positions)) for text in texts]
            return F.normalize(directions[positions], dim=1)

    return Cheat()


def always(_image):
    return True


def dark(image):
    """Return True if more than a third is black, so that occlusion helps."""
    return float((image == 0).float().mean()) > 1 / 3


def light(image):
    return not dark(image)


@pytest.fixture
def gate(tmp_path):
    """Return a stand-in for the gate with one subject; the search is real."""
    from robustness.embedding import Store, decode_once
    from robustness.embedding.dataset import EmbeddingSettings
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
        settings = EmbeddingSettings(store)
        subject = Subject(cheat(sees), evalset, settings, positives="pair", seed=0)
        return SimpleNamespace(plan=made, subject=lambda _model: subject, stream=None)

    return with_model


def run_search(gate, name):
    from robustness.run.search import search

    return search(gate, "phantom", name)


def test_a_model_that_sees_hidden_images_breaks_chance(gate):
    record = run_search(gate(always), "chance")
    assert (record.verdict, record.reason) == ("fail", "property_broken")
    assert "every pixel hidden, hit@10 on 24 images is 1.000" in record.message
    assert record.occlusion == "square:1.0:black:0"


def test_a_model_that_occlusion_helps_breaks_nested(gate):
    record = run_search(gate(dark), "nested")
    assert (record.verdict, record.reason) == ("fail", "property_broken")
    occlusion = Occlusion.parse(record.occlusion)
    assert occlusion.fill == "black", "grey hides and is not dark"
    assert re.search(r"is \S+ at level \S+ and only \S+ at level \S+, which", record.message)
    assert str(occlusion) in {f"{p}:{occlusion.level}:black:0" for p in ("square", "grid")}


def test_a_model_that_fails_on_dark_images_breaks_the_bound(gate):
    """The level is shrunk to the lowest that breaks the bound."""
    record = run_search(gate(light), "bound")
    assert (record.verdict, record.reason) == ("fail", "property_broken")
    occlusion = Occlusion.parse(record.occlusion)
    assert (occlusion.fill, occlusion.seed) == ("black", 0)
    easier = replace(occlusion, level=round(occlusion.level - 0.01, 2))
    from robustness.run.search import search

    gate_again = gate(light)
    gate_again.plan = replace(gate_again.plan, replay=easier)
    assert search(gate_again, "phantom", "bound").verdict == "pass"


def test_a_model_without_violations_passes(gate):
    record = run_search(gate(always), "nested")
    assert record.verdict == "pass"
    assert record.examples == 30
    assert record.room >= 0


@pytest.mark.parametrize("name", ["bound", "nested"])
def test_every_example_hides_something(gate, name):
    """Hypothesis starts with the simplest example, which must not be level 0."""
    made = gate(always)
    subject, tried = made.subject("phantom"), []
    rank = subject.rank_subset
    subject.rank_subset = lambda occlusion, subset: (
        tried.append(occlusion) or rank(occlusion, subset)
    )
    run_search(made, name)
    assert len(tried) >= 30
    assert all(occlusion.level > 0 for occlusion in tried)


@pytest.mark.parametrize("sees", [always, dark])
def test_the_progress_bar_counts_examples_until_a_violation(gate, monkeypatch, sees):
    """Shrinking has no known length."""
    from robustness.run import search

    reported, passed = [], []
    real = search._SEARCHES["nested"]

    @contextmanager
    def progress(*arguments):
        reported.append(arguments)
        yield reported.append

    def check(*arguments):
        passed.append(False)
        room = real.check(*arguments)
        passed[-1] = True
        return room

    monkeypatch.setattr(search, "progress", progress)
    monkeypatch.setitem(search._SEARCHES, "nested", replace(real, check=check))
    run_search(gate(sees), "nested")
    assert reported[0] == (30, "searching phantom nested", "occlusions", None)
    first = passed.index(False) if sees is dark else len(passed)
    assert sum(reported[1:]) == first
    assert any(passed[first:]) == (sees is dark), "some occlusions pass while it shrinks"


def test_a_replay_tries_one_occlusion(gate):
    made = gate(always)
    made.plan = replace(made.plan, replay=Occlusion("grid", 0.5, "grey", 9))
    record = run_search(made, "chance")
    assert record.examples == 1
    assert record.occlusion == "grid:0.5:grey:9"


@pytest.mark.parametrize("at", [1, 7])
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (EvaluationSetError("image 7 is broken"), "evalset_failed"),
        (RuntimeError("no memory"), ""),
        (SystemExit("no memory"), ""),
    ],
)
def test_an_error_that_does_not_repeat_is_no_pass(gate, error, reason, at):
    """Such as a decoding error, which is not retried, or a GPU that was briefly out of memory."""
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
        record = run_search(made, "nested")
        assert (record.verdict, record.reason) == ("fail", reason)
        assert record.message == "image 7 is broken"
    else:
        with pytest.raises(type(error), match="no memory"):
            run_search(made, "nested")
    assert len(calls) > at, "the search continues"


def test_the_same_search_twice_is_the_same(gate):
    assert run_search(gate(dark), "nested") == run_search(gate(dark), "nested")


def test_every_property_has_a_search():
    from robustness.run.search import _SEARCHES

    assert set(_SEARCHES) == set(PROPERTIES)

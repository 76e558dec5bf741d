"""Metrics by label agreement in a measurement and in a whole run of the gate."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as PilImage
from support.gate_repository import assert_no_traceback, said
from support.label_reference import gains_of, ndcg_like_scikit_learn

from robustness import evalset, metrics

LABEL_BOUNDS = "precision@5 >= 0.05, ndcg@10 >= 0.1, retention(ndcg@10) >= 0.1"

# --- one measurement -----------------------------------------------------------------------


def signs(bytes_):
    """Return rows of 16 bytes as unit vectors of +-1/4 by parity, whose products are exact."""
    return (bytes_ % 2 - 0.5) / 2


def scorer(*, by_cosine):
    """Return an untrained encoder with exact scores: by cosine or by distance."""
    import torch

    from robustness.encoder import DualEncoder, TextPolicy

    class Scorer(DualEncoder):
        fingerprint = f"scorer {by_cosine}"
        text_policy = TextPolicy(("findings",), 999, "none")
        embedding_dim = 16
        device = "cpu"
        details = {}  # noqa: RUF012

        def preprocess(self, images):
            return torch.stack([torch.from_numpy(image[:160:40, :160:40]) for image in images])

        def encode_images(self, pixels):
            return pixels.reshape(-1, 16).float()

        def encode_reports(self, texts):
            digests = [hashlib.sha256(text.encode()).digest()[:16] for text in texts]
            return torch.tensor([list(digest) for digest in digests]).float()

    class Cosines(Scorer):
        def encode_images(self, pixels):
            return signs(super().encode_images(pixels))

        def encode_reports(self, texts):
            return signs(super().encode_reports(texts))

    class Distances(Scorer):
        def score(self, images, reports):
            return -(images[:, None] - reports).abs().sum(2)

    return Cosines() if by_cosine else Distances()


def subject(encoder, loaded, store):
    from robustness.embedding import Store
    from robustness.embedding.dataset import EmbeddingSettings
    from robustness.run.subject import Subject

    return Subject(
        encoder,
        loaded,
        EmbeddingSettings(Store(store), batch_size=16),
        positives="identical_text",
        seed=0,
    )


def phantoms(change=lambda row, pair: pair, count=40):
    loaded = evalset.load(f"phantom:{count}")
    pairs = tuple(change(row, pair) for row, pair in enumerate(loaded.pairs))
    return evalset.EvaluationSet("phantom:changed", pairs, loaded.decode)


@pytest.mark.parametrize("by_cosine", [True, False])
def test_gains_of_a_model_are_those_of_its_scores(tmp_path, by_cosine):
    """Some texts are duplicates, a fifth of the images unlabelled, one without findings."""

    def change(row, pair):
        findings = "" if row == 7 else f"text {row // 2 if row % 3 else row}"
        return replace(
            pair,
            report=replace(pair.report, findings=findings, impression=""),
            labels=None if row % 5 == 0 else pair.labels,
        )

    from robustness.perturbation.occlusion import CLEAN

    loaded = phantoms(change)
    mine = subject(scorer(by_cosine=by_cosine), loaded, tmp_path)
    kept = [pair for pair in loaded.pairs if pair.report.findings]
    assert len(kept) == 39
    texts = list(dict.fromkeys(pair.report.findings for pair in kept))
    text = np.array([texts.index(pair.report.findings) for pair in kept])
    images = np.array([loaded.decode(pair)[:160:40, :160:40].ravel() for pair in kept], float)
    reports = np.array([list(hashlib.sha256(t.encode()).digest()[:16]) for t in texts], float)
    cosines = signs(images) @ signs(reports).T
    scores = cosines if by_cosine else -np.abs(images[:, None] - reports).sum(2)
    known, answers, gains = gains_of([pair.labels for pair in kept], text)
    scores = scores[np.ix_(known, answers)]
    ranked = mine.rank(CLEAN)
    for direction, by, overlap in (
        ("image_to_report", scores, gains[1]),
        ("report_to_image", scores.T, gains[1].T),
    ):
        expected = [ndcg_like_scikit_learn(g, s, 10) for g, s in zip(overlap, by, strict=True)]
        assert metrics.ndcgs(ranked[direction].gains, 10) == pytest.approx(expected, abs=1e-8)
    measured = mine.measure(CLEAN)
    assert measured["image_to_report"].labelled == len(known) < measured["image_to_report"].n
    assert measured["report_to_image"].labelled == len(answers)


@pytest.mark.parametrize("labels", [None, frozenset(), frozenset({"mass"})])
def test_equal_labels_give_no_measurement(tmp_path, labels):
    """If all labels agree, every model would be perfect."""
    from robustness.perturbation.occlusion import CLEAN

    loaded = phantoms(lambda _row, pair: replace(pair, labels=labels), count=12)
    for measured in subject(scorer(by_cosine=True), loaded, tmp_path).measure(CLEAN).values():
        assert measured.labelled == 0
        for name in metrics.LABEL_MEANS:
            assert np.isnan(measured.estimates[name].value)
            assert np.isnan(measured.chance[name])
        assert np.isfinite(measured.estimates["hit@10"].value)


# --- the gate ------------------------------------------------------------------------------


def test_bounds_on_label_agreement_pass(repository):
    repository.edit("retention(hit@10) >= 0.3", LABEL_BOUNDS)
    outcome = repository.gate("-k", "not chance and not bound")
    results = repository.results()
    assert_no_traceback(said(outcome))
    loaded = evalset.load("phantom:48")
    assert all(pair.labels is not None for pair in loaded.pairs)
    texts = {evalset.normalise(pair.report.text(evalset.SECTIONS[2:])) for pair in loaded.pairs}
    for cell in results["measurements"]:
        assert (cell["verdict"], cell["reason"]) == ("pass", "ok"), cell["message"]
        expected = {"image_to_report": 48, "report_to_image": len(texts)}[cell["direction"]]
        assert cell["labelled"] == cell["n"] == expected
        for name in metrics.LABEL_MEANS:
            assert 0 < cell["chance"][name] < 1
            value = cell["metrics"][name]
            assert 0 <= value["low"] <= value["value"] <= value["high"] <= 1
        assert cell["metrics"]["ndcg@10"]["value"] > cell["chance"]["ndcg@10"]
    assert results["protocol"]["agreement"] == metrics.AGREEMENT


def test_a_bound_on_label_agreement_that_is_missed(repository):
    repository.edit("hit@10 >= 0.4", "precision@5 >= 0.999")
    outcome = repository.gate("-k", "phantom-square-30")
    assert outcome.ret == 1
    assert "precision@5 is 0." in said(outcome)
    cells = [cell for cell in repository.results()["measurements"] if cell["n"]]
    assert len(cells) == 4
    assert {cell["reason"] for cell in cells} == {"bound_missed"}


def write_manifest(path, labels):
    """Write a table of 16 phantoms; without ``labels``, no label column."""
    loaded = evalset.load("phantom:16")
    with (path / "set.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "findings", *(["labels"] if labels else [])])
        for i, pair in enumerate(loaded.pairs):
            PilImage.fromarray(loaded.decode(pair)).save(path / f"{i}.png")
            rows.writerow([f"{i}.png", f"Case {i}. {pair.report.findings}", *labels[i : i + 1]])
    return path / "set.csv"


@pytest.mark.parametrize("bound", ["precision@5 >= 0.01", "retention(ndcg@10) >= 0.01"])
@pytest.mark.parametrize("labels", [[], ["mass"] * 16, ["mass"] * 9 + [""] * 7])
def test_a_bound_on_label_agreement_fails_if_labels_are_equal(repository, bound, labels):
    table = write_manifest(repository.path, labels)
    repository.edit("evalset: phantom:48", f"evalset: manifest:{table}")
    repository.edit("hit@10 >= 0.4", bound)
    outcome = repository.gate("-k", "phantom-square-30")
    assert outcome.ret == 1
    text = said(outcome)
    assert_no_traceback(text)
    name = bound.partition(" ")[0]
    assert (
        f"{name} is not a number here (no labels distinguish two images of this evaluation set),"
        f" so bound {bound} (line 11) cannot be checked"
    ) in text
    cells = [cell for cell in repository.results()["measurements"] if cell["metrics"]]
    assert len(cells) == 4
    for cell in cells:
        assert (cell["verdict"], cell["reason"]) == ("fail", "no_labels")
        assert cell["labelled"] == 0
        assert cell["metrics"][name] == {"value": None, "low": None, "high": None}
        assert cell["metrics"]["hit@10"]["value"] is not None


def test_the_labelled_queries_are_counted(repository):
    labels = ["mass", "", "mass|edema", "none"] * 4
    table = write_manifest(repository.path, labels)
    repository.edit("evalset: phantom:48", f"evalset: manifest:{table}")
    repository.gate("-k", "phantom-square-0")
    cells = [cell for cell in repository.results()["measurements"] if cell["metrics"]]
    assert cells
    assert {(cell["labelled"], cell["n"]) for cell in cells} == {(12, 16)}

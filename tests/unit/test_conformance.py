"""Conformance cases: conforming encoders, and one broken encoder per promise."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.gate_repository import assert_no_traceback, said

README = Path(__file__).parents[2] / "README.md"


def toy(**broken):
    """Return an encoder that keeps every promise, except for the given overrides."""
    import hashlib

    import torch
    import torch.nn.functional as F

    from robustness.encoder import DualEncoder, TextPolicy

    class Toy(DualEncoder):
        fingerprint = "toy-fingerprint"
        text_policy = TextPolicy(("findings",), 100, "none")
        embedding_dim = 256
        device = "cpu"
        details = {"licence": "none"}  # noqa: RUF012

        def preprocess(self, images):
            pooled = [F.adaptive_avg_pool2d(torch.tensor(i)[None].float(), 16) for i in images]
            return torch.stack(pooled).flatten(1) if pooled else torch.zeros(0, 256)

        def encode_images(self, pixels):
            return F.normalize(pixels - 100, dim=1)

        def encode_reports(self, texts):
            rows = torch.zeros(len(texts), 256)
            for row, text in zip(rows, texts, strict=True):
                seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")
                row += torch.randn(256, generator=torch.Generator().manual_seed(seed))
            return F.normalize(rows, dim=1)

    return type("Broken", (Toy,), broken)()


def test_a_sound_encoder_keeps_every_promise():
    from robustness.conformance import CHECKS

    for check in CHECKS.values():
        check(toy())


@pytest.mark.parametrize(("levels", "allowed"), [(0, True), (0.9, True), (1.1, False)])
def test_device_preprocessing_may_be_one_grey_level_off(levels, allowed):
    from robustness.conformance import BrokenPromiseError, on_device

    def preprocess_on_device(self, images, sizes):
        cut = [image[:h, :w].numpy() for image, (h, w) in zip(images, sizes, strict=True)]
        pixels = self.preprocess(cut)
        pixels[3, 7] -= levels
        return pixels

    encoder = toy(on_device=True, preprocess_on_device=preprocess_on_device)
    if allowed:
        on_device(encoder)
    else:
        with pytest.raises(BrokenPromiseError, match=r"are 1\.1 grey levels .* \(number 3\)"):
            on_device(encoder)


def changed(method, change):
    """Return an encoder with one method overridden."""
    original = getattr(type(toy()), method)
    return {method: lambda self, inputs: change(original(self, inputs))}


def broken_encoders():
    import torch
    import torch.nn.functional as F

    def with_nan(rows):
        rows = rows.clone()
        rows[1:2] = float("nan")
        return rows

    def noisy(rows):
        return F.normalize(rows + 1e-6 * torch.randn_like(rows), dim=1)

    def neighbourly(rows):
        return F.normalize(rows + rows.mean(0), dim=1) if len(rows) else rows

    def by_place(rows):
        return F.normalize(rows + torch.arange(len(rows))[:, None] * 0.01, dim=1)

    def truncating(self, inputs):
        return type(toy()).encode_reports(self, [text[:1] for text in inputs])

    same = torch.full((256,), 1 / 16)
    return {
        "shapes": [changed("encode_images", lambda rows: rows[:, :9])],
        "finite": [changed("encode_images", with_nan), changed("encode_reports", with_nan)],
        "unit_norm": [
            changed("encode_images", lambda rows: rows * 1.01),
            changed(
                "encode_reports", lambda rows: rows * torch.arange(5)[: len(rows), None].sign()
            ),
        ],
        "distinct": [
            changed("encode_images", lambda rows: same.expand(len(rows), -1)),
            {"encode_reports": lambda self, texts: same.expand(len(texts), -1)},
        ],
        "deterministic": [changed("encode_reports", noisy)],
        "batch": [changed("encode_images", neighbourly), changed("encode_reports", neighbourly)],
        "order": [changed("encode_images", by_place), changed("encode_reports", by_place)],
        "scores": [
            {"score": lambda self, images, reports: (images @ reports.T).double()},
            {"score": lambda self, images, reports: reports @ images.T[:, :2]},
            {"score": lambda self, images, reports: images @ reports.T / len(images)},
            {"score": lambda self, images, reports: images @ reports.T + float("nan")},
        ],
        "on_device": [
            {"on_device": True, "preprocess_on_device": lambda self, images, sizes, b=broken: b}
            for broken in (torch.zeros(5, 256), torch.zeros(5, 9), torch.zeros(5, 256).double())
        ],
        "described": [{"fingerprint": ""}, {"fingerprint": None}, {"details": {"a": 1}}],
    }


@pytest.mark.parametrize(
    "promise",
    [
        *("shapes", "finite", "unit_norm", "distinct", "deterministic"),
        *("batch", "order", "scores", "on_device", "described"),
    ],
)
def test_a_broken_promise_is_detected(promise):
    from robustness.conformance import CHECKS, BrokenPromiseError
    from robustness.errors import GateError

    assert set(broken_encoders()) == set(CHECKS)
    for broken in broken_encoders()[promise]:
        with pytest.raises((BrokenPromiseError, GateError)) as caught:
            CHECKS[promise](toy(**broken))
        assert "\n" not in str(caught.value)


def test_the_fingerprint_must_follow_the_weights(tmp_path):
    import torch

    from robustness.conformance import BrokenPromiseError, fingerprint

    folder = tmp_path / "changed"
    folder.mkdir()
    torch.save({"a": torch.ones(3)}, tmp_path / "weights.pt")

    def loading(name):
        def load(weights):
            encoder = toy()
            encoder.checkpoint = weights or tmp_path / "weights.pt"
            encoder.fingerprint = name(torch.load(encoder.checkpoint, weights_only=True))
            return encoder

        return load

    count = iter(range(9))
    assert fingerprint(loading(lambda state: f"sum {state['a'].sum():.4f}"), folder) == ""
    with pytest.raises(BrokenPromiseError, match="other weights have the same fingerprint"):
        fingerprint(loading(lambda state: "constant"), folder)
    with pytest.raises(BrokenPromiseError, match="loaded twice, the same weights have two"):
        fingerprint(loading(lambda state: f"load {next(count)}"), folder)
    assert "has no checkpoint file" in fingerprint(lambda weights: toy(), folder)


def test_a_model_that_scores_by_a_matrix():
    """Ranks follow the score, not the cosine, in both directions."""
    import numpy as np

    from robustness.ranking import rank_counts

    rng = np.random.default_rng(0)
    images, reports = rng.standard_normal((2, 30, 8)).astype(np.float32)

    def score(queries, gallery):
        return -((queries[:, None] - gallery[None]) ** 2).sum(-1)

    counts = rank_counts(images, reports, np.arange(30), score=score)
    matrix = -((images[:, None].astype(float) - reports[None]) ** 2).sum(-1)
    expected = (matrix > np.diag(matrix)[:, None]).sum(1)
    assert (counts.greater == expected).all()
    with pytest.raises(ValueError, match=r"scores have shape \[30, 29\]; expected \[30, 30\]"):
        rank_counts(images, reports, np.arange(30), score=lambda q, g: (q @ g.T)[:, 1:])
    with pytest.raises(ValueError, match="scores contain values that are not finite"):
        rank_counts(images, reports, np.arange(30), score=lambda q, g: q @ g.T + float("nan"))


# --- the suite's cases, and the README's example -----------------------------------------------


def test_the_reference_encoder_conforms(repository, pytester):
    outcome = pytester.runpytest_inprocess("-m", "conformance")
    assert outcome.ret == 0
    outcome.assert_outcomes(passed=11)


@pytest.mark.parametrize(
    ("marker", "kind", "message"),
    [
        ("conformance", "loose", "Changed embeds images with norm 2, but scores by cosine"),
        ("benchmark", "loose", "Changed embeds images with norm 2, but scores by cosine"),
        ("conformance", "nothing", "returned NoneType, not a DualEncoder"),
    ],
)
def test_an_error_of_the_model_is_reported_in_one_line(changed, pytester, marker, kind, message):
    outcome = changed.gate(f"--robustness-models=my_models:{kind}", "-m", marker)
    assert outcome.ret == 1
    assert "During handling" not in said(outcome)
    cases = re.split(r"^_{3,} (?:test|ERROR)_?", said(outcome), flags=re.MULTILINE)
    told = [case.partition("\n===")[0] for case in cases if message in case]
    assert told
    for case in told:
        assert_no_traceback(case)
        assert case.count(message) == 1


@pytest.fixture
def example(repository, monkeypatch):
    """The model of the README, in a file."""
    import torch

    (code,) = re.findall(r"```python\n(import hashlib.*?)```", README.read_text(), re.DOTALL)
    (repository.path / "two_layers.py").write_text(code)
    generator = torch.Generator().manual_seed(0)
    state = {
        "image": torch.randn(256, 64, generator=generator),
        "text": torch.randn(512, 64, generator=generator),
    }
    torch.save(state, repository.path / "two_layers.pt")
    monkeypatch.syspath_prepend(repository.path)
    return repository


def test_the_example_of_the_readme_runs(example, pytester):
    lines = re.findall(r"^pytest (.*two_layers.*)$", README.read_text(), re.MULTILINE)
    assert len(lines) == 2
    conformance, gate = (pytester.runpytest_inprocess(*line.split()) for line in lines)
    conformance.assert_outcomes(passed=11)
    assert gate.ret == 1, "random weights are at chance"
    results = example.results()
    assert results["reason"] == "bound_missed"
    assert {cell["model"] for cell in results["measurements"]} == {"two_layers:load"}


def test_an_unknown_option_of_the_example_is_an_error(example):
    outcome = example.gate(
        "--robustness-models=two_layers:load", "--robustness-option=two_layers:load:size=3"
    )
    assert outcome.ret == 1
    text = outcome.stdout.str()
    assert "cannot be called: got an unexpected keyword argument 'size'" in text
    assert "Traceback" not in text


def test_the_readme_s_example_without_weights(example):
    outcome = example.gate("--robustness-models=two_layers:load")
    assert outcome.ret == 1
    assert "two_layers needs weights: ask the registry for two_layers.pt" in outcome.stdout.str()

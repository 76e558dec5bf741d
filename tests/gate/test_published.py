"""Published models in the gate: full-size files of the published format, real images."""

from __future__ import annotations

import pytest
from support import published
from support.gate_repository import WEIGHTS, assert_no_traceback, said

STUDIES = 24


@pytest.fixture(scope="session")
def published_modules():
    """Import the models, because pytester forgets what an in-process run imports."""
    import robustness.models.clip
    import robustness.models.cxr_clip
    import robustness.models.cxr_repair
    import robustness.models.medclip

    return (
        robustness.models.clip,
        robustness.models.cxr_clip,
        robustness.models.cxr_repair,
        robustness.models.medclip,
    )


@pytest.fixture
def with_models(published_modules, repository):
    """Repository with each published model, on request and optional."""
    repository.edit(
        "models:\n",
        "models:\n"
        + "".join(
            f"  {name}: {{loader: robustness.models.{name}:load,"
            " optional: true, on_request: true}\n"
            for name in ("clip", "cxr_repair", "medclip", "cxr_clip")
        ),
    )
    repository.edit("[square, grid]", "[square]")
    repository.edit("[black, grey]", "[black]")
    repository.edit("examples: 4", "examples: 2")
    return repository


@pytest.fixture
def few_studies(open_i, tmp_path):
    """Some studies of the Indiana sample, in its layout."""
    for folder in ("ecgen-radiology", "images"):
        (tmp_path / "few" / folder).mkdir(parents=True)
    for number in range(2, 2 + STUDIES):
        name = f"ecgen-radiology/{number}.xml"
        if (open_i / name).exists():
            (tmp_path / "few" / name).symlink_to(open_i / name)
            for image in open_i.glob(f"images/CXR{number}_*"):
                (tmp_path / "few" / "images" / image.name).symlink_to(image)
    return tmp_path / "few"


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("cxr_repair", "https://github.com/rajpurkarlab/CXR-RePaiR"),
        ("medclip", "https://storage.googleapis.com/pytrial/"),
        ("cxr_clip", "https://github.com/kakaobrain/cxr-clip"),
    ],
)
def test_absent_weights_are_skipped_with_their_source(with_models, monkeypatch, name, where):
    monkeypatch.delenv("ROBUSTNESS_WEIGHTS", raising=False)
    outcome = with_models.gate(f"--robustness-models=phantom,{name}", "-rs")
    assert outcome.ret == 0
    text = said(outcome)
    assert_no_traceback(text)
    assert where in text
    assert "licence" in text
    assert f"{name}-square-30" in text or "SKIPPED" in text
    assert with_models.results()["summary"]["not_measured"] == 2 * 2 + 4
    with_models.edit(f"{name}:load, optional: true", f"{name}:load, optional: false")
    outcome = with_models.gate(f"--robustness-models=phantom,{name}")
    assert outcome.ret == 1
    assert with_models.results()["reason"] == "weights_absent"


@pytest.mark.parametrize("name", ["clip", "cxr_repair", "medclip", "cxr_clip"])
def test_a_checkpoint_of_another_model_fails_in_one_line(with_models, monkeypatch, shared, name):
    arguments = [f"--robustness-models={name}", f"--robustness-weights={name}={WEIGHTS}"]
    if name in {"medclip", "cxr_clip"}:
        vocabulary = shared / "bert_base_cased" / "vocab.txt"
        arguments.append(f"--robustness-option={name}:tokenizer={vocabulary}")
    outcome = with_models.gate(*arguments)
    assert outcome.ret == 1
    text = said(outcome)
    assert_no_traceback(text)
    assert "phantom.safetensors' cannot be used" in text
    assert with_models.results()["reason"] == "weights_unusable"


@pytest.mark.slow
def test_a_model_named_by_its_family(repository, pytester, tmp_path):
    from support import hub_models

    hub_models.save_transformers("clip", tmp_path / "tiny")
    name = f"transformers:{tmp_path / 'tiny'}"
    conformance = pytester.runpytest_subprocess(
        "-m", "conformance", f"--robustness-models={name}", "-rs"
    )
    conformance.assert_outcomes(passed=10, skipped=1)
    assert "has no checkpoint file" in said(conformance)
    outcome = repository.gate(f"--robustness-models={name}", run=pytester.runpytest_subprocess)
    assert outcome.ret == 1, "random weights are at chance"
    assert_no_traceback(said(outcome))
    results = repository.results()
    assert results["protocol"]["models"][0]["details"]["model_class"] == "CLIPModel"
    held = {p["property"]: p["verdict"] for p in results["properties"]}
    assert held["independence"] == "pass"


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["swin", "resnet"])
@pytest.mark.parametrize("name", ["cxr_clip", "medclip"])
def test_a_published_format_runs_end_to_end(
    with_models, pytester, few_studies, shared, tmp_path, name, variant
):
    table = getattr(published, name)(variant, published.FULL)
    write = {"cxr_clip": published.cxr_clip_tar, "medclip": published.medclip_zip}[name]
    file = tmp_path / {"cxr_clip": "swint_mcc.tar", "medclip": "medclip-vit-pretrained.zip"}[name]
    write(file, published.draw(table, 0))
    vocabulary = shared / "bert_base_cased" / "vocab.txt"
    outcome = with_models.gate(
        f"--robustness-models={name}",
        f"--robustness-weights={name}={file}",
        f"--robustness-option={name}:tokenizer={vocabulary}",
        f"--robustness-evalset=open_i:{few_studies}",
        f"--robustness-store={tmp_path / 'store'}",
        run=pytester.runpytest_subprocess,
    )
    assert outcome.ret in {0, 1}, said(outcome)
    assert_no_traceback(said(outcome))
    results = with_models.results()
    # Random weights are near chance, where retention may be undefined; all is measured.
    assert {cell["reason"] for cell in results["measurements"]} <= {
        "ok",
        "bound_missed",
        "not_finite",
    }
    assert all(cell["metrics"]["hit@10"]["value"] is not None for cell in results["measurements"])
    assert all(0 < cell["n"] <= STUDIES for cell in results["measurements"])
    (model,) = results["protocol"]["models"]
    assert model["details"]["variant"] == variant
    assert model["text_policy"]["sections"]
    held = {p["property"]: p["verdict"] for p in results["properties"]}
    assert held["independence"] == "pass"

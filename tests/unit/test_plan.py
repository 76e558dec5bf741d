"""The plan: which models a command line asks for, and with what."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.gate_repository import THRESHOLDS

from robustness import plan
from robustness.errors import UsageError
from robustness.plan import select_models

MODELS = """\
models:
  phantom: {loader: robustness.models.phantom:load}
  late: {loader: models.late:load, on_request: true, options: {variant: swin}}
"""


def made(folder: Path, **changes):
    path = folder / "thresholds.yaml"
    head, _, tail = THRESHOLDS.partition("models:\n")
    path.write_text(head + MODELS + tail.partition("\n")[2])
    given = {
        "thresholds": path,
        "models": [],
        "weights": [],
        "options": [],
        "evalset": None,
        "device": "cpu",
        "batch_size": 8,
        "store": folder,
        "report": folder,
        "replay": None,
        "arguments": [],
        "baselines": folder / "baselines",
    }
    return plan.make(**(given | changes))


def test_models_on_request_are_left_out_until_named(tmp_path):
    assert list(made(tmp_path).models) == ["phantom"]
    assert list(made(tmp_path, models=["late", "phantom"]).models) == ["late", "phantom"]


def test_a_file_of_nothing_but_models_on_request(tmp_path):
    thresholds = made(tmp_path).thresholds
    late = {"late": thresholds.models["late"]}
    with pytest.raises(UsageError, match="every model is on_request; name one with"):
        select_models(replace(thresholds, models=late), [])


def test_cases_and_measurements_cover_the_file(tmp_path):
    made_plan = made(tmp_path)
    ids = [case.id for case in made_plan.cases]
    assert ids == ["phantom-square-0", "phantom-square-30", "phantom-grid-0", "phantom-grid-30"]
    keys = [key for case in made_plan.cases for key in made_plan.measurements(case)]
    assert len(set(keys)) == len(keys) == 4 * 2 * 2


def test_loaders_and_families(tmp_path):
    models = made(
        tmp_path,
        models=["mine.model:load", "open_clip:ViT-B-16/laion2b", "transformers:google/siglip"],
    ).models
    assert models["mine.model:load"].loader == "mine.model:load"
    family = models["open_clip:ViT-B-16/laion2b"]
    assert family.loader == "robustness.models.hub:load"
    assert family.options == {"model": "open_clip:ViT-B-16/laion2b"}
    assert models["transformers:google/siglip"].options == {"model": "transformers:google/siglip"}


def test_options_join_those_of_the_file(tmp_path):
    models = made(
        tmp_path,
        models=["late", "open_clip:a/b"],
        options=["late:tokenizer=x=y.txt", "open_clip:a/b:precision=fp32"],
        weights=["late=w.tar"],
    ).models
    assert models["late"].options == {"variant": "swin", "tokenizer": "x=y.txt"}
    assert models["late"].weights == Path("w.tar").absolute()
    assert models["open_clip:a/b"].options == {"model": "open_clip:a/b", "precision": "fp32"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"models": ["other"]},
            "unknown model 'other' in --robustness-models; .* has phantom, late",
        ),
        ({"models": ["other"]}, "or as open_clip:NAME, transformers:NAME"),
        ({"models": [":"]}, "unknown model ':'"),
        ({"options": ["tokenizer=x"]}, "'tokenizer=x' is not NAME:KEY=VALUE"),
        ({"options": ["late:a=1"]}, "names model 'late', which is not under test"),
        ({"weights": ["=x"]}, "names model '', which is not under test; under test: phantom"),
        ({"weights": ["phantom="]}, "'phantom=' is not NAME=PATH"),
        ({"batch_size": -3}, "--robustness-batch-size is -3; it is at least 1"),
        ({"precision": "fp16"}, "--robustness-precision 'fp16' is unknown; allowed are float32,"),
        ({"replay": "square"}, "--robustness-replay: occlusion 'square' is not pattern:level"),
    ],
)
def test_what_cannot_be_planned_is_named(tmp_path, changes, message):
    with pytest.raises(UsageError, match=message):
        made(tmp_path, **changes)

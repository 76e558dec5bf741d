"""Records: their JSON, and what decoding refuses."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from support.measured_records import record as measured

from robustness._util.profile import Phase
from robustness.embedding import StoreCounts
from robustness.metrics.bootstrap import Estimate, Replicates
from robustness.metrics.rank_counts import RankCounts
from robustness.records import (
    Activity,
    BoundRecord,
    CaseRecord,
    CurvePoint,
    EstimateRecord,
    MeasurementRecord,
    PropertyRecord,
    Ranking,
)
from robustness.records.codec import RecordError, encode, require_schema
from robustness.records.comparison import ComparisonRecord
from robustness.thresholds import MeasurementKey
from robustness.verdict.reasons import Reason, Verdict

MEASUREMENT = MeasurementRecord(
    model="phantom",
    evalset="phantom:48",
    pattern="square",
    fill="black",
    level=0.3,
    seed=0,
    direction="image_to_report",
    n=48,
    labelled=40,
    metrics={"hit@10": EstimateRecord(0.5, 0.4, None)},
    chance={"hit@10": 0.2, "mrr": None},
    hidden=0.3,
    bounds=(BoundRecord("hit@10 >= 0.4", "hit@10", ">=", 0.4, None, 11),),
    verdict=Verdict.PASS,
    reason=Reason.OK,
    message="",
)
ACTIVITY = Activity(
    thresholds="ab",
    device=None,
    model_loads=1,
    store=StoreCounts(1, 2, 0),
    profile={"ranking": Phase(1.5, 3)},
    peak_memory_mb=780.4,
    peak_device_memory_mb=None,
    fingerprints={"phantom": ("cd", "ef")},
)
PROPERTY = PropertyRecord(
    Verdict.PASS, Reason.OK, model="phantom", property="bound", examples=4, room=0.1
)
COMPARISON = ComparisonRecord(
    model="phantom", verdict=Verdict.FAIL, reason=Reason.BASELINE_MISMATCH, message="x"
)


def sent(record):
    """Return a record as the controller decodes it."""
    return type(record).from_json(json.loads(json.dumps(record.to_json(), allow_nan=False)))


@pytest.mark.parametrize("record", [MEASUREMENT, ACTIVITY, PROPERTY], ids=["m", "a", "p"])
def test_a_record_survives_json(record):
    assert sent(record) == record


def test_a_case_survives_json():
    case = replace(measured(), measurements=(MEASUREMENT,))
    again = sent(case)
    assert replace(again, ranks=()) == replace(case, ranks=())
    for ranking, before in zip(again.ranks, case.ranks, strict=True):
        assert ranking.key == before.key
        for name, counts in before.counts.arrays().items():
            assert ranking.counts.arrays()[name].tolist() == counts.tolist()


def test_the_key_of_a_measurement():
    assert MEASUREMENT.key == MeasurementKey("phantom", "square", "black", 0.3, "image_to_report")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": None}, "Expected `int`, got `null` - at `$.n`"),
        ({"n": True}, "Expected `int`, got `bool` - at `$.n`"),
        ({"n": 4.5}, "Expected `int`, got `float` - at `$.n`"),
        ({"level": "0.3"}, "Expected `float`, got `str` - at `$.level`"),
        ({"level": False}, "Expected `float`, got `bool` - at `$.level`"),
        ({"metrics": []}, "Expected `object`, got `array` - at `$.metrics`"),
        ({"metrics": {"mrr": 0.5}}, "Expected `object`, got `float` - at `$.metrics[...]`"),
        (
            {"metrics": {"mrr": {"value": 1, "low": 0}}},
            "Object missing required field `high` - at `$.metrics[...]`",
        ),
        ({"bounds": {}}, "Expected `array`, got `object` - at `$.bounds`"),
        ({"bounds": [None]}, "Expected `object`, got `null` - at `$.bounds[0]`"),
        ({"verdict": "passed"}, "Invalid enum value 'passed' - at `$.verdict`"),
        ({"reason": ["ok"]}, "Expected `str`, got `array` - at `$.reason`"),
    ],
)
def test_a_field_of_another_type_is_refused(change, message):
    with pytest.raises(RecordError, match=f"^{re.escape(message)}$"):
        MeasurementRecord.from_json(MEASUREMENT.to_json() | change)


@pytest.mark.parametrize("name", sorted(MEASUREMENT.to_json().keys() - {"message"}))
def test_a_missing_field_is_refused(name):
    data = MEASUREMENT.to_json()
    del data[name]
    with pytest.raises(RecordError, match=f"^Object missing required field `{name}`$"):
        MeasurementRecord.from_json(data)


def test_whole_numbers_are_numbers():
    data = MEASUREMENT.to_json() | {"level": 0}
    assert MeasurementRecord.from_json(data).level == 0.0


def test_a_comparison_that_was_not_possible_has_no_other_values():
    data = COMPARISON.to_json()
    assert sent(COMPARISON) == COMPARISON
    assert {name: value for name, value in data.items() if value is not None} == {
        "model": "phantom",
        "verdict": "fail",
        "reason": "baseline_mismatch",
        "message": "x",
    }


def test_numbers_that_json_lacks_become_null():
    estimate = EstimateRecord.of(Estimate(math.nan, -math.inf, 0.5))
    assert estimate.to_json() == {"value": None, "low": None, "high": 0.5}
    assert replace(PROPERTY, room=math.inf).to_json()["room"] is None
    assert encode({"a": [np.float64(math.nan)], "b": (np.float32(0.5), np.int64(3))}) == {
        "a": [None],
        "b": [0.5, 3],
    }


def test_text_that_utf8_cannot_encode_survives():
    """A file name of undecodable bytes is such text."""
    record = replace(PROPERTY, message="a\udc80")
    assert sent(record) == record


def test_a_curve_point_is_rounded_and_its_unknown_replicates_stay_unknown():
    point = sent(CurvePoint("black", "there", Replicates(0.5, np.array([1 / 3, math.nan]))))
    assert point.replicates.value == 0.5
    assert point.replicates.resampled[0] == 0.333333
    assert math.isnan(point.replicates.resampled[1])


@pytest.mark.parametrize(
    "change",
    [
        {"counts": {"greater": [0]}},
        {"counts": None},
        {"counts": {"greater": ["many"]}},
        {"greater": ["many"]},
        {"greater": [0.5]},
        {"greater": [None]},
        {"greater": 1},
        {"gallery_size": "9"},
        {"greater": [0, 0]},
        {"pair_equal": []},
        {"positives": [2]},
    ],
    ids=str,
)
def test_ranks_that_do_not_fit_together_are_refused(change):
    counts = {name: [1] for name in RankCounts.__slots__ if name != "gallery_size"}
    data = {"pattern": "square", "fill": "black", "level": 0, "direction": "there"}
    counts["gallery_size"] = 9
    data |= {"counts": counts}
    assert len(Ranking.from_json(data).counts) == 1
    nested = {name: value for name, value in change.items() if name in counts}
    wrong = data | ({"counts": counts | nested} if nested else change)
    with pytest.raises(RecordError):
        Ranking.from_json(wrong)


@pytest.mark.parametrize("results", [None, [], {}, {"schema": "robustness-results-1"}])
def test_another_schema_is_refused(results):
    with pytest.raises(RecordError, match="this version reads 'robustness-results-2'"):
        require_schema(results)


def test_a_property_is_not_a_case():
    with pytest.raises(RecordError, match="^Object missing required field `case`$"):
        CaseRecord.from_json(PROPERTY.to_json())

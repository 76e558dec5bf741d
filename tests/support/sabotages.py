"""Sabotages: faults that would let a run pass without measuring, and how the gate reports them.

Run ``python tests/support/sabotages.py`` to write ``docs/sabotages.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

TABLE = Path(__file__).parents[2] / "docs" / "sabotages.md"


@dataclass(frozen=True)
class Sabotage:
    """Fault of a model, a run or a file.

    Attributes:
        name: NAME of the test ``test_NAME``, or of a parameter.
        description: Description for the table.
        code: Reason of the verdict, or error code of a refused run.
        end: ``fails`` (exit status 1 and a verdict), ``refused`` (exit status 4, no results),
            ``killed`` (by a signal), or ``recovers`` (the run passes and reports the fault).
    """

    name: str
    description: str
    code: str
    end: str = "fails"


SABOTAGES = {
    made.name: made
    for made in (
        # --- models
        Sabotage("nan_embedding", "an embedding is NaN", "embedding_not_finite"),
        Sabotage("infinite_embedding", "an embedding is infinite", "embedding_not_finite"),
        Sabotage("wrong_shape", "embeddings have another length", "embedding_malformed"),
        Sabotage("wrong_dtype", "embeddings are float64", "embedding_malformed"),
        Sabotage("unnormalised", "embeddings are not of unit norm", "embedding_malformed"),
        Sabotage("constant_embedding", "all images have the same embedding", "scores_constant"),
        Sabotage(
            "constant_embedding_and_no_demand",
            "all images have the same embedding, and the bound is 0",
            "scores_constant",
        ),
        Sabotage("constant_reports", "all reports have the same embedding", "scores_constant"),
        Sabotage("nan_scores", "a model that computes its own scores returns NaN", "model_failed"),
        Sabotage("neighbours", "an embedding depends on its batch", "property_broken"),
        Sabotage(
            "shuffled_gallery", "embeddings are returned in another order", "embeddings_misordered"
        ),
        Sabotage(
            "false_fingerprint",
            "a model reports the fingerprint of another, and so uses its stored embeddings",
            "store_stale",
        ),
        Sabotage(
            "remembered_batch",
            "a model returns the embeddings of an earlier batch of the same size",
            "store_stale",
        ),
        Sabotage("no_text", "no report has a section that the model reads", "no_text"),
        Sabotage("loader_missing", "the loader is missing", "loader_unusable"),
        Sabotage(
            "loader_returns_nothing", "the loader does not return an encoder", "loader_unusable"
        ),
        Sabotage("loader_crashes", "the loader has a bug", "crashed"),
        Sabotage("fails_once", "a model fails once, during the search of a property", "crashed"),
        Sabotage("exits_once", "a model exits once, during the search of a property", "crashed"),
        Sabotage("weights_missing", "the weights are missing", "weights_absent"),
        Sabotage(
            "weights_misnamed",
            "the command line names missing weights of an optional model",
            "weights_absent",
        ),
        Sabotage(
            "weights_withdrawn",
            "the weights of an optional model disappear during the run",
            "inconsistent",
        ),
        Sabotage("weights_truncated", "the checkpoint is truncated", "weights_unusable"),
        Sabotage(
            "all_weights_missing",
            "all models are optional, and their weights are missing",
            "nothing_measured",
        ),
        Sabotage(
            "reference_missing",
            "a bound refers to a model whose weights are missing",
            "reference_failed",
        ),
        Sabotage("no_positives", "a query has no positive", "no_positives"),
        # --- runs
        Sabotage("deselected", "a case is deselected", "not_run"),
        Sabotage("skipped", "a hook of the repository skips a case", "not_run"),
        Sabotage(
            "fewer_measurements", "a case reports one measurement of two", "measurement_missing"
        ),
        Sabotage("fewer_queries", "a case reports one query too few", "queries_missing"),
        Sabotage("empty_level", "a case reports no measurement", "level_missing"),
        Sabotage("no_record", "a case passes without a record", "record_missing"),
        Sabotage(
            "malformed_record",
            "a record has text as the number of queries",
            "record_malformed",
        ),
        Sabotage("missing_metric", "the metric of a bound is not reported", "metric_missing"),
        Sabotage("nan_metric", "the metric of a bound is reported as NaN", "metric_missing"),
        Sabotage("dropped_bound", "a case omits the bound that it misses", "bound_dropped"),
        Sabotage("false_pass", "a case that misses its bound reports a pass", "false_pass"),
        Sabotage(
            "forged_limit",
            "a case that misses its bound reports another limit and a pass",
            "false_pass",
        ),
        Sabotage(
            "false_excuse",
            "a case that misses its bound reports that it was not measured",
            "false_excuse",
        ),
        Sabotage(
            "false_excuse_unmeasured",
            "a case that misses its bound reports missing weights and no metrics",
            "false_excuse",
        ),
        Sabotage(
            "false_excuse_of_property",
            "a property reports that it was not searched",
            "false_excuse",
        ),
        Sabotage("untried_property", "a property passes without examples", "nothing_tried"),
        Sabotage(
            "small_subset",
            "a property uses so few images that every answer is among the first ten",
            "property_vacuous",
        ),
        Sabotage(
            "boundless_tolerance",
            "the tolerance of a property exceeds the differences between embeddings",
            "property_vacuous",
        ),
        Sabotage("clean_search", "a property searches only level 0", "property_vacuous"),
        Sabotage("missing_ranks", "a saved run lacks a ranking", "ranks_missing"),
        Sabotage("missing_patients", "a saved run lacks a patient", "ranks_missing"),
        Sabotage("missing_resamples", "a point of a curve lacks resamples", "measurement_missing"),
        Sabotage(
            "forged_ranks", "a saved run has ranks that contradict its metrics", "ranks_contradict"
        ),
        Sabotage("teardown_error", "a case passes, and its teardown fails", "crashed"),
        Sabotage("interrupted", "Ctrl-C during the run", "interrupted"),
        Sabotage("stopped", "-x stops the run before the gate's cases", "interrupted"),
        Sabotage("worker_crash", "a pytest-xdist worker dies (os._exit)", "worker_crashed"),
        Sabotage("late_worker_crash", "a worker dies after its cases", "worker_crashed"),
        Sabotage("killed", "SIGKILL during the run", "unfinished", "killed"),
        Sabotage(
            "weights_replaced",
            "the weights change after one worker has loaded them and before another does",
            "inconsistent",
        ),
        Sabotage(
            "thresholds_replaced",
            "the thresholds file changes before the workers read it",
            "inconsistent",
        ),
        Sabotage(
            "two_sets", "two models are measured on different evaluation sets", "inconsistent"
        ),
        Sabotage("page_broken", "the HTML page cannot be rendered", "page_failed"),
        Sabotage(
            "report_folder_lost", "the report folder disappears during the run", "report_failed"
        ),
        Sabotage(
            "report_folder_taken",
            "the report folder is a file",
            "report_unwritable",
            "refused",
        ),
        # --- files
        Sabotage("no_pairs", "the evaluation set is empty", "evalset_empty"),
        Sabotage(
            "folder_changed",
            "a fixture changes the working directory to one with another set of the same name",
            "measures the set that was named",
            "recovers",
        ),
        Sabotage(
            "image_replaced",
            "an image changes after the evaluation set was loaded",
            "evalset_changed",
        ),
        Sabotage("swapped_reports", "each report belongs to another image", "bound_missed"),
        Sabotage("few_items", "hit@5 among five reports", "bound_vacuous"),
        Sabotage(
            "empty_report",
            "a report has no section that the model reads",
            "excluded by rule, counted and reported",
            "recovers",
        ),
        Sabotage("no_bound", "a level has no bound", "no_bound"),
        Sabotage("unknown_value", "the metric of a bound is not a number", "not_finite"),
        Sabotage(
            "damaged_entry",
            "a store entry is damaged",
            "computed again and reported",
            "recovers",
        ),
        Sabotage(
            "copied_entry",
            "a store entry has the content of another entry",
            "computed again and reported",
            "recovers",
        ),
        Sabotage("short_entry", "a valid store entry lacks a row", "store_malformed"),
        Sabotage("stale_entry", "a valid store entry is of other weights", "store_stale"),
        Sabotage("stale_level", "the store entry of one level is of other weights", "store_stale"),
        Sabotage("nothing_hidden", "a level hides no pixel", "nothing_hidden"),
        Sabotage(
            "code_changed",
            "code that a model imports while embedding changes, but its fingerprint does not",
            "store_stale",
        ),
        Sabotage(
            "settings_changed",
            "a file named by an option of a loader changes, but the fingerprint does not",
            "store_stale",
        ),
        Sabotage(
            "option_changed",
            "an option of a loader changes, but the fingerprint does not",
            "store_stale",
        ),
        Sabotage(
            "other_baseline", "the baseline is of another evaluation set", "baseline_mismatch"
        ),
        Sabotage("undecidable", "too few patients to detect any drop", "comparison_vacuous"),
        Sabotage("no_baseline", "the baseline does not exist", "unknown_baseline", "refused"),
        Sabotage(
            "garbage_baseline",
            "the baseline is not a baseline file",
            "baseline_unreadable",
            "refused",
        ),
        Sabotage(
            "truncated_baseline", "the baseline is truncated", "baseline_unreadable", "refused"
        ),
        Sabotage(
            "flipped_baseline", "a bit of the baseline is flipped", "baseline_damaged", "refused"
        ),
        Sabotage(
            "nan_baseline", "the ranks of the baseline are NaN", "baseline_malformed", "refused"
        ),
        Sabotage(
            "no_thresholds", "the thresholds file is missing", "thresholds_unreadable", "refused"
        ),
        Sabotage("no_yaml", "the thresholds file is not YAML", "not_yaml", "refused"),
        Sabotage("clean_level", "level 0 is missing", "clean_level_missing", "refused"),
        Sabotage("percent_bound", "a bound is in percent", "out_of_range", "refused"),
        Sabotage("percent_level", "a level is in percent", "out_of_range", "refused"),
        Sabotage("nan_bound", "a bound is NaN", "out_of_range", "refused"),
        Sabotage("duplicate_key", "a key is duplicated", "duplicate_key", "refused"),
        Sabotage("unknown_key", "a key is misspelt", "unknown_key", "refused"),
        Sabotage("missing_key", "a property setting is missing", "missing_key", "refused"),
        Sabotage("unknown_metric", "a metric is misspelt", "unknown_metric", "refused"),
        Sabotage(
            "unknown_selector",
            "a rule selects a level that is not tested",
            "unknown_level",
            "refused",
        ),
        Sabotage("unused_bound", "a later rule replaces a bound", "unused_bound", "refused"),
        Sabotage("unread_bound", "a bound has > instead of >=", "bound_malformed", "refused"),
        Sabotage("unknown_model", "a model is misspelt", "unknown_model", "refused"),
        Sabotage("unknown_set", "the evaluation set is misspelt", "unknown_evalset", "refused"),
    )
}

ENDS = {
    "fails": "exit status 1 (2 if interrupted), verdict `fail`",
    "refused": "exit status 4, the code at the end of the line",
    "killed": "ended by a signal; the verdict in `results.json` is `fail`",
    "recovers": "the run passes and reports the fault",
}


def table():
    """Return the content of ``docs/sabotages.md``: one row per reason."""
    descriptions: dict[tuple[str, str], list[str]] = {}
    for sabotage in SABOTAGES.values():
        descriptions.setdefault((sabotage.code, sabotage.end), []).append(sabotage.description)
    rows = [
        f"| {code if end == 'recovers' else f'`{code}`'} | {'; '.join(texts)} | {end} |"
        for (code, end), texts in descriptions.items()
    ]
    reasons = sum(end != "recovers" for _, end in descriptions)
    return "\n".join(
        [
            "# Nothing unmeasured passes",
            "",
            f"{len(SABOTAGES)} faults that would let a run pass without measuring. The gate",
            f"reports them with {reasons} reasons. Each fault has a test in `tests/sabotage`.",
            "Faults in one row have the same cause. Written by",
            "`python tests/support/sabotages.py`.",
            "",
            *(f"- **{end}**: {text}." for end, text in ENDS.items()),
            "",
            "| Reason | Fault | Run |",
            "| --- | --- | --- |",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text(table(), encoding="utf-8")

"""Ways to make a run say nothing and pass, and what each is told.

``docs/sabotages.md`` is made of :data:`SABOTAGES`: ``python tests/support/sabotages.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

TABLE = Path(__file__).parents[2] / "docs" / "sabotages.md"


@dataclass(frozen=True)
class Sabotage:
    """One way.

    Attributes:
        name: Its test is ``test_NAME``, or the case NAME of a test.
        what: What is done, for a person.
        code: The reason that is given; of the run, or in brackets where the run is refused.
        end: ``fails`` (exit status 1 and a verdict), ``refused`` (exit status 4, no results),
            ``killed`` (a signal), or ``mended``: the run passes and says what was amiss.
    """

    name: str
    what: str
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
        Sabotage("constant_embedding", "every image embeds alike", "scores_constant"),
        Sabotage(
            "constant_embedding_and_no_demand",
            "every image embeds alike, and the bound is 0",
            "scores_constant",
        ),
        Sabotage("constant_reports", "every report embeds alike", "scores_constant"),
        Sabotage("nan_scores", "a model of its own scores gives NaN", "model_failed"),
        Sabotage("neighbours", "an embedding depends on its batch", "property_broken"),
        Sabotage("shuffled_gallery", "embeddings come in another order", "embeddings_misordered"),
        Sabotage(
            "false_fingerprint",
            "a model claims another's fingerprint and so its stored embeddings",
            "store_stale",
        ),
        Sabotage(
            "remembered_batch",
            "a model answers a batch with what it made of another of that size",
            "store_stale",
        ),
        Sabotage("no_text", "no report has the text that the model reads", "no_text"),
        Sabotage("loader_missing", "the loader is not there", "loader_unusable"),
        Sabotage("loader_returns_nothing", "the loader returns no encoder", "loader_unusable"),
        Sabotage("loader_crashes", "the loader has a bug", "crashed"),
        Sabotage("fails_once", "a model fails once, while a property is searched", "crashed"),
        Sabotage("exits_once", "a model exits once, while a property is searched", "crashed"),
        Sabotage("weights_missing", "the weights are absent", "weights_absent"),
        Sabotage(
            "weights_misnamed",
            "the command line names weights of an optional model that are not there",
            "weights_absent",
        ),
        Sabotage(
            "weights_withdrawn",
            "the weights of an optional model go when a part is measured",
            "inconsistent",
        ),
        Sabotage("weights_truncated", "the checkpoint is cut short", "weights_unusable"),
        Sabotage("all_weights_missing", "all models are optional and absent", "nothing_measured"),
        Sabotage(
            "reference_missing",
            "a bound refers to a model whose weights are absent",
            "reference_failed",
        ),
        Sabotage("no_positives", "a query has no right answer", "no_positives"),
        # --- runs
        Sabotage("deselected", "a case is deselected", "not_run"),
        Sabotage("skipped", "a case is skipped by a hook of the repository", "not_run"),
        Sabotage(
            "fewer_measurements", "a case reports one measurement of two", "measurement_missing"
        ),
        Sabotage("fewer_queries", "a case reports one query less", "queries_missing"),
        Sabotage("empty_level", "the case of a level reports no measurement", "level_missing"),
        Sabotage("no_record", "a case passes and reports nothing", "record_missing"),
        Sabotage(
            "malformed_record",
            "a record has text for the number of queries",
            "record_malformed",
        ),
        Sabotage("missing_metric", "the metric of a bound is not reported", "metric_missing"),
        Sabotage("nan_metric", "the metric of a bound is reported as NaN", "metric_missing"),
        Sabotage("dropped_bound", "a case forgets the bound that it misses", "bound_dropped"),
        Sabotage("false_pass", "a case that misses its bound says that it passes", "false_pass"),
        Sabotage(
            "forged_limit",
            "a case that misses its bound reports another limit and passes",
            "false_pass",
        ),
        Sabotage(
            "false_excuse",
            "a case that misses its bound says that it was not measured",
            "false_excuse",
        ),
        Sabotage(
            "false_excuse_unmeasured",
            "a case that misses its bound says that its weights are absent",
            "false_excuse",
        ),
        Sabotage(
            "false_excuse_of_property", "a property says that it was not searched", "false_excuse"
        ),
        Sabotage("untried_property", "a property passes without an example", "nothing_tried"),
        Sabotage(
            "small_subset",
            "a property asks so few images that any answer is among the first ten",
            "property_vacuous",
        ),
        Sabotage(
            "boundless_tolerance",
            "a property tolerates more than what embeddings differ by",
            "property_vacuous",
        ),
        Sabotage(
            "clean_search", "a property searches no level that hides anything", "property_vacuous"
        ),
        Sabotage("missing_ranks", "a run that is kept lacks a ranking", "ranks_missing"),
        Sabotage("missing_patients", "a run that is kept lacks a patient", "ranks_missing"),
        Sabotage("missing_resamples", "a point of a curve lacks resamples", "measurement_missing"),
        Sabotage("forged_ranks", "a run that is kept has other ranks", "ranks_contradict"),
        Sabotage("teardown_error", "a case passes and its teardown does not", "crashed"),
        Sabotage("interrupted", "Ctrl-C in the middle", "interrupted"),
        Sabotage("stopped", "-x stops the run before the gate's cases", "interrupted"),
        Sabotage("worker_crash", "a worker of pytest-xdist dies (os._exit)", "worker_crashed"),
        Sabotage("late_worker_crash", "a worker dies when its cases are done", "worker_crashed"),
        Sabotage("killed", "SIGKILL in the middle of a run", "unfinished", "killed"),
        Sabotage(
            "weights_replaced",
            "the weights change between two workers' loading them",
            "inconsistent",
        ),
        Sabotage(
            "thresholds_replaced",
            "the thresholds file changes before the workers read it",
            "inconsistent",
        ),
        Sabotage("two_sets", "two models are measured on different sets", "inconsistent"),
        Sabotage("page_broken", "the page cannot be drawn", "page_failed"),
        Sabotage("report_folder_lost", "the report's folder is gone at the end", "report_failed"),
        Sabotage(
            "report_folder_taken",
            "results cannot be written where they belong",
            "report_unwritable",
            "refused",
        ),
        # --- files
        Sabotage("no_pairs", "the evaluation set is empty", "evalset_empty"),
        Sabotage(
            "folder_changed",
            "a fixture changes the folder, and another set of that name lies there",
            "measured as it was asked for",
            "mended",
        ),
        Sabotage("image_replaced", "an image changes after the set was loaded", "evalset_changed"),
        Sabotage("swapped_reports", "each report stands by another image", "bound_missed"),
        Sabotage("few_items", "hit@5 is asked among five reports", "bound_vacuous"),
        Sabotage(
            "empty_report",
            "an image's report has none of the text that the model reads",
            "left out by rule, counted and said",
            "mended",
        ),
        Sabotage("no_bound", "a level has no bound", "no_bound"),
        Sabotage("unknown_value", "the metric of a bound is not a number", "not_finite"),
        Sabotage(
            "damaged_entry",
            "an entry of the store is damaged",
            "computed anew and said",
            "mended",
        ),
        Sabotage(
            "copied_entry",
            "an entry of the store holds another's arrays, with their checksum",
            "computed anew and said",
            "mended",
        ),
        Sabotage("short_entry", "a sound entry of the store lacks a row", "store_malformed"),
        Sabotage("stale_entry", "a sound entry of the store is of other weights", "store_stale"),
        Sabotage("stale_level", "the entry of one level is of other weights", "store_stale"),
        Sabotage("nothing_hidden", "a level hides not a pixel", "nothing_hidden"),
        Sabotage(
            "code_changed",
            "code that a model imports when it embeds changes, its fingerprint does not",
            "store_stale",
        ),
        Sabotage(
            "settings_changed",
            "a file that a loader's option names changes, the fingerprint does not",
            "store_stale",
        ),
        Sabotage(
            "option_changed",
            "an option of a loader changes, the fingerprint does not",
            "store_stale",
        ),
        Sabotage("other_baseline", "the baseline is of another set", "baseline_mismatch"),
        Sabotage("undecidable", "too few patients for any fall to be shown", "comparison_vacuous"),
        Sabotage("no_baseline", "there is no such baseline", "unknown_baseline", "refused"),
        Sabotage("garbage_baseline", "the baseline is garbage", "baseline_unreadable", "refused"),
        Sabotage(
            "truncated_baseline", "the baseline is cut short", "baseline_unreadable", "refused"
        ),
        Sabotage("flipped_baseline", "a bit of it is flipped", "baseline_damaged", "refused"),
        Sabotage("nan_baseline", "its ranks are NaN", "baseline_malformed", "refused"),
        Sabotage("no_thresholds", "there is no file", "thresholds_unreadable", "refused"),
        Sabotage("no_yaml", "the file is no YAML", "not_yaml", "refused"),
        Sabotage("clean_level", "level 0 is missing", "clean_level_missing", "refused"),
        Sabotage("percent_bound", "a bound is in percent", "out_of_range", "refused"),
        Sabotage("percent_level", "a level is in percent", "out_of_range", "refused"),
        Sabotage("nan_bound", "a bound is NaN", "out_of_range", "refused"),
        Sabotage("duplicate_key", "a key stands twice", "duplicate_key", "refused"),
        Sabotage("unknown_key", "a key is misspelt", "unknown_key", "refused"),
        Sabotage("missing_key", "properties have no bound", "missing_key", "refused"),
        Sabotage("unknown_metric", "a metric is misspelt", "unknown_metric", "refused"),
        Sabotage("unknown_selector", "a rule's level is none", "unknown_level", "refused"),
        Sabotage("unused_bound", "a later rule replaces a bound", "unused_bound", "refused"),
        Sabotage("unread_bound", "a bound says >, not >=", "bound_malformed", "refused"),
        Sabotage("unknown_model", "a model is misspelt", "unknown_model", "refused"),
        Sabotage("unknown_set", "the set is misspelt", "unknown_evalset", "refused"),
    )
}

ENDS = {
    "fails": "exit status 1 (2 where it was interrupted), verdict `fail`",
    "refused": "exit status 4, the code at the end of the line",
    "killed": "a signal; `results.json` says `fail`",
    "mended": "passes",
}


def table():
    """The whole of ``docs/sabotages.md``: a row a reason, with all that is given it."""
    ways: dict[tuple[str, str], list[str]] = {}
    for sabotage in SABOTAGES.values():
        ways.setdefault((sabotage.code, sabotage.end), []).append(sabotage.what)
    rows = [
        f"| {code if end == 'mended' else f'`{code}`'} | {'; '.join(done)} | {end} |"
        for (code, end), done in ways.items()
    ]
    reasons = sum(end != "mended" for _, end in ways)
    return "\n".join(
        [
            "# Nothing unmeasured passes",
            "",
            f"{len(SABOTAGES)} ways to make a run say nothing and pass, each a test, with",
            f"{reasons} reasons: `pytest tests/sabotage`. Made by",
            "`python tests/support/sabotages.py`. What stands in one row has one cause.",
            "",
            *(f"- **{end}**: {what}." for end, what in ENDS.items()),
            "",
            "| Reason | What is done | The run |",
            "| --- | --- | --- |",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text(table(), encoding="utf-8")

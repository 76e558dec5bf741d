"""--robustness-update on files of other forms: where its lines land, and what it says."""

from __future__ import annotations

import pytest
from support.threshold_updates import FILE, STAMP, observed

from robustness.errors import GateError
from robustness.thresholds import Stamp, load, unchanged_reason, updated

HEAD = FILE[: FILE.index("bounds:")]
TAIL = "properties: {bound: hit@10 >= 0.2}\n"
ANY = "  - {level: 0, require: [retention(hit@10) >= 1]}\n"
GRID = "  - {model: phantom, evalset: phantom, pattern: grid, level: 0.3, require: [hit@10 >= 0.5]}"
SQUARE = GRID.replace("grid", "square")


@pytest.fixture
def run(tmp_path):
    """Updates a file from what :func:`observed` saw, changed by ``edit``."""
    path = tmp_path / "thresholds.yaml"

    def update(text, *, every=False, edit=lambda cells: cells, stamp=STAMP):
        path.write_text(text)
        thresholds = load(path)
        return updated(thresholds, edit(observed(thresholds)), stamp, every=every)

    return update


def rules(text):
    """The lines that are no comment."""
    return [line for line in text.splitlines() if line and not line.strip().startswith("#")]


# --- new rules ---------------------------------------------------------------------------


@pytest.mark.parametrize("behind", ["", "\n", "\n\n# The end.\n", "\n  # More to come.\n"])
def test_new_rules_follow_the_last_one_at_the_end_of_the_file(run, behind):
    text, changes = run(HEAD + TAIL + "bounds:\n" + ANY.rstrip("\n") + behind)
    assert [change.done for change in changes] == [True, True]
    assert rules(text)[-3:] == [ANY.rstrip("\n"), GRID, SQUARE]
    assert text.endswith(behind)


def test_new_rules_come_before_what_follows_the_last_one(run):
    text, _ = run(HEAD + "bounds:\n" + ANY + "# The end.\n" + TAIL)
    lines = text.splitlines()
    at = lines.index(ANY.rstrip("\n"))
    assert lines[at + 2] == GRID
    assert lines[at + 4] == SQUARE
    assert lines[at + 5 :] == ["# The end.", TAIL.rstrip("\n")]


def test_new_rules_stand_where_a_last_rule_without_indent_does(run):
    text, _ = run(HEAD + "bounds:\n" + ANY.lstrip() + TAIL)
    assert GRID.lstrip() in text.splitlines()
    assert "\n# --robustness-update" in text


@pytest.mark.parametrize(
    "bounds",
    [
        "bounds: [\n  {level: 0, require: [mrr >= 0.1]},\n  {level: 0.3, require: [mrr >= 0]}]\n",
        "bounds: [{require: [mrr >= chance - 0.1]}, {level: 0, require: [mrr >= 0.1]}]\n",
    ],
)
def test_brackets_cannot_be_added_to_however_they_are_broken(run, bounds):
    with pytest.raises(GateError, match="bounds is a list in brackets"):
        run(HEAD + bounds + TAIL, edit=lambda cells: [cell | {"bounds": []} for cell in cells])


def test_one_measurement_is_enough_and_is_named_whole(run):
    text, (change,) = run(
        FILE, edit=lambda cells: [cell for cell in cells if not cell["bounds"]][-1:]
    )
    assert change.done
    where = "model: phantom, evalset: phantom, pattern: grid, level: 0.3"
    assert (
        f"  - {{{where}, fill: [grey], direction: [report_to_image], require: [hit@10 >= 0.5]}}"
    ) in text.splitlines()


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_lines_end_as_they_did(run, tmp_path, ends):
    """Also those that are written; what ends in both ways is made one."""
    path = tmp_path / "thresholds.yaml"
    text, _ = run(FILE)
    path.write_bytes(FILE.replace("\n", ends).encode())
    thresholds = load(path)
    again, _ = updated(thresholds, observed(thresholds), STAMP, every=False)
    assert again == text.replace("\n", ends)
    one_line = FILE.replace("# Ours.\n", f"# Ours.{ends}", 1)
    path.write_bytes(one_line.encode())
    thresholds = load(path)
    assert updated(thresholds, observed(thresholds), STAMP, every=False)[0] == text


def test_fills_that_lack_other_directions_get_rules_of_their_own(run):
    def only(cells):
        bare = [cell for cell in cells if not cell["bounds"]]
        return [c for c in bare if (c["fill"], c["direction"]) != ("grey", "image_to_report")]

    text, changes = run(FILE, edit=only)
    assert [change.done for change in changes] == [True, True]
    where = "  - {model: phantom, evalset: phantom, pattern: grid, level: 0.3"
    assert f"{where}, fill: [black], require: [hit@10 >= 0.55]}}" in text.splitlines()
    grey = f"{where}, fill: [grey], direction: [report_to_image], require: [hit@10 >= 0.5]}}"
    assert grey in text.splitlines()


def test_one_place_that_is_refused_does_not_keep_the_next_from_its_rule(run):
    def at_chance(cells):
        return [
            cell | {"chance": {"hit@10": 0.9}} if cell["pattern"] == "grid" else cell
            for cell in cells
        ]

    text, changes = run(HEAD + "bounds:\n" + ANY + TAIL, edit=at_chance)
    assert [change.done for change in changes] == [False, True]
    assert changes[0].text.startswith("phantom, grid, level 0.3 gets no bound: hit@10 is 0.600 at")
    assert SQUARE in text
    assert GRID not in text


def test_the_kind_of_a_set_is_what_stands_before_its_first_colon(run):
    def elsewhere(cells):
        return [cell | {"evalset": "phantom:64:a:b"} for cell in cells]

    named = FILE.replace(
        "{model: phantom, level: 0,", "{model: phantom, evalset: phantom, level: 0,"
    )
    text, changes = run(named, edit=elsewhere, every=True)
    assert len(changes) == 4
    assert GRID in text.splitlines()


def test_a_model_whose_weights_are_not_known_is_signed_so(run):
    text, _ = run(FILE, stamp=Stamp({}, "2026-11-24"))
    assert text.count(", weights unknown\n") == 1


# --- bounds that are there ---------------------------------------------------------------


def phantom(*required):
    """A rule of the model at level .3, square: a line each for what it requires."""
    head = "  - model: phantom\n    pattern: square\n    level: 0.3\n    require:\n"
    return head + "".join(f"      - {each}\n" for each in required)


def only_square(cells):
    return [c for c in cells if (c["pattern"], c["level"]) == ("square", 0.3)]


def test_what_refers_to_something_does_not_keep_the_next_bound_as_it_was(run):
    text, _ = run(
        HEAD + "bounds:\n" + phantom("hit@10 >= 2 * chance", "hit@10 >= 0.2") + TAIL,
        every=True,
        edit=only_square,
    )
    assert "      - hit@10 >= 2 * chance\n      - hit@10 >= 0.5\n" in text


@pytest.mark.parametrize(
    ("bound", "written", "loosened"),
    [
        ("hit@10 >= 0.9", "hit@10 >= 0.5", True),
        ("hit@10 >= 0.501", "hit@10 >= 0.5", True),
        ("hit@10 >= 0.499", "hit@10 >= 0.5", False),
        ("median_rank <= 5", "median_rank <= 6", True),
        ("median_rank <= 7", "median_rank <= 6", False),
    ],
)
def test_a_bound_that_now_passes_more_is_called_loosened(run, bound, written, loosened):
    text, (change,) = run(HEAD + "bounds:\n" + phantom(bound) + TAIL, every=True, edit=only_square)
    assert f"      - {written}\n" in text
    assert (change.done, change.loosened) == (True, loosened)
    how = "LOOSENED " if loosened else ""
    assert f":13: {how}{bound} -> {written} (observed " in change.text


def test_a_bound_that_stays_as_it_is_is_no_change(run):
    before = HEAD + "bounds:\n" + phantom("hit@10 >= 0.5") + TAIL
    assert run(before, every=True, edit=only_square) == (before, [])


def test_what_cannot_be_resolved_stays_and_the_next_bound_does_not(run):
    def at_chance(cells):
        return [c | {"chance": {"hit@10": 0.9, "median_rank": 32.0}} for c in only_square(cells)]

    text, (stays, comes) = run(
        HEAD + "bounds:\n" + phantom("hit@10 >= 0.2", "median_rank <= 60") + TAIL,
        every=True,
        edit=at_chance,
    )
    assert "      - hit@10 >= 0.2\n      - median_rank <= 6\n" in text
    assert (stays.done, comes.done) == (False, True)
    assert "hit@10 >= 0.2 is unchanged: hit@10 is 0.600 at chance 0.900: not" in stays.text
    assert ":13: " in stays.text
    assert "median_rank <= 60" in comes.text
    assert "median_rank <= 6 (observed median_rank 5.000 [1.000, 6.000], n = 4000)" in comes.text
    assert ":14: " in comes.text


def test_the_comment_stands_above_its_rule_and_takes_its_own_place(run):
    before = HEAD + "bounds:\n  # Ours.\n" + phantom("hit@10 >= 0.2") + TAIL
    text, _ = run(before, every=True, edit=only_square)
    mark = "  # --robustness-update 2026-11-24: hit@10 0.550 [0.510, 0.580], n = 4000,"
    expected = f"  # Ours.\n{mark} weights 0123456789ab\n{phantom('hit@10 >= 0.5')}"
    assert text == HEAD + "bounds:\n" + expected + TAIL

    def lower(cells):
        return [
            c | {"metrics": {"hit@10": {"value": 0.45, "low": 0.41, "high": 0.48}}}
            for c in only_square(cells)
        ]

    again, _ = run(text, every=True, edit=lower)
    mark = "  # --robustness-update 2026-11-24: hit@10 0.450 [0.410, 0.480], n = 4000,"
    expected = f"  # Ours.\n{mark} weights 0123456789ab\n{phantom('hit@10 >= 0.4')}"
    assert again == HEAD + "bounds:\n" + expected + TAIL


def test_a_comment_that_stands_apart_is_not_the_rule_s(run):
    apart = "  # --robustness-update 2020-01-01: of another rule\n\n"
    text, _ = run(
        HEAD + "bounds:\n" + apart + phantom("hit@10 >= 0.2") + TAIL, every=True, edit=only_square
    )
    assert apart in text
    assert text.count("# --robustness-update") == 2


# --- nothing to write -----------------------------------------------------------------------

BOUNDED = "every measurement has a bound"


def idle(path, text, *, every):
    """Why an update of this file from what :func:`observed` saw has nothing to write."""
    path.write_text(HEAD + "bounds:\n" + text + TAIL)
    thresholds = load(path)
    cells = observed(thresholds)
    assert updated(thresholds, cells, STAMP, every=every) == (path.read_text(), [])
    return unchanged_reason(thresholds, cells, every=every)


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("{level: 0, require: [hit@10 >= 0.2]}", "no rule names a model; only rules that name one"),
        (
            "{model: phantom, level: 0, require: [hit@10 >= 2 * chance]}",
            "no bound in a rule that names a model is a number",
        ),
        (
            "{model: clip, level: 0, require: [hit@10 >= 0.2]}",
            "no rule that names a model applies to what was measured",
        ),
        ("{model: phantom, level: 0, require: [hit@10 >= 0.8]}", None),
    ],
)
def test_nothing_to_write_is_said_with_its_cause(tmp_path, rule, why):
    path = tmp_path / "thresholds.yaml"
    text = f"  - {{require: [hit@10 >= 0.1]}}\n  - {rule}\n"
    assert idle(path, text, every=False) == BOUNDED
    said = idle(path, text, every=True)
    if why is None:
        assert said == "the bounds already equal those of this run"
    else:
        assert said.startswith(f"{BOUNDED}, and {why}")


def test_a_run_that_measured_nothing_has_nothing_to_write(tmp_path):
    path = tmp_path / "thresholds.yaml"
    path.write_text(FILE)
    thresholds = load(path)
    cells = [cell | {"metrics": {}} for cell in observed(thresholds)]
    for every in (False, True):
        assert updated(thresholds, cells, STAMP, every=every) == (FILE, [])
        assert unchanged_reason(thresholds, cells, every=every) == "nothing was measured"

"""Forged records and incomplete runs: none passes."""

from __future__ import annotations

import json

import pytest
from support.sabotages import SABOTAGES

TAMPERING = {
    "fewer_measurements": "del cells[1:]",
    "fewer_queries": "for cell in cells: cell['n'] -= 1",
    "empty_level": "if level: del cells[:]",
    "malformed_record": (
        "many = [replace(each, n='many') for each in getattr(record, 'measurements', ())];"
        " return replace(record, measurements=tuple(many)) if many else record"
    ),
    "missing_metric": "for cell in cells: del cell['metrics']['hit@5']",
    "nan_metric": "for cell in cells: cell['metrics']['hit@5']['value'] = float('nan')",
    "untried_property": "if own: own['examples'] = 0",
    "missing_patients": "if cells: del data['queries']['patients'][0]",
    "missing_resamples": (
        "for each in data.get('curve', []): del each['replicates']['resampled'][5:]"
    ),
    "missing_ranks": "if cells: data['ranks'].pop()",
}


@pytest.mark.parametrize("line", TAMPERING.values(), ids=TAMPERING)
def test_a_record(sabotaged, line):
    sabotaged.tamper(line)
    sabotaged.caught("--robustness-save=kept")
    saved = list(sabotaged.path.glob(".robustness/baselines/*"))
    assert bool(saved) == (sabotaged.sabotage.name == "untried_property")


def test_no_record(sabotaged):
    (sabotaged.path / "conftest.py").write_text(
        "import pytest\n"
        "@pytest.fixture\n"
        "def robustness_record(robustness_record):\n"
        "    return lambda record: None if getattr(record, 'case', '').endswith('-30')"
        " else robustness_record(record)\n"
    )
    sabotaged.caught("--robustness-save=kept")
    assert not list(sabotaged.path.glob(".robustness/baselines/*"))


def test_dropped_bound(sabotaged):
    sabotaged.edit("hit@5 >= 0.4", "mrr >= 0.1, hit@1 >= 1")
    sabotaged.tamper(
        "for cell in cells: cell.update(verdict='pass', reason='ok', bounds=cell['bounds'][:1])"
    )
    sabotaged.caught()


def test_false_pass(sabotaged):
    sabotaged.edit("hit@5 >= 0.4", "hit@1 >= 1")
    sabotaged.tamper("for cell in cells: cell.update(verdict='pass', reason='ok')")
    sabotaged.caught()


def test_forged_limit(sabotaged):
    sabotaged.edit("hit@5 >= 0.4", "hit@1 >= 1")
    sabotaged.tamper(
        "for cell in cells: cell.update(verdict='pass', reason='ok');"
        " cell['bounds'][0]['limit'] = 0"
    )
    sabotaged.caught()


EXCUSES = {"false_excuse": "", "false_excuse_unmeasured": "; cell['metrics'] = {}"}


@pytest.mark.parametrize("kept", EXCUSES.values(), ids=EXCUSES)
def test_an_excuse(sabotaged, kept):
    sabotaged.edit("hit@5 >= 0.4", "hit@1 >= 1")
    excuse = "verdict='not_measured', reason='weights_absent'"
    sabotaged.tamper(f"for cell in cells * bool(level): cell.update({excuse}){kept}")
    assert "only an optional model" in sabotaged.caught()


def test_false_excuse_of_property(sabotaged):
    sabotaged.tamper("if own: own.update(verdict='not_measured', reason='weights_absent')")
    assert "only an optional model" in sabotaged.caught()


VACUOUS = {
    "small_subset": ("subset: 12", "subset: 10"),
    "boundless_tolerance": ("noise: 0.1", "noise: 0.1, tolerance: 1"),
    "clean_search": ("max_level: 0.3", "max_level: 0"),
}


@pytest.mark.parametrize("edit", VACUOUS.values(), ids=VACUOUS)
def test_a_property(sabotaged, edit):
    sabotaged.edit(*edit)
    sabotaged.caught()
    failed = [p for p in sabotaged.repository.results()["properties"] if p["verdict"] == "fail"]
    assert len(failed) == 1


def test_nothing_hidden(sabotaged):
    sabotaged.edit("levels: [0, 0.3]", "levels: [0, 1e-7]")
    sabotaged.edit("level: 0.3", "level: 1e-7")
    assert "0 of the images' area is hidden where 1e-07 is asked for" in sabotaged.caught()


def test_forged_ranks(sabotaged):
    sabotaged.tamper(
        "for each in data.get('ranks', []):"
        " each['counts']['greater'] = [12] * len(each['counts']['greater'])"
    )
    assert "by the ranks reported" in sabotaged.caught("--robustness-save=kept")


def test_deselected(sabotaged):
    assert "not measured: 6 (not run: deselected or skipped)" in sabotaged.caught("-k", "square-0")


def test_skipped(sabotaged):
    (sabotaged.path / "conftest.py").write_text(
        "import pytest\n"
        "def pytest_runtest_setup(item):\n"
        "    if 'square-30' in item.name:\n"
        "        pytest.skip('slow')\n"
    )
    sabotaged.caught()


def test_teardown_error(sabotaged):
    (sabotaged.path / "conftest.py").write_text(
        "def pytest_runtest_teardown(item):\n"
        "    if 'square-30' in item.name:\n"
        "        raise RuntimeError('around it')\n"
    )
    sabotaged.caught()


def test_interrupted(sabotaged):
    text = sabotaged.caught(model="my_sabotage:interrupt")
    assert "not measured: 8 (not run: the run ended before it)" in text


def test_stopped(sabotaged):
    (sabotaged.path / "test_a.py").write_text(
        "import pytest\n@pytest.mark.robustness\ndef test_own():\n    pytest.fail(pytrace=False)\n"
    )
    sabotaged.caught("-x")


def test_worker_crash(sabotaged):
    arguments = ("-n", "2", "--max-worker-restart=0")
    text = sabotaged.caught(*arguments, model="my_models:die", apart=True)
    assert "(not run: worker gw" in text


def test_late_worker_crash(sabotaged):
    """Call the hook as pytest-xdist does if a worker dies during its shutdown."""
    (sabotaged.path / "conftest.py").write_text(
        "import pytest\n"
        "from types import SimpleNamespace as Of\n"
        "@pytest.hookimpl(wrapper=True)\n"
        "def pytest_sessionfinish(session):\n"
        "    node = Of(gateway=Of(id='gw1'))\n"
        "    session.config.hook.pytest_testnodedown(node=node, error='Not properly terminated')\n"
        "    return (yield)\n"
    )
    assert "verdict: FAIL (worker gw1 crashed; measurements" in sabotaged.caught()


def test_killed(sabotaged):
    report = sabotaged.path / ".robustness" / "report"
    report.mkdir(parents=True)
    (report / "results.json").write_text(json.dumps({"verdict": "pass"}))
    (report / "report.html").write_text("pass")
    sabotaged.caught(model="my_sabotage:killed", apart=True)
    assert not (report / "report.html").exists()
    results = sabotaged.repository.results()
    assert {cell["verdict"] for cell in results["measurements"]} == {"not_measured"}


def test_weights_replaced(sabotaged):
    (sabotaged.path / "weights.txt").write_text("weights")
    weights = "--robustness-weights=my_sabotage:replaced=weights.txt"
    text = sabotaged.caught(weights, "-n", "2", model="my_sabotage:replaced", apart=True)
    assert "processes of this run measured different things" in text


def test_thresholds_replaced(sabotaged):
    """The file changes while pytest-xdist starts its workers."""
    sabotaged.edit("bound: hit@10 >= 0.1", "bound: hit@1 >= 1")
    (sabotaged.path / "conftest.py").write_text(
        "def pytest_configure(config):\n"
        "    if hasattr(config, 'workerinput'):\n"
        "        file = config.rootpath / 'thresholds.yaml'\n"
        "        file.write_text(file.read_text().replace('hit@1 >= 1', 'hit@1 >= 0'))\n"
    )
    text = sabotaged.caught("-n", "1", apart=True)
    assert "measured different things: thresholds.yaml changed after the run began" in text


def test_two_sets(sabotaged):
    """A record reports another evaluation set."""
    sabotaged.edit("models:\n", "models:\n  other: {loader: robustness.models.phantom:load}\n")
    sabotaged.tamper(
        "if level is not None and cells[0]['model'] == 'other':"
        " data['protocol']['evalset']['fingerprint'] = 'of another set'"
    )
    assert "measured different things: the evaluation set" in sabotaged.caught()


def test_page_broken(sabotaged, monkeypatch):
    def broken(_results):
        raise ZeroDivisionError("of the page")

    monkeypatch.setattr("robustness.report._files.html", broken)
    sabotaged.caught()


def test_report_folder_lost(sabotaged):
    (sabotaged.path / "conftest.py").write_text(
        "import pytest, shutil\n"
        "@pytest.hookimpl(wrapper=True)\n"
        "def pytest_sessionfinish(session):\n"
        "    folder = session.config.rootpath / 'report'\n"
        "    shutil.rmtree(folder)\n"
        "    folder.write_text('a file')\n"
        "    return (yield)\n"
    )
    assert "results.json cannot be written" in sabotaged.caught("--robustness-report=report")


def test_report_folder_taken(sabotaged):
    (sabotaged.path / "report").write_text("a file")
    assert "results.json cannot be written" in sabotaged.caught("--robustness-report=report")


def test_every_record_is_in_the_table():
    assert SABOTAGES.keys() >= TAMPERING.keys()

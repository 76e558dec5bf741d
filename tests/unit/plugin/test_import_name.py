"""Another distribution that installs a package named ``robustness``."""

from __future__ import annotations

import pytest

from robustness._util.environment import other_owners
from robustness.plugin.preflight import require_import_name


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install the metadata of a distribution, as a wheel has it."""

    def make(name: str, files: dict[str, str]) -> None:
        folder = tmp_path / f"{name}-1.2.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        for file, text in files.items():
            (folder / file).write_text(text)

    monkeypatch.syspath_prepend(tmp_path)
    return make


BY_TOP_LEVEL = {"top_level.txt": "robustness\n", "RECORD": ""}
BY_RECORD = {"RECORD": "README,,\nrobustness/attacker.py,,\n"}


@pytest.mark.parametrize("files", [BY_TOP_LEVEL, BY_RECORD])
def test_another_owner_of_the_package_is_found(install, files):
    install("robustness", files)
    assert other_owners("robustness", "robustness-gate") == ["robustness 1.2"]
    with pytest.raises(pytest.UsageError) as caught:
        require_import_name()
    message = str(caught.value)
    assert "robustness 1.2 installs a package named 'robustness'" in message
    assert "pip uninstall -y robustness robustness-gate" in message
    assert message.endswith("[import_name_shared]")
    assert "\n" not in message


@pytest.mark.parametrize(
    "files",
    [
        {"top_level.txt": "robustness_gym\n", "RECORD": "robustness/x.py,,\n"},
        {"RECORD": "robustness_gym/__init__.py,,\nother/robustness/x.py,,\n"},
        {},
    ],
)
def test_similar_names_are_no_conflict(install, files):
    install("robustness-gym", files)
    assert other_owners("robustness", "robustness-gate") == []
    require_import_name()


def test_the_run_is_refused_in_one_line(install, small):
    install("robustness", BY_TOP_LEVEL)
    outcome = small.gate()
    assert outcome.ret == 4
    assert "installs a package named 'robustness'" in outcome.stderr.str()

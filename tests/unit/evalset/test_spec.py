"""Specifications of evaluation sets: options, paths and required libraries."""

from __future__ import annotations

import importlib.util
import re
import sys
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.open_i_files import frontal_like, write_dicom, write_image, write_study, write_table
from support.table_files import png, write_rows

from robustness import evalset, extras
from robustness.__main__ import main
from robustness.errors import EvaluationSetError, GateError, UsageError
from robustness.evalset import _spec

ALLOWED = {"side": "pixels", "report": "a column", "split": "a split"}


# --- options -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rest", "place", "options"),
    [
        ("set.csv", "set.csv", {}),
        ("set.csv,side=native", "set.csv", {"side": "native"}),
        ("set.csv,side=64,report=Text of it", "set.csv", {"side": "64", "report": "Text of it"}),
        ("set.csv,report=", "set.csv", {"report": ""}),
        ("set.csv,report=a=b", "set.csv", {"report": "a=b"}),
        ("{a,b}.tar,side=64", "{a,b}.tar", {"side": "64"}),
        ("a,b", "a,b", {}),
        ("a,B=c.csv", "a,B=c.csv", {}),
        ("a=b.csv", "a=b.csv", {}),
        ("C:\\set.csv,side=64", "C:\\set.csv", {"side": "64"}),
        ("a\nb.csv,side=64", "a\nb.csv", {"side": "64"}),
    ],
)
def test_options_are_at_the_end(rest, place, options):
    assert _spec.split("kind", rest, ALLOWED) == (place, options)


@given(
    st.text(st.characters(exclude_characters=","), min_size=1),
    st.dictionaries(
        st.sampled_from(sorted(ALLOWED)), st.text(st.characters(exclude_characters=","))
    ),
)
def test_a_place_and_its_options_come_back(place, options):
    rest = place + "".join(f",{key}={value}" for key, value in options.items())
    assert _spec.split("kind", rest, ALLOWED) == (place, options)


PLACES = [
    ("phantom:64:3", "phantom:64:3"),
    ("manifest:set.csv", "manifest:conf/set.csv"),
    ("manifest:../set.csv", "manifest:conf/../set.csv"),
    ("manifest:/set.csv,report=a/b", "manifest:/set.csv,report=a/b"),
    ("manifest:~/set.csv", "manifest:~/set.csv"),
    (
        "manifest:a/set.csv,side=64,root=b,report=c",
        "manifest:conf/a/set.csv,side=64,root=conf/b,report=c",
    ),
    ("manifest:set.csv,root=/b", "manifest:conf/set.csv,root=/b"),
    ("hf:a,root=~/b,split=test", "hf:conf/a,root=~/b,split=test"),
    ("open_i:a,view=all", "open_i:conf/a,view=all"),
    ("mimic_cxr:.,reports=b", "mimic_cxr:conf,reports=b"),
    ("webdataset:{a,b}/*.tar", "webdataset:conf/{a,b}/*.tar"),
]
"""Specifications in a file in the folder ``conf``, and the same from the working folder."""


@pytest.mark.parametrize(("spec", "here"), PLACES)
def test_paths_in_a_file_are_relative_to_its_folder(spec, here):
    assert evalset.resolve_spec(spec, Path("conf")) == here
    assert evalset.resolve_spec(here, Path()) == here


def test_every_kind_has_a_path_case():
    assert {spec.partition(":")[0] for spec, _ in PLACES} == set(evalset.KINDS)


def test_invalid_specification_is_quoted_as_written():
    with pytest.raises(UsageError, match=r"'manifest:a\.csv,sied=8': unknown option 'sied'"):
        evalset.resolve_spec("manifest:a.csv,sied=8", Path("conf"))
    with pytest.raises(UsageError, match="unknown evaluation set 'imagenet:5'"):
        evalset.resolve_spec("imagenet:5", Path("conf"))


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("", "'kind:' names no file or folder"),
        (",side=64", "'kind:,side=64' names no file or folder"),
        ("a,sides=64", "unknown option 'sides'; allowed: side=pixels; report=a column; split="),
        ("a,side=1,side=2", "duplicate option 'side'"),
    ],
)
def test_invalid_options(rest, message):
    with pytest.raises(UsageError, match=message):
        _spec.split("kind", rest, ALLOWED)


@pytest.mark.parametrize("value", ["16", "1024", "65536", "native"])
def test_sides(value):
    expected = None if value == "native" else int(value)
    assert _spec.side("kind", {"side": value}) == expected


@pytest.mark.parametrize(
    "value", ["15", "65537", "-64", "0", "", "1e3", "64.0", "²", "٦٤", "9" * 5000]
)
def test_invalid_sides(value):
    with pytest.raises(
        UsageError, match=r"evaluation set kind: option side is .*; allowed are maximum pixels"
    ):
        _spec.side("kind", {"side": value})


def test_choices():
    assert _spec.choice("kind", {}, "split", ("test", "train")) == "test"
    assert _spec.choice("kind", {"split": "train"}, "split", ("test", "train")) == "train"
    with pytest.raises(UsageError, match="option split is 'dev'; allowed are test, train"):
        _spec.choice("kind", {"split": "dev"}, "split", ("test", "train"))


# --- paths -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(set(evalset.KINDS) - {"phantom"}))
@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("~nobody-of-that-name/a.csv", "cannot be accessed: "),
        ("a" * 300 + ".csv", "cannot be accessed: File name too long"),
        ("a\0b.csv", "cannot be accessed: embedded null byte"),
        ("loop.csv", "cannot be accessed: Too many levels of symbolic links"),
        ("file/a.csv", "no (file|folder|shard) file/a.csv"),
        ("a\n\x1b[31mb.csv", r"no (file|folder|shard|shard matches) a\\n\\x1b\[31mb.csv"),
    ],
    ids=lambda value: ascii(value[:12]),
)
def test_inaccessible_paths(tmp_path, monkeypatch, kind, place, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    for read in (evalset.check_spec, evalset.load):
        with pytest.raises(UsageError, match=message) as caught:
            read(f"{kind}:{place}")
        assert str(caught.value).isprintable()


def test_home_folder_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.png").write_bytes(png())
    write_rows(tmp_path / "set.csv", ["image", "report"], ["a.png", "Clear."])
    with tarfile.open(tmp_path / "0.tar", "w") as archive:
        archive.add(tmp_path / "a.png", "a.png")
        archive.add(tmp_path / "set.csv", "a.txt")
    assert len(evalset.load("manifest:~/set.csv,root=~")) == 1
    assert len(evalset.load("webdataset:~/{0..0}.tar")) == 1


@given(st.text())
def test_an_error_is_one_line_whatever_it_quotes(text):
    message = str(GateError(f"before {text} after"))
    assert message.isprintable()
    assert message.startswith("before ")
    if text.isprintable():
        assert message == f"before {text} after"


# --- missing libraries ---------------------------------------------------------------------


@pytest.fixture
def sets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.png").write_bytes(png())
    (tmp_path / "saved").mkdir()
    for name in ("a.parquet", "saved/state.json", "0.tar"):
        (tmp_path / name).write_bytes(b"{}")
    write_rows(tmp_path / "a.csv", ["image", "report"], ["a.png", "Clear."])


def without(monkeypatch, *modules):
    """Make libraries look as if they were not installed."""
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        extras, "find_spec", lambda name: None if name in modules else find_spec(name)
    )
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)


@pytest.mark.parametrize(
    ("spec", "module", "extra"),
    [
        ("manifest:a.parquet", "pyarrow", "parquet"),
        ("hf:saved", "datasets", "hf"),
        ("webdataset:0.tar", "webdataset", "webdataset"),
        ("webdataset:0.tar", "braceexpand", "webdataset"),
    ],
)
def test_missing_library_is_named_with_the_install_command(sets, monkeypatch, spec, module, extra):
    without(monkeypatch, module)
    kind = re.escape("manifest:*.parquet" if module == "pyarrow" else spec.partition(":")[0])
    message = (
        rf"evaluation set {kind} needs {module}, which is not installed:"
        rf" pip install 'robustness-gate\[{extra}\]'"
    )
    for read in (evalset.check_spec, evalset.load):
        with pytest.raises(UsageError, match=f"^{message}$"):
            read(spec)


def test_a_folder_of_a_library_s_name_is_not_the_library(sets, tmp_path, monkeypatch):
    (tmp_path / "datasets").mkdir()
    elsewhere = [name for name in sys.path if "site-packages" not in name]
    monkeypatch.setattr(sys, "path", [str(tmp_path), *elsewhere])
    for name in [name for name in sys.modules if name.partition(".")[0] == "datasets"]:
        monkeypatch.delitem(sys.modules, name)
    assert importlib.util.find_spec("datasets").origin is None
    with pytest.raises(
        UsageError, match="evaluation set hf needs datasets, which is not installed"
    ):
        evalset.check_spec("hf:saved")


def test_libraries_are_only_needed_by_their_kind(sets, monkeypatch):
    modules = ("pyarrow", "datasets", "webdataset", "braceexpand", "pandas")
    without(monkeypatch, *modules, "pydicom", "imagecodecs")
    loaded = evalset.load("manifest:a.csv")
    assert loaded.decode(loaded.pairs[0]).ndim == 2
    assert evalset.load("phantom:1")
    for spec in ("manifest:a.parquet", "hf:saved", "webdataset:0.tar"):
        with pytest.raises(UsageError, match="which is not installed: pip install"):
            evalset.check_spec(spec)


def test_checking_reads_and_imports_nothing(sets, monkeypatch):
    """Invalid content is only detected by ``load``."""
    for spec in ("manifest:a.parquet", "hf:saved", "webdataset:0.tar"):
        evalset.check_spec(spec)
        with pytest.raises(EvaluationSetError):
            evalset.load(spec)


@pytest.fixture
def dicom_sets(tmp_path, monkeypatch):
    """Sets of each kind with one DICOM file, by specification."""
    monkeypatch.chdir(tmp_path)
    write_dicom(tmp_path / "x.dcm", frontal_like())
    (tmp_path / "without_suffix").write_bytes((tmp_path / "x.dcm").read_bytes())
    for table, image in (("a.csv", "x.dcm"), ("b.csv", "without_suffix")):
        write_rows(tmp_path / table, ["image", "report"], [image, "Clear."])
    with tarfile.open(tmp_path / "0.tar", "w") as archive:
        archive.add(tmp_path / "x.dcm", "x.dcm")
        archive.add(tmp_path / "a.csv", "x.txt")
    import datasets

    rows = {"image": [(tmp_path / "x.dcm").read_bytes()], "report": ["Clear."]}
    datasets.Dataset.from_dict(rows).save_to_disk(tmp_path / "saved")
    for root in ("scored", "listed"):
        write_study(tmp_path / root, 1, images=["CXR1_1_IM-0001-4001", "CXR1_1_IM-0001-4002"])
        write_image(tmp_path / root, "CXR1_1_IM-0001-4002.png", frontal_like())
        write_dicom(tmp_path / root / "images/1_IM-0001-4001.dcm", frontal_like())
    rows = [f"1,1_IM-0001-400{i}.dcm.png,Frontal" for i in (1, 2)]
    write_table(tmp_path / "listed", rows)


@pytest.mark.parametrize("module", ["pydicom", "imagecodecs"])
@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("manifest:a.csv", "x.dcm"),
        ("manifest:b.csv", "without_suffix"),
        ("webdataset:0.tar", "0.tar: x.dcm"),
        ("hf:saved", "saved, row 0"),
        ("open_i:scored", "1_IM-0001-4001.dcm"),
        ("open_i:listed", "1_IM-0001-4001.dcm"),
    ],
)
def test_dicom_without_its_libraries_is_one_error_at_load(
    dicom_sets, monkeypatch, capsys, spec, name, module
):
    loaded = evalset.load(spec)
    assert loaded.decode(loaded.pairs[0]).ndim == 2
    without(monkeypatch, module)
    monkeypatch.setattr(evalset.EvaluationSet, "__post_init__", lambda _self: pytest.fail("late"))
    expected = (
        rf"^image [^\n]*{re.escape(name)}, a DICOM file, needs {module}, which is not installed:"
        r" pip install 'robustness-gate\[dicom\]'$"
    )
    with pytest.raises(UsageError, match=expected):
        evalset.load(spec)
    assert main(["evalset", spec, "--decode"]) == 2
    printed = capsys.readouterr()
    assert re.fullmatch(expected, printed.err.rstrip("\n"))
    assert not printed.out

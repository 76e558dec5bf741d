"""The ``--robustness-*`` options, and the plan made from them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from robustness._util.files import shortest
from robustness.errors import Code, GateError, UsageError

if TYPE_CHECKING:
    from robustness.plan import Plan

UPDATES = ("new", "all")

OPTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        "models",
        {
            "metavar": "NAMES",
            "action": "append",
            "default": [],
            "help": "models to test, separated by commas: names from the thresholds file, loaders"
            " package.module:function, open_clip:NAME or transformers:NAME (default: every model"
            " in the thresholds file that is not on_request)",
        },
    ),
    (
        "evalset",
        {
            "metavar": "SPEC",
            "help": "evaluation set: phantom:N, open_i:DIR, mimic_cxr:DIR, manifest:FILE, hf:DIR or"
            " webdataset:SHARDS, with options such as DIR,view=all (default: from the thresholds"
            " file)",
        },
    ),
    (
        "thresholds",
        {
            "metavar": "FILE",
            "help": "what is measured and required (default: thresholds.yaml in the root folder)",
        },
    ),
    (
        "weights",
        {
            "metavar": "NAME=PATH",
            "action": "append",
            "default": [],
            "help": "checkpoint of a model; repeatable",
        },
    ),
    (
        "option",
        {
            "metavar": "NAME:KEY=VALUE",
            "action": "append",
            "default": [],
            "help": "option of a model's loader, such as cxr_clip:tokenizer=vocab.txt; repeatable",
        },
    ),
    (
        "device",
        {
            "metavar": "DEVICE",
            "default": "auto",
            "help": "torch device (default: auto, which is CUDA if available, else the CPU)",
        },
    ),
    (
        "batch-size",
        {
            "metavar": "N",
            "type": int,
            "default": 64,
            "help": "images or texts per forward pass (default: 64)",
        },
    ),
    (
        "precision",
        {
            "metavar": "TYPE",
            "default": "float32",
            "help": "precision of the forward passes: float32, bfloat16 or float16 (default:"
            " float32); scores and ranks are always float32",
        },
    ),
    (
        "store",
        {
            "metavar": "DIR",
            "help": "folder of stored embeddings (default: .robustness/store in the root folder)",
        },
    ),
    (
        "report",
        {
            "metavar": "DIR",
            "help": "folder of results.json and report.html (default: .robustness/report in the"
            " root folder)",
        },
    ),
    (
        "save",
        {
            "metavar": "NAME",
            "help": "save the ranks of this run as the newest baseline of that name",
        },
    ),
    (
        "compare",
        {
            "metavar": "NAME|FILE",
            "nargs": "?",
            "const": "",
            "help": "compare this run with a baseline, query by query: its name, number or file"
            " (without a value: the newest)",
        },
    ),
    (
        "compare-fail",
        {
            "metavar": "METRIC:DROP",
            "help": "tolerated drop, such as hit@10:1pt (default: regression settings of the"
            " thresholds file)",
        },
    ),
    (
        "baselines",
        {
            "metavar": "DIR",
            "help": "folder of baselines (default: .robustness/baselines in the root folder)",
        },
    ),
    (
        "update",
        {
            "choices": UPDATES,
            "help": "write observed bounds to the thresholds file: new, for measurements"
            " without a bound; all, for every bound that is a number",
        },
    ),
    (
        "replay",
        {
            "metavar": "OCCLUSION",
            "help": "let property cases try only this occlusion, pattern:level:fill:seed",
        },
    ),
)

_PLAN: pytest.StashKey[Plan] = pytest.StashKey()

NOT_REPEATED = ("--robustness-replay", "--robustness-save", "--robustness-update")
"""Options that a suggested command, which repeats part of a run, leaves out."""


def add(parser: pytest.Parser) -> None:
    """Add the options to pytest's parser."""
    group = parser.getgroup("robustness", "robustness of image-report retrieval")
    for name, settings in OPTIONS:
        group.addoption(f"--robustness-{name}", dest=_dest(name), **settings)


def usage_error(error: GateError) -> pytest.UsageError:
    """Return the error that makes pytest end with exit status 4."""
    return pytest.UsageError(f"{error} [{error.code}]")


def plan_of(config: pytest.Config) -> Plan:
    """Return the run's plan; read it at the first call.

    Raises:
        pytest.UsageError: An option or the thresholds file is invalid.
    """
    if _PLAN not in config.stash:
        try:
            config.stash[_PLAN] = read_plan(config)
        except UsageError as error:
            raise usage_error(error) from error
    return config.stash[_PLAN]


def known_plan(config: pytest.Config) -> Plan | None:
    """Return the run's plan if it was read."""
    return config.stash.get(_PLAN, None)


def _dest(name: str) -> str:
    return f"robustness_{name.replace('-', '_')}"


def non_default_options(config: pytest.Config) -> tuple[str, ...]:
    """Return the robustness options that differ from their defaults, as arguments."""
    arguments = []
    for name, settings in OPTIONS:
        value = config.getoption(_dest(name))
        if value != settings.get("default"):
            values = value if isinstance(value, list) else [value]
            arguments += [f"--robustness-{name}={item}" for item in values]
    return tuple(arguments)


def cli_option_names(config: pytest.Config) -> tuple[str, ...]:
    """Return the names of the robustness options on the command line, without ``addopts``."""
    names = (str(argument).partition("=")[0] for argument in config.invocation_params.args)
    return tuple(dict.fromkeys(name for name in names if name.startswith("--robustness-")))


def path_arguments(config: pytest.Config) -> tuple[str, ...]:
    """Return the test paths and node ids of the command line, as arguments."""
    if config.args_source is not pytest.Config.ArgsSource.ARGS:
        return ()
    return (*(["--pyargs"] if config.option.pyargs else []), *config.args)


def config_arguments(config: pytest.Config) -> tuple[str, ...]:
    """Return pytest's configuration options (``-c``, ``--rootdir``, ``-o``), as arguments."""
    file, root = config.option.inifilename, config.option.rootdir
    return (
        *(["-c", str(file)] if file else []),
        *([f"--rootdir={root}"] if root else []),
        *(part for setting in config.option.override_ini or () for part in ("-o", setting)),
    )


def folder(config: pytest.Config, name: str) -> Path:
    """Return the folder of ``--robustness-store``, ``-report`` or ``-baselines``."""
    path: str | None = config.getoption(_dest(name))
    if path is None or not path.strip():
        # An empty value is rejected later; until then it must not mean the current folder.
        return config.rootpath / ".robustness" / name
    return config.invocation_params.dir / Path(path).expanduser()


def thresholds(config: pytest.Config) -> Path:
    """Return the path of the thresholds file, which may not exist."""
    path: str | None = config.getoption(_dest("thresholds"))
    if path is None:
        return config.rootpath / "thresholds.yaml"
    return config.invocation_params.dir / Path(path).expanduser()


def _require_values(config: pytest.Config) -> None:
    """Reject options with an empty value, which an unset shell variable produces."""
    for name, settings in OPTIONS:
        value = config.getoption(_dest(name))
        values = value if isinstance(value, list) else [value]
        if any(isinstance(item, str) and not item.strip() for item in values):
            if settings.get("const") == value:
                continue
            raise UsageError(
                f"--robustness-{name} is empty; give it a value or omit it", Code.OPTION_EMPTY
            )


def read_plan(config: pytest.Config) -> Plan:
    """Read the thresholds file and return the plan.

    Raises:
        UsageError: An option or the thresholds file is invalid.
    """
    from robustness import plan as plans

    _require_values(config)
    names = ",".join(config.getoption(_dest("models"))).split(",")
    return plans.make(
        thresholds=shortest(thresholds(config)),
        models=[name.strip() for name in names if name.strip()],
        weights=config.getoption(_dest("weights")),
        options=config.getoption(_dest("option")),
        evalset=config.getoption(_dest("evalset")),
        device=config.getoption(_dest("device")),
        batch_size=config.getoption(_dest("batch-size")),
        precision=config.getoption(_dest("precision")),
        store=folder(config, "store"),
        report=folder(config, "report"),
        replay=config.getoption(_dest("replay")),
        baselines=folder(config, "baselines"),
        save=config.getoption(_dest("save")),
        compare=config.getoption(_dest("compare")),
        compare_fail=config.getoption(_dest("compare-fail")),
        update=config.getoption(_dest("update")),
        arguments=[
            *config_arguments(config),
            *path_arguments(config),
            *(a for a in non_default_options(config) if not a.startswith(NOT_REPEATED)),
        ],
    )

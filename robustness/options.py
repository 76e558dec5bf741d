"""The command line's ``--robustness-*`` options, and the plan they make."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from robustness.errors import GateError, UsageError
from robustness.files import shortest

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
            "help": "models under test, by comma: names in the thresholds file, loaders"
            " package.module:function, or open_clip:NAME, transformers:NAME (default: every"
            " model in the file that is not on_request)",
        },
    ),
    (
        "evalset",
        {
            "metavar": "SPEC",
            "help": "evaluation set: phantom:N, open_i:DIR, mimic_cxr:DIR, manifest:FILE, hf:DIR or"
            " webdataset:SHARDS, and options such as DIR,view=all (default: the thresholds file's)",
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
            "help": "a model's checkpoint; may be given several times",
        },
    ),
    (
        "option",
        {
            "metavar": "NAME:KEY=VALUE",
            "action": "append",
            "default": [],
            "help": "an option of a model's loader, such as cxr_clip:tokenizer=vocab.txt; may be"
            " given several times",
        },
    ),
    (
        "device",
        {
            "metavar": "DEVICE",
            "default": "auto",
            "help": "torch device (default: auto, CUDA where there is one, else the CPU)",
        },
    ),
    (
        "batch-size",
        {
            "metavar": "N",
            "type": int,
            "default": 64,
            "help": "images or texts a forward pass (default: 64)",
        },
    ),
    (
        "precision",
        {
            "metavar": "TYPE",
            "default": "float32",
            "help": "what the models' forward passes compute in: float32, bfloat16 or float16"
            " (default: float32); scores and ranks are float32 always",
        },
    ),
    (
        "store",
        {
            "metavar": "DIR",
            "help": "where embeddings are kept (default: .robustness/store in the root folder)",
        },
    ),
    (
        "report",
        {
            "metavar": "DIR",
            "help": "where results.json goes (default: .robustness/report in the root folder)",
        },
    ),
    (
        "save",
        {
            "metavar": "NAME",
            "help": "keep the ranks of this run as the newest baseline of that name",
        },
    ),
    (
        "compare",
        {
            "metavar": "NAME|FILE",
            "nargs": "?",
            "const": "",
            "help": "hold this run against a baseline, query by query: its name, number or file"
            " (default: the newest)",
        },
    ),
    (
        "compare-fail",
        {
            "metavar": "METRIC:DROP",
            "help": "the drop that is tolerated, such as hit@10:1pt (default: the thresholds"
            " file's regression settings)",
        },
    ),
    (
        "baselines",
        {
            "metavar": "DIR",
            "help": "where baselines are kept (default: .robustness/baselines in the root folder)",
        },
    ),
    (
        "update",
        {
            "choices": UPDATES,
            "help": "write bounds to the thresholds file from what this run observes: new, for"
            " measurements that have none; all, anew for every bound that is a number",
        },
    ),
    (
        "replay",
        {
            "metavar": "OCCLUSION",
            "help": "property cases try this occlusion, pattern:level:fill:seed, and no other",
        },
    ),
)

_PLAN: pytest.StashKey[Plan] = pytest.StashKey()

NOT_REPEATED = ("--robustness-replay", "--robustness-save", "--robustness-update")
"""What a command that repeats a part of a run leaves out."""


def add(parser: pytest.Parser) -> None:
    """Declares the options."""
    group = parser.getgroup("robustness", "robustness of image-report retrieval")
    for name, settings in OPTIONS:
        group.addoption(f"--robustness-{name}", dest=_dest(name), **settings)


def refused(error: GateError) -> pytest.UsageError:
    """What pytest shows of a run that cannot be, with exit status 4."""
    return pytest.UsageError(f"{error} [{error.code}]")


def plan_of(config: pytest.Config) -> Plan:
    """The run's plan, read at the first use.

    Raises:
        pytest.UsageError: What is asked for is malformed or unknown.
    """
    if _PLAN not in config.stash:
        try:
            config.stash[_PLAN] = read_plan(config)
        except UsageError as error:
            raise refused(error) from error
    return config.stash[_PLAN]


def known_plan(config: pytest.Config) -> Plan | None:
    """The run's plan, if it was read."""
    return config.stash.get(_PLAN, None)


def _dest(name: str) -> str:
    return f"robustness_{name.replace('-', '_')}"


def given(config: pytest.Config) -> tuple[str, ...]:
    """The robustness options that differ from their defaults, as arguments."""
    arguments = []
    for name, settings in OPTIONS:
        value = config.getoption(_dest(name))
        if value != settings.get("default"):
            values = value if isinstance(value, list) else [value]
            arguments += [f"--robustness-{name}={item}" for item in values]
    return tuple(arguments)


def typed(config: pytest.Config) -> tuple[str, ...]:
    """The names of the robustness options on the command line itself, in no file's ``addopts``."""
    names = (str(argument).partition("=")[0] for argument in config.invocation_params.args)
    return tuple(dict.fromkeys(name for name in names if name.startswith("--robustness-")))


def places(config: pytest.Config) -> tuple[str, ...]:
    """The files, folders or cases that the command line names, as arguments; none by default."""
    if config.args_source is not pytest.Config.ArgsSource.ARGS:
        return ()
    return (*(["--pyargs"] if config.option.pyargs else []), *config.args)


def configuration(config: pytest.Config) -> tuple[str, ...]:
    """What the command line says of pytest's own configuration, as arguments; none by default."""
    file, root = config.option.inifilename, config.option.rootdir
    return (
        *(["-c", str(file)] if file else []),
        *([f"--rootdir={root}"] if root else []),
        *(part for setting in config.option.override_ini or () for part in ("-o", setting)),
    )


def folder(config: pytest.Config, name: str) -> Path:
    """The folder of ``--robustness-store``, ``-report`` or ``-baselines``."""
    path: str | None = config.getoption(_dest(name))
    if path is None or not path.strip():
        # An empty one is refused; until it is, it must not stand for the current folder.
        return config.rootpath / ".robustness" / name
    return config.invocation_params.dir / Path(path).expanduser()


def thresholds(config: pytest.Config) -> Path:
    """The thresholds file, which need not be there."""
    path: str | None = config.getoption(_dest("thresholds"))
    if path is None:
        return config.rootpath / "thresholds.yaml"
    return config.invocation_params.dir / Path(path).expanduser()


def _require_values(config: pytest.Config) -> None:
    """Refuses an option whose value is empty, as a variable that is not set leaves it."""
    for name, settings in OPTIONS:
        value = config.getoption(_dest(name))
        values = value if isinstance(value, list) else [value]
        if any(isinstance(item, str) and not item.strip() for item in values):
            if settings.get("const") == value:
                continue
            raise UsageError(
                f"--robustness-{name} is empty; give it a value, or leave it out", "option_empty"
            )


def read_plan(config: pytest.Config) -> Plan:
    """The plan that the options ask for; opens the thresholds file.

    Raises:
        UsageError: Something asked for is malformed or unknown.
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
            *configuration(config),
            *places(config),
            *(a for a in given(config) if not a.startswith(NOT_REPEATED)),
        ],
    )

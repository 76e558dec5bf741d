"""Restricted unpickler: read the tensors of torch.save and TorchScript files, execute nothing.

A pickle is a program that names functions and calls them. Here only the names that describe
a tensor have an effect. Every other name becomes an inert stub. A name that no checkpoint
needs, such as ``os.system``, stops the reading with an error.

``torch.load(weights_only=True)`` with stubs as safe globals does not replace this module
(tried with torch 2.15): ``get_unsafe_globals_in_checkpoint`` rejects files that are not zip
archives, so the names in a legacy file can be neither replaced by stubs nor reported; the CRC
of a zip entry is not verified; and TorchScript archives are refused.
"""

from __future__ import annotations

import pickle
import struct
import sys
import zipfile
import zlib
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any, Self

import torch
from torch import Tensor

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
"""First number in a file of torch.save from before it wrote zip archives."""

READ_ERRORS = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    MemoryError,
    RuntimeError,
)
"""Errors that the readers of pickles, archives and storages raise for a damaged file."""

_STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}

_ANY = frozenset({"*"})
_BUILTIN_TYPES = frozenset(
    {
        *("bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "getattr", "int"),
        *("list", "object", "range", "set", "slice", "str", "tuple", "type"),
    }
)
# The names of the standard library that configurations contain. They become stubs, too: none
# is ever called. Every other name of the standard library is refused.
_HARMLESS = {
    "_codecs": frozenset({"encode"}),
    "abc": _ANY,
    "argparse": frozenset({"Namespace"}),
    "builtins": _BUILTIN_TYPES,
    "collections": _ANY,
    "copyreg": frozenset({"_reconstructor"}),
    "datetime": _ANY,
    "decimal": _ANY,
    "enum": _ANY,
    "fractions": _ANY,
    "functools": frozenset({"partial", "reduce"}),
    "operator": frozenset({"getitem", "or_"}),
    "pathlib": _ANY,
    "re": frozenset({"_compile"}),
    "types": frozenset({"GenericAlias", "SimpleNamespace"}),
    "typing": _ANY,
    "uuid": _ANY,
}
_ALIASES = {"posix": "os", "nt": "os", "_io": "io", "_pickle": "pickle"}
_LOADERS = {"cloudpickle", "dill", "joblib", "pip", "pkg_resources", "setuptools"}
_DANGEROUS_ROOTS = frozenset(sys.stdlib_module_names) | _LOADERS
_DANGEROUS_PREFIXES = (
    "numpy.f2py",
    "numpy.testing",
    "torch.hub",
    "torch.jit.load",
    "torch.load",
    "torch.ops",
    "torch.package",
    "torch.serialization",
    "torch.utils.cpp_extension",
)


class RefusedPickleError(Exception):
    """A pickle names a function or class that no checkpoint needs."""


class Stub:
    """Inert replacement for an object of any other class; keeps its state, executes nothing."""

    state: object = None

    def __new__(cls, *_args: object, **_options: object) -> Self:
        return object.__new__(cls)

    def __init__(self, *_args: object, **_options: object) -> None:
        """Accept and ignore any arguments."""

    def __call__(self, *_args: object, **_options: object) -> Stub:
        return self

    def __setstate__(self, state: object) -> None:
        self.state = state

    def __setitem__(self, _key: object, _value: object) -> None:
        """Accept and ignore an entry of a mapping."""

    def append(self, _item: object) -> None:
        """Accept and ignore an item of a list."""

    extend = add = append


class Mapping(dict[object, object]):
    """Ordered dictionary of a pickle, without its attributes."""

    def __setstate__(self, _state: object) -> None:
        """Ignore attributes such as the ``_metadata`` of a state dict."""


@dataclass(frozen=True)
class TensorRecord:
    """Unchecked description of a tensor: its storage in the file, and its view of it."""

    storage: Any
    offset: Any
    size: Any
    stride: Any


@dataclass(frozen=True)
class _Storage:
    dtype: torch.dtype
    key: str
    n_elements: int


def _rebuild_tensor(*arguments: object) -> TensorRecord:
    return TensorRecord(*arguments[:4])


def _rebuild_parameter(data: object, *_rest: object) -> object:
    return data


_REBUILT: dict[tuple[str, str], object] = {
    ("collections", "OrderedDict"): Mapping,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _rebuild_parameter,
    ("torch", "Size"): tuple,
    **{("torch", name): dtype for name, dtype in _STORAGES.items()},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        written = f"{module}.{name}"
        # Protocols below 3 use Python 2's names, such as __builtin__ and commands.
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        module = _ALIASES.get(module, module)
        if (module, name) in _REBUILT:
            return _REBUILT[module, name]
        if _is_dangerous(module, name):
            resolved = f"{module}.{name}"
            raise RefusedPickleError(resolved if resolved == written else f"{resolved} ({written})")
        return type(name, (Stub,), {"__module__": module})

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _location, n_elements, *view = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype) or any(view):
            raise pickle.UnpicklingError(f"a storage in an unknown format: {pid!r:.80}")
        return _Storage(dtype, str(key), int(n_elements))


def _is_dangerous(module: str, name: str) -> bool:
    root = module.partition(".")[0]
    if name in _HARMLESS.get(module, ()) or ("*" in _HARMLESS.get(module, ()) and "." not in name):
        return False
    # A dotted name follows attributes, and modules of torch have os and sys as attributes.
    walked = name.split(".")[:-1]
    return (
        root in _DANGEROUS_ROOTS
        or any(part in _DANGEROUS_ROOTS for part in walked)
        or f"{module}.{name}.".startswith(tuple(f"{prefix}." for prefix in _DANGEROUS_PREFIXES))
    )


@dataclass(frozen=True)
class Pickled:
    """Content of a torch.save or TorchScript file, before its tensors are read.

    Attributes:
        root: The pickled object: dicts, lists, numbers, :class:`TensorRecord`, :class:`Stub`.
        is_script: True for a TorchScript archive.
    """

    root: object
    is_script: bool
    _read_storage: Callable[[str], bytearray]

    def tensor(self, record: TensorRecord) -> Tensor:
        """Read one tensor.

        Raises:
            ValueError: The record does not match the file.
            Exception: Any other of :data:`READ_ERRORS`, if the file is damaged.
        """
        storage = record.storage
        if not isinstance(storage, _Storage):
            raise ValueError("a tensor has no storage")  # noqa: TRY004 - the file's value
        content = self._read_storage(storage.key)
        if len(content) != storage.n_elements * storage.dtype.itemsize:
            raise ValueError(f"storage {storage.key!r} has only {len(content)} bytes")
        if not content:
            return torch.empty(tuple(record.size), dtype=storage.dtype)
        flat = torch.frombuffer(content, dtype=storage.dtype)
        return torch.as_strided(flat, tuple(record.size), tuple(record.stride), record.offset)


def read_archive(archive: zipfile.ZipFile, pickle_name: str) -> Pickled:
    """Read a zip archive of torch.save or TorchScript.

    Args:
        archive: The open archive; keep it open until all tensors are read.
        pickle_name: The archive's name for its ``data.pkl``.

    Raises:
        RefusedPickleError: The pickle names something dangerous.
        Exception: Any of :data:`READ_ERRORS`, if the file is damaged.
    """
    prefix = pickle_name.removesuffix("data.pkl")
    names = set(archive.namelist())
    if f"{prefix}byteorder" in names and archive.read(f"{prefix}byteorder") != b"little":
        raise ValueError("the byte order is big-endian; save it again on a little-endian machine")
    with archive.open(pickle_name) as file:
        root = _Unpickler(file).load()
    contents: dict[str, bytearray] = {}

    def read_storage(key: str) -> bytearray:
        # Tensors may share a storage.
        if key not in contents:
            contents[key] = bytearray(archive.read(f"{prefix}data/{key}"))
        return contents[key]

    return Pickled(root, f"{prefix}constants.pkl" in names, read_storage)


def read_legacy(file: IO[bytes]) -> Pickled:
    """Read a legacy file of torch.save, which is not a zip archive (torch 1.5 and earlier).

    Args:
        file: The file, positioned at its start.

    Raises:
        RefusedPickleError: The pickle names something dangerous.
        Exception: Any of :data:`READ_ERRORS`, if the file is damaged or in another format.
    """
    if _Unpickler(file).load() != LEGACY_MAGIC:
        raise ValueError("a pickle that was not written by torch.save")
    _protocol, _system = _Unpickler(file).load(), _Unpickler(file).load()
    storages: dict[str, _Storage] = {}

    class StorageRecorder(_Unpickler):
        def persistent_load(self, pid: Any) -> _Storage:
            storage = super().persistent_load(pid)
            return storages.setdefault(storage.key, storage)

    root = StorageRecorder(file).load()
    contents: dict[str, bytearray] = {}
    for key in _Unpickler(file).load():
        storage = storages[str(key)]
        n_elements = int.from_bytes(file.read(8), "little")
        if n_elements != storage.n_elements:
            raise ValueError(
                f"storage {key!r} has {n_elements} elements, its tensors need {storage.n_elements}"
            )
        contents[str(key)] = bytearray(file.read(n_elements * storage.dtype.itemsize))
    return Pickled(root, is_script=False, _read_storage=contents.__getitem__)

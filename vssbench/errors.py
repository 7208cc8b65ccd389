"""The exceptions of the library. `exit_code` is what the command line returns for each."""

from __future__ import annotations

import difflib
import inspect
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def escaped(text: str) -> str:
    """The text with every character escaped that a terminal would obey or could not show; line ends stay."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


class VssbenchError(Exception):
    """Base of every error that is a finding about the user's input or machine, not a defect of vssbench.

    The message names the file or key, the value found, what was expected and what to do.
    """

    exit_code = 3

    def __str__(self) -> str:
        return escaped(super().__str__())


class ConfigError(VssbenchError):
    """The request itself cannot be served: unknown key, impossible setting, unknown name."""

    exit_code = 2


class CapabilityError(ConfigError):
    """A method, metric or protocol needs something that the chosen codec, dataset or machine cannot give."""


class InputError(VssbenchError):
    """A file or folder is missing, damaged or contradicts another one."""


class BitstreamError(InputError):
    """A coded video cannot be parsed. Carries where: byte offset and NAL unit type where known."""

    def __init__(self, message: str, *, byte_offset: int | None = None, nal_type: int | None = None) -> None:
        super().__init__(message)
        self.byte_offset = byte_offset
        self.nal_type = nal_type


class CheckpointError(InputError):
    """Weights cannot be read or do not belong to the network they were given to."""


class StorageError(VssbenchError):
    """Something could not be written: permission, disk full, folder in use by another run."""


class PluginError(VssbenchError):
    """Code of a plug-in (a method, network or dataset) raised something of its own; made by `in_plugin`."""

    exit_code = 4


class OutOfMemoryError(VssbenchError):
    """The memory of the machine or of the GPU does not suffice; made by `out_of_memory`."""


class DiskFullError(StorageError):
    """No space, quota or file size is left; freeing some and repeating the command goes on."""


_NO_MEMORY = (
    "out of memory",
    "not enough memory",
    "t allocate memory",  # of can't and cannot
    "unable to allocate",
    "bad_alloc",
    "_alloc_failed",  # cuBLAS, cuDNN
    "could not create a memory",  # oneDNN
)
"""What torch and the libraries below it say, in small letters, where they have no exception of their own for it."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether something failed for want of memory, on a GPU or on the CPU."""
    words = str(error).lower()
    known = isinstance(error, (MemoryError, OutOfMemoryError))
    return known or (isinstance(error, RuntimeError) and any(said in words for said in _NO_MEMORY))


def out_of_memory(what: str, where: str, error: BaseException, remedy: str) -> OutOfMemoryError:
    """The one message for it: what did not fit into the memory of which device, in whose words, and what needs less."""
    said = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return OutOfMemoryError(f"{what}: does not fit into the memory of {where} ({said}); {remedy}")


@contextmanager
def in_plugin(plug_in: Any, where: object) -> Iterator[None]:
    """Turn what the code of a plug-in (a method, or a class) raises inside the block into one PluginError.

    Its message says `where` (method, sequence, frame; made to text only then), the plug-in's own line and the exception.
    Blocks may stand in one another: each outer one puts its `where` in front. Findings (VssbenchError) and want of memory
    pass through.
    """
    try:
        yield
    except PluginError as error:
        raise PluginError(f"{where}, {error}") from error
    except VssbenchError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        kind = _class_of(plug_in)
        line = raised_in(error, plug_in) or f"{kind.__module__}.{kind.__qualname__}"
        said = " ".join(str(error).split())
        raise PluginError(f"{where}: {line}: {type(error).__name__}{': ' * bool(said)}{said}") from error


def raised_in(error: BaseException, plug_in: Any) -> str:
    """The innermost line in a traceback of the package of a plug-in, or of a network among its parts; '' without one."""
    parts = {} if isinstance(plug_in, type) else plug_in.parts()
    modules = {type(module) for part in parts.values() for module in part.modules()}
    kinds = {_class_of(plug_in), *(one for one in modules if one.__module__.partition(".")[0] != "torch")}
    folders = {folder_of(kind) for kind in kinds}
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not folders.isdisjoint(Path(frame.filename).parents)]
    return f"{own[-1].filename}:{own[-1].lineno} ({own[-1].name}: {own[-1].line})" if own else ""


def _class_of(plug_in: Any) -> type:
    return plug_in if isinstance(plug_in, type) else type(plug_in)


def folder_of(plug_in: type) -> Path:
    """Folder of the file that defines a class; one that nothing is in where there is no such file."""
    try:
        return Path(inspect.getfile(plug_in)).parent
    except (OSError, TypeError):
        return Path("/no/file")


def spelled_out(path: str | os.PathLike[str]) -> str:
    """A path as it was given and, where that says more, in full: 'data' -> 'data (/users/me/data)'."""
    given, full = os.fspath(path), os.path.abspath(path)
    return given if given == full else f"{given} ({full})"


def nearest(name: str, known: list[str]) -> str:
    """'did you mean ...' ending for an error about an unknown name, or the plain list of known names."""
    close = difflib.get_close_matches(name, known, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    return f"{hint}known: {', '.join(sorted(known)) or 'none'}"

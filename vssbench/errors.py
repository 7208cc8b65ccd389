"""The exceptions of the library. `exit_code` is what the command line returns for each."""

from __future__ import annotations

import difflib
import os


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


def spelled_out(path: str | os.PathLike[str]) -> str:
    """A path as it was given and, where that says more, in full: 'data' -> 'data (/home/me/data)'."""
    given, full = os.fspath(path), os.path.abspath(path)
    return given if given == full else f"{given} ({full})"


def nearest(name: str, known: list[str]) -> str:
    """'did you mean ...' ending for an error about an unknown name, or the plain list of known names."""
    close = difflib.get_close_matches(name, known, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    return f"{hint}known: {', '.join(sorted(known)) or 'none'}"

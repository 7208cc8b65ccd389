"""The exceptions of the library. `exit_code` is what the command line returns for each."""

from __future__ import annotations

import difflib


def printable(text: str) -> str:
    """The text with every character escaped that a terminal would obey or could not show; line ends stay."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


class VssbenchError(Exception):
    """Base of every error that is a finding about the user's input or machine, not a defect of vssbench.

    The message names the file or key, the value found, what was expected and what to do.
    """

    exit_code = 3

    def __str__(self) -> str:
        return printable(super().__str__())


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


class DiskFullError(StorageError):
    """No space, quota or file size is left; freeing some and repeating the command goes on."""


def nearest(name: str, known: list[str]) -> str:
    """'did you mean ...' ending for an error about an unknown name, or the plain list of known names."""
    close = difflib.get_close_matches(name, known, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    return f"{hint}known: {', '.join(sorted(known)) or 'none'}"

"""Writing files so that a reader, a full disk or Ctrl-C never meets half of one."""

from __future__ import annotations

import glob
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from frcnn_cli.errors import DataError


def reason(error: BaseException) -> str:
    """What went wrong in one lower-case phrase, without the path that ``str(error)`` repeats."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    text = " ".join(text.split()) or type(error).__name__
    return text[0].lower() + text[1:]


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; what was written there becomes `path` when the block ends well.

    The folder is made if it is absent. On any failure, Ctrl-C included, the temporary file is removed
    and an older `path` stays as it was.

    Raises:
        DataError: the file cannot be written (no permission, disk full, `path` is a folder or a device ...).
    """
    target = Path(os.path.realpath(path))  # through a symbolic link, rather than in its place
    temporary = target.with_name(f".{target.name[:40]}.{secrets.token_hex(4)}.tmp")
    ours = (temporary, target, target.parent, *target.parent.parents)
    try:
        _check_regular(target, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(exist_ok=False)
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.replace(target)
    except OSError as error:
        if error.filename is None or Path(os.fsdecode(error.filename)) in ours:
            raise DataError(f"{path}: cannot be written ({reason(error)})") from error
        raise  # some other file the block touched
    finally:
        _remove(temporary)


def remove_leftovers(path: str | Path) -> None:
    """Delete what a killed process left of its attempts to write `path`; nobody else may be writing it now."""
    target = Path(os.path.realpath(path))
    for temporary in target.parent.glob(f".{glob.escape(target.name[:40])}.{'[0-9a-f]' * 8}.tmp"):
        _remove(temporary)


def check_writable(path: str | Path) -> None:
    """Find out before long work, and without a trace, that a file could not be written at its end.

    Raises:
        DataError: `path` is there and not a regular file, or its folder is none that can be written or made.
    """
    target = Path(os.path.realpath(path))
    _check_regular(target, path)
    folder = next(parent for parent in target.parents if os.path.exists(parent))
    if not folder.is_dir():
        raise DataError(f"{path}: cannot be written ({folder} is not a folder)")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise DataError(f"{path}: cannot be written (no permission to write into {folder})")


def _check_regular(target: Path, path: str | Path) -> None:
    """Refuse folders and devices: renaming a file over /dev/null would replace the device itself."""
    if os.path.exists(target) and not target.is_file():
        raise DataError(f"{path}: cannot be written ({'a folder' if target.is_dir() else 'not a regular file'})")


def _remove(temporary: Path) -> None:
    try:
        temporary.unlink(missing_ok=True)
    except OSError:
        # The folder could not be reached in the first place; that fault is the one to report.
        return

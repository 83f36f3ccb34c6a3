"""Reading files, each fault in one line; writing them so that a reader, a full disk or Ctrl-C never meets a half."""

from __future__ import annotations

import glob
import json
import os
import re
import secrets
import socket
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from frcnn_cli.errors import DataError, MissingFile

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LONGEST_NAME = 255
"""Bytes of the name of a file."""

_FORBIDDEN = re.compile(r'[\\:*?"<>|\x00-\x1f]' if os.name == "nt" else "\x00")
"""In the name of a file, on this system."""


def reason(error: BaseException) -> str:
    """What went wrong in one lower-case phrase, without the path that ``str(error)`` repeats."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    text = " ".join(text.split()) or type(error).__name__
    return text[0].lower() + text[1:]


@contextmanager
def reading(path: str | Path, folder: str = "cannot be read (a folder)") -> Iterator[None]:
    """Open a file in the block, and have what stands in the way told as a `DataError`.

    Args:
        path: of the file.
        folder: what is said where it is a folder.

    Raises:
        DataError: there is no such file, it is a folder, a device or a pipe, or it cannot be read.
    """
    try:
        mode = _mode(path)
        if not stat.S_ISREG(mode):
            raise DataError(f"{path}: {folder if stat.S_ISDIR(mode) else 'cannot be read (not a regular file)'}")
        yield
    except FileNotFoundError:
        raise MissingFile(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({reason(error)})") from error


def _mode(path: str | Path) -> int:
    try:
        return os.stat(path).st_mode
    except ValueError as error:  # a NUL character in the name
        raise DataError(f"{path}: cannot be read ({reason(error)})") from error


def read_bytes(path: str | Path) -> bytes:
    """Read a whole file. Raises what `reading` raises."""
    with reading(path):
        return Path(path).read_bytes()


def fingerprint(path: str | Path) -> tuple[int, int]:
    """By what a file is known to be the same as before: its number of bytes and their CRC-32, in 0.1 ms a photograph.

    Raises:
        DataError: as `reading`.
    """
    size = checksum = 0
    with reading(path), open(path, "rb") as file:
        while piece := file.read(2**20):
            size, checksum = size + len(piece), zlib.crc32(piece, checksum)
    return size, checksum


def read_text(path: str | Path) -> str:
    """Read text in UTF-8, or in UTF-16 or UTF-32 where it begins with their byte order mark, or with ASCII in them.

    Raises:
        DataError: as `reading`, and if the bytes are no such text.
    """
    data = read_bytes(path)
    try:
        text = data.decode(json.detect_encoding(data))
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: cannot be read (no text in UTF-8: {reason(error)})") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


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
    except BrokenPipeError:  # of standard output, whose reader has gone
        raise
    except OSError as error:
        if error.filename is None or Path(os.fsdecode(error.filename)) in ours:
            raise DataError(f"{path}: cannot be written ({reason(error)})") from error
        raise  # some other file the block touched
    finally:
        _remove(temporary)


@contextmanager
def writing_alone(path: str | Path) -> Iterator[None]:
    """Be the only process that makes a file or folder, as long as the block takes.

    The lock is a file beside it, ``.NAME.lock``, and ends with its holder, `kill -9` included; shared folders know it
    where they know locks at all (POSIX). Windows has none.

    Raises:
        DataError: another process is at it, or the folder cannot be written.
    """
    if fcntl is None:
        yield
        return
    target = Path(os.path.realpath(path))
    lock = target.with_name(f".{target.name[:40]}.lock")
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = _locked(lock, path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({reason(error)})") from error
    try:
        yield
    finally:
        _remove(lock)
        os.close(file)


def _locked(lock: Path, path: str | Path) -> int:
    """Open and lock a file, which is then the one of that name."""
    while True:
        file = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            holder = os.read(file, 200).decode(errors="replace").strip()
            os.close(file)
            raise DataError(f"{path}: another process is writing it{holder and f' ({holder})'}") from error
        except OSError:  # a file system without locks
            return file
        if os.path.exists(lock) and os.path.samestat(os.stat(lock), os.fstat(file)):
            with suppress(OSError):  # a full disk: the name of the holder is only a help
                os.truncate(file, 0)
                os.write(file, f"process {os.getpid()} on {socket.gethostname()}".encode())
            return file
        os.close(file)  # its last holder has just removed it


def inside(folder: Path, name: str, ending: str = "") -> Path:
    """The path of a file that others have named, in a folder: no part of the name leads out of it.

    Folders in the name stay folders; ``..`` and what systems forbid becomes ``_``; what is too long is cut.

    Args:
        folder: to stay in.
        name: with ``/`` between its parts.
        ending: what is added to the name, such as ``.txt``.
    """
    parts = [_FORBIDDEN.sub("_", part) for part in name.split("/") if part not in ("", ".")]
    parts = ["_" if part == ".." else part for part in parts] or ["_"]
    last = parts.pop()
    return folder.joinpath(*(_cut(part, "") for part in parts), _cut(last, ending))


def _cut(name: str, ending: str) -> str:
    """The name with its ending, in the 255 bytes that file systems allow."""
    while len(os.fsencode(name + ending)) > LONGEST_NAME:
        name = name[:-1]
    return name + ending


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

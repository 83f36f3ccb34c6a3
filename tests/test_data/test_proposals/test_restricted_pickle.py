"""Pickles read without running them: plain content comes back as it was, and nothing else is admitted."""

from __future__ import annotations

import functools
import os
import pickle
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frcnn_cli.data.proposals.restricted_pickle import PickledArray, load_pickle
from frcnn_cli.errors import DataError

ARRAYS = {
    "float32": np.arange(8, dtype="f4").reshape(2, 4),
    "big-endian": np.arange(8, dtype=">f8").reshape(2, 4),
    "fortran": np.asfortranarray(np.arange(8, dtype="u2").reshape(2, 4)),
    "slice": np.arange(16, dtype="i8").reshape(4, 4)[::2],
    "empty": np.zeros((0, 4), "f4"),
    "text": np.array(["a", "schön"]),
    "bytes": np.array([b"a", b"bc"]),
    "bool": np.array([True, False]),
    "no dimension": np.array(7.5),
}
PAYLOAD = "touch marker"


class Call:
    """Pickled, it is a call of a function."""

    def __init__(self, function, *arguments) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.fixture
def load(tmp_path):
    """Read bytes as a file."""

    def run(data: bytes):
        path = tmp_path / "p.pkl"
        path.write_bytes(data)
        return load_pickle(path)

    return run


@pytest.fixture
def refusal(load, tmp_path, monkeypatch):
    """The one line that says why bytes are refused, after nothing was run."""
    monkeypatch.chdir(tmp_path)

    def run(data: bytes) -> str:
        with pytest.raises(DataError) as caught:
            load(data)
        message = str(caught.value)
        assert message.startswith(f"{tmp_path / 'p.pkl'}: ")
        assert message.isprintable()
        assert os.listdir(tmp_path) == ["p.pkl"]
        return message

    return run


def same(read: object, truth: object) -> bool:
    if isinstance(truth, np.ndarray):
        assert isinstance(read, PickledArray)
        values = read.values
        return (values.dtype, values.shape, values.tolist()) == (truth.dtype, truth.shape, truth.tolist())
    if isinstance(truth, dict):
        return list(read) == list(truth) and all(same(read[key], truth[key]) for key in truth)
    if isinstance(truth, (list, tuple)):
        return type(read) is type(truth) and len(read) == len(truth) and all(map(same, read, truth))
    return read == truth and type(read) is type(truth)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_and_containers_of_every_protocol(load, protocol):
    content = {**ARRAYS, "list": [1, 2.5, None, "ü", True, (2, 3)], "again": [ARRAYS["float32"]] * 2}
    assert same(load(pickle.dumps(content, protocol)), content)


def test_numbers_of_numpy_become_python_s(load):
    read = load(pickle.dumps([np.float32(0.5), np.int64(7), np.str_("a"), np.bool_(True)], 4))
    assert [(type(value), value) for value in read] == [(float, 0.5), (int, 7), (str, "a"), (bool, True)]


@pytest.mark.parametrize(("written", "known_as"), [("numpy._core", "numpy.core"), ("numpy.core", "numpy._core")])
def test_either_name_of_numpy_s_core(load, written, known_as):
    data = pickle.dumps(ARRAYS["float32"], 2)
    data = data.replace(f"c{written}.".encode(), f"c{known_as}.".encode())
    assert same(load(data), ARRAYS["float32"])


def test_an_array_of_python_2(load):
    numbers = np.array([[0.5, -2, 300, 4e9]], "<f4")
    data = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x01K\x04\x86cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89U\x10" + numbers.tobytes() + b"tb."
    )
    assert pickle.loads(data, encoding="latin1").tolist() == numbers.tolist()
    assert same(load(data), numbers)


def test_arrays_stay_read_only(load):
    values = load(pickle.dumps(ARRAYS["float32"])).values
    with pytest.raises(ValueError, match="read-only"):
        values[0, 0] = 1


def test_an_attack_is_named_and_runs_nothing(refusal, tmp_path):
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        attack = pickle.dumps({"boxes": [Call(os.system, PAYLOAD)]}, protocol)
        assert f"asks for '{os.system.__module__}.system', which is neither an array nor" in refusal(attack)
    pickle.loads(attack)
    assert (tmp_path / "marker").exists()  # the attack is a real one


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"cbuiltins\ngetattr\n.", "'builtins.getattr'"),
        (pickle.dumps(functools.partial(os.system, PAYLOAD)), "'functools.partial'"),
        (pickle.dumps(Call(eval, "__import__('os').system('touch marker')"), 2), "'__builtin__.eval'"),
        (pickle.dumps(np.array([Call(os.system, PAYLOAD)], dtype=object)), "system'"),
        (pickle.dumps(np.array([[1, 2]], dtype=object)), "an array of '|O8', which is"),
        (pickle.dumps(np.zeros(2, [("a", "f4"), ("b", "O")])), "an array of '|V12', which is"),
        (pickle.dumps(np.array(["2020"], "M8[s]")), "an array of '<M8', which is"),
        (b"cnumpy\nndarray\n(K\x01S'f4,O'\nS''\ntR.", "an array of 'f4,O', which is"),
        (b"(S'touch marker'\nios\nsystem\n.", "'os.system'"),
        (b"(cos\nsystem\nS'touch marker'\no.", "'os.system'"),
        (b"\x80\x04\x8c\x05numpy\x8c\x10ndarray.__base__\x93.", "'numpy.ndarray.__base__'"),
        (b"\x80\x04\x8c\x05numpy\x8c\x08fromfile\x93\x8c\x05p.pkl\x85R.", "'numpy.fromfile'"),
        (b"c\x1b[31mred\nname\n.", "'\\x1b[31mred.name'"),
        (b"\x80\x02\x82\x01.", "extension"),
        (b"Psystem\n.", "persistent"),
        (b"\x80\x02X\x01\x00\x00\x00aQ.", "persistent"),
        (b"\x80\x05\x97.", "buffer"),
        (b"cnumpy\nndarray\n}b.", "state"),
        (b"cnumpy\nndarray\nN}S'_make'\nK\x00s\x86b.", "state"),
        (b"\x80\x02cnumpy\nndarray\n)\x81.", "type"),
        (b"cnumpy\nndarray\nK\x01a.", "append"),
        (b"cnumpy\nndarray\n((K\x04tS'f4'\nL99999999999L\ntR.", "an array that is not made of bytes"),
        (pickle.dumps(np.array(["a"]), 2).replace(b"a\x00\x00\x00", b"aaaa"), "not a pickle, or a damaged one"),
        (b"c_codecs\nencode\nS'a'\nS'rot13'\n\x86R.", "latin1"),
        (b"", "not a pickle, or a damaged one"),
        (b"text, not a pickle", "not a pickle, or a damaged one"),
        (b".", "not a pickle, or a damaged one"),
    ],
)
def test_roundabout_attacks(refusal, data, fault):
    assert fault in refusal(data)


def test_a_shape_that_does_not_fit_the_numbers(refusal):
    data = pickle.dumps(np.zeros((3, 4), "f4"), 4)
    assert "not a pickle, or a damaged one (" in refusal(data.replace(b"K\x03K\x04\x86", b"K\x7fK\x04\x86"))
    assert data != data.replace(b"K\x03K\x04\x86", b"K\x7fK\x04\x86")


def test_a_number_does_not_reserve_memory(load):
    assert load(b"Nr\xff\xff\xff\x7f.") is None  # a memo of two thousand million places, as the C unpickler makes


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        load_pickle(tmp_path / "gone.pkl")
    with pytest.raises(DataError, match="cannot be read"):
        load_pickle(tmp_path)


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.sampled_from([*ARRAYS.values()]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def read_bytes(data: bytes):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "p.pkl")
        path.write_bytes(data)
        return load_pickle(path)


@settings(max_examples=60, deadline=None)
@given(plain, st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_plain_content_comes_back(content, protocol):
    assert same(read_bytes(pickle.dumps(content, protocol)), content)


DANGER = {
    "pickle.find_class",
    "exec",
    "compile",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "subprocess.Popen",
    "import",
}
watched: list[str] | None = None


def watch(event: str, _arguments: tuple) -> None:
    if watched is not None and event in DANGER:
        watched.append(event)


@pytest.fixture(scope="module", autouse=True)
def _audit():
    sys.addaudithook(watch)  # for the life of the process; it looks away outside of the test below


GADGETS = pickle.dumps(
    [Call(os.system, PAYLOAD), Call(eval, "1"), Call(getattr, "a", "upper"), ARRAYS["float32"], {"a": (1, 2)}], 2
)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([GADGETS, *(pickle.dumps(list(ARRAYS.values()), protocol) for protocol in range(6))]),
    st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=3), st.integers(0, 3)), max_size=6),
)
def test_no_damage_leads_to_anything_but_a_data_error(data, damage):
    global watched
    for where, new, length in damage:
        place = int(where * len(data))
        data = data[:place] + new + data[place + length :]
    watched = []
    try:
        with suppress(DataError):
            read_bytes(data)
    finally:
        events, watched = watched, None
    assert events == []

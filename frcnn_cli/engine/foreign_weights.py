"""Files of other programs that people give as weights: what they are, and what can be done with them."""

from __future__ import annotations

from pathlib import Path

START = "to start a training from them: frcnn train --backbone-weights FILE"
CONVERT = "save its tensors as .safetensors, by torchvision's names, for frcnn train --backbone-weights FILE"

_BY_SUFFIX = {
    ".pth": f"PyTorch's weights; {START}",
    ".caffemodel": f"a network of Caffe; {CONVERT} --normalisation caffe",
    ".onnx": "a network for ONNX Runtime, which --runtime onnx runs if it was exported here",
    ".h5": f"a network of Keras; {CONVERT}",
    ".keras": f"a network of Keras; {CONVERT}",
    ".pb": f"a network of TensorFlow; {CONVERT}",
    ".tflite": f"a network of TensorFlow; {CONVERT}",
    ".ckpt": f"a checkpoint of another program; {CONVERT}",
    ".engine": "a network of TensorRT; give the .safetensors that it was made of",
    ".mat": f"MATLAB's variables; {CONVERT}",
}
_BY_SUFFIX |= dict.fromkeys((".pt", ".tar", ".bin", ".pkl"), _BY_SUFFIX[".pth"])

_BY_BEGINNING = {
    b"PK\x03\x04": _BY_SUFFIX[".pth"],  # a zip, which PyTorch's files are since 1.6
    b"\x80\x02": _BY_SUFFIX[".pth"],  # a pickle, which they were before
    b"\x80\x04": _BY_SUFFIX[".pth"],
    b"\x89HDF": _BY_SUFFIX[".h5"],
    b"MATLAB": _BY_SUFFIX[".mat"],
}

READABLE = frozenset((".pth", ".pt", ".tar", ".bin", ".pkl", ".ckpt"))
"""Suffixes of files that PyTorch wrote or may have written."""


def foreign_weights(path: Path) -> str | None:
    """Say what a file is that holds another program's weights, by its suffix or else its first bytes.

    Args:
        path: of a file that is there.

    Returns:
        A phrase; None for a file that nothing is known about.
    """
    found = _BY_SUFFIX.get(path.suffix.lower())
    if found is None:
        try:
            with path.open("rb") as file:
                beginning = file.read(8)
        except OSError:
            return None
        found = next((text for mark, text in _BY_BEGINNING.items() if beginning.startswith(mark)), None)
    return found

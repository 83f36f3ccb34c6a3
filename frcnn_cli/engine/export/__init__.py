"""A detector as one ONNX file, for ONNX Runtime here and for whatever reads ONNX elsewhere.

`metadata` says what the file tells of itself and needs neither torch nor onnx; `detector` writes the whole graph, with
the layers of a backbone from `layers`; `quantisation` makes it one of eight bits.
"""

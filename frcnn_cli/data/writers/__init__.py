"""Formats of detections: one module a format, `Detections` in, files out."""

"""Layouts of annotated data sets: one module a format, files in, a `Dataset` out."""

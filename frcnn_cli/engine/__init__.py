"""Loops over samples: propose, train, detect, evaluate. Here meet files, devices and the mathematics of `core`."""

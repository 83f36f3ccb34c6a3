"""Pictures and plots: arrays in, an image or a PNG file out."""

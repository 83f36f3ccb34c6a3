"""The mathematics of Fast R-CNN: tensors in, tensors out. No file, no progress bar, no option is met here."""

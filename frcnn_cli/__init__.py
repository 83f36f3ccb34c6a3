"""Fast R-CNN (Girshick, ICCV 2015) as a command-line toolkit: propose, train, compress-svd, detect, eval."""

__version__ = "0.1.0"

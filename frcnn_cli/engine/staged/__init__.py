"""Training in stages, as R-CNN and SPPnet did: features to the disk, then a classifier a class, then the boxes."""

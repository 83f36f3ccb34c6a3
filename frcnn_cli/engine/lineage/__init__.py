"""The family side by side: R-CNN, SPPnet, Fast R-CNN and Faster R-CNN on the same images, proposals and backbone."""

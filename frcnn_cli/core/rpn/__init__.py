"""A region proposal network: proposals learned by the detector itself, instead of searched for (Faster R-CNN: Ren et
al., NIPS 2015, section 3).

A small network slides over the map that RoIs are pooled from, and says of each of a fixed set of boxes around a cell,
the anchors, whether it holds an object, and how to move it. What it finds likely, moved and thinned out, are the
proposals. The way of an image: `network` (scores and deltas of all anchors) -> `selection` (proposals); of a training
step: `anchors` against the objects in `targets`, then `losses`.
"""

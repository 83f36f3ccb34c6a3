"""How good detections are: average precision by the rules of VOC and COCO, and VOC's files of results."""

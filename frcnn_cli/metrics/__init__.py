"""How good detections and proposals are, as pure functions of arrays: average precision (VOC, COCO), recall."""

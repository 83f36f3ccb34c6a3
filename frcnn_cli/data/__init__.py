"""Files in, arrays out: images, annotations (VOC, COCO) and proposal files."""

#!/usr/bin/env bash
# The ONNX file of the bundled model, in eight bits: frcnn_cli/models/efficientnet_lite0_voc.onnx. To be run again
# whenever the checkpoint beside it changes. Calibrated on 64 photographs of VOC2012's list train, evenly spaced.
#
#   scripts/export_bundled.sh VOC2012
set -euo pipefail
models=$(dirname "$0")/../frcnn_cli/models
voc12=$(realpath "$1")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
photographs=$folder/VOC2012-train
mkdir "$photographs"
list=$voc12/ImageSets/Main/train.txt
step=$(($(wc -l < "$list") / 64))
awk -v step="$step" 'NR % step == 1 && count++ < 64 {print $1}' "$list" | while read -r name; do
  ln -s "$voc12/JPEGImages/$name.jpg" "$photographs/"
done
frcnn export "$models/efficientnet_lite0_voc.safetensors" -o "$models/efficientnet_lite0_voc.onnx" \
  --int8 --calibrate "$photographs" --calibration-images 64

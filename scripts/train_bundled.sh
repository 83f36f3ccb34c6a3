#!/usr/bin/env bash
# The recipe of the model in frcnn_cli/models. The data: VOC2012 in VOC layout, with the lists train_balanced
# (2,077 images) and val (249) in ImageSets/Main.
#
#   scripts/train_bundled.sh VOC2012 runs/bundled
set -euo pipefail
voc=$1
run=$2
frcnn propose --voc "$voc" --split train_balanced -o "$run/proposals-train_balanced.npz"
frcnn propose --voc "$voc" --split val -o "$run/proposals-val.npz"
frcnn train --voc "$voc" --split train_balanced --val-split val --output "$run" \
  --backbone efficientnet_lite0 --iterations 5000 --seed 1 \
  --optimizer adamw --lr 3e-4 --backbone-lr-factor 0.33 --weight-decay 0.05 --schedule cosine --warmup 200 \
  --short-side 320,400,480 --long-side 800 --eval-every 2500 --checkpoint-every 250 --log-every 25
frcnn compress-svd "$run/model.safetensors" -o frcnn_cli/models/efficientnet_lite0_voc.safetensors --fc6 256 --half
frcnn eval --voc "$voc" --split val --proposals "$run/proposals-val.npz"

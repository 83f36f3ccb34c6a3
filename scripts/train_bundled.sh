#!/usr/bin/env bash
# The recipe of the model in frcnn_cli/models. The data: VOC2012 in VOC layout, with the lists train (3,877 images) and
# val (249) in ImageSets/Main. A few hours on two CPU cores.
#
#   scripts/train_bundled.sh VOC2012 runs/bundled
set -euo pipefail
voc=$1
run=$2
recipe=(
  --recipe paper --voc "$voc" --split train --val-split val --eval-every 0 --dropout 0.2
  --proposals "$run/proposals-train.npz" --val-proposals "$run/proposals-val.npz"
  --optimizer adamw --backbone-lr-factor 0.3 --weight-decay 0.05 --schedule cosine --warmup 200 --ema 0.999
  --short-side 288,336,384,432,480 --long-side 800 --colour-jitter 0.25 --balance 0.1
  --checkpoint-every 250 --log-every 50
)
frcnn propose --voc "$voc" --split train -o "$run/proposals-train.npz"
frcnn propose --voc "$voc" --split val -o "$run/proposals-val.npz"
frcnn train --output "$run/first" "${recipe[@]}" --backbone efficientnet_lite0 --class-agnostic \
  --iterations 8000 --lr 5e-4 --seed 1
# From there down the cosine again and again, with more weight on where boxes lie.
frcnn train --output "$run/second" "${recipe[@]}" --init "$run/first/model.safetensors" \
  --iterations 7500 --lr 4e-4 --loss-lambda 2 --seed 2
frcnn train --output "$run/third" "${recipe[@]}" --init "$run/second/model.safetensors" \
  --iterations 6000 --lr 3e-4 --loss-lambda 2 --seed 3
frcnn compress-svd "$run/third/model.safetensors" -o frcnn_cli/models/efficientnet_lite0_voc.safetensors \
  --fc6 320 --fc7 256 --half
frcnn eval --voc "$voc" --split val --proposals "$run/proposals-val.npz"

#!/usr/bin/env bash
# The paper's first row: a model of VOC2007's trainval alone, measured on its test. ITERATIONS of two images from
# ImageNet's weights; 2,400, a pass over the photographs, take some twenty minutes of a CPU core that has AMX.
#
#   ITERATIONS=2400 scripts/train_voc07.sh VOC2007 runs/voc07
set -euo pipefail
frcnn train --voc "$1" --split trainval --output "$2" --recipe paper --backbone efficientnet_lite0 --class-agnostic \
  --eval-every 0 --dropout 0.2 --optimizer adamw --backbone-lr-factor 0.3 --weight-decay 0.05 --schedule cosine \
  --warmup 200 --ema 0.999 --short-side 288,336,384,432,480 --long-side 800 --colour-jitter 0.25 --balance 0.1 \
  --precision bfloat16 --iterations "${ITERATIONS:-2400}" --lr 5e-4 --second-look 0.5 --seed 1
frcnn eval --voc "$1" --split test --metric voc07 --weights "$2/model.safetensors"

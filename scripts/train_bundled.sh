#!/usr/bin/env bash
# The recipe of the model in frcnn_cli/models. The data, in VOC layout: VOC2012 with the lists train and val (249 images)
# in ImageSets/Main, and VOC2007 with the list trainval. Some eleven hours on two CPU cores.
#
#   scripts/train_bundled.sh VOC2012 VOC2007 runs/bundled
#
# The first three runs were of a list train of 3,877 photographs, the last three of one of 2,266: see the model's card.
set -euo pipefail
here=$(dirname "$0")
voc12=$1
voc07=$2
run=$3
recipe=(
  --recipe paper --eval-every 0 --dropout 0.2
  --optimizer adamw --backbone-lr-factor 0.3 --weight-decay 0.05 --schedule cosine --warmup 200 --ema 0.999
  --short-side 288,336,384,432,480 --long-side 800 --colour-jitter 0.25 --balance 0.1
  --checkpoint-every 250 --log-every 50
)
one=(
  --voc "$voc12" --split train --val-split val
  --proposals "$run/proposals-train.npz" --val-proposals "$run/proposals-val.npz"
)
frcnn propose --voc "$voc12" --split train -o "$run/proposals-train.npz"
frcnn propose --voc "$voc12" --split val -o "$run/proposals-val.npz"
frcnn train --output "$run/first" "${one[@]}" "${recipe[@]}" --backbone efficientnet_lite0 --class-agnostic \
  --iterations 8000 --lr 5e-4 --seed 1
# From there down the cosine again and again, with more weight on where boxes lie.
frcnn train --output "$run/second" "${one[@]}" "${recipe[@]}" --init "$run/first/model.safetensors" \
  --iterations 7500 --lr 4e-4 --loss-lambda 2 --seed 2
frcnn train --output "$run/third" "${one[@]}" "${recipe[@]}" --init "$run/second/model.safetensors" \
  --iterations 6000 --lr 3e-4 --loss-lambda 2 --seed 3
# What shipped until then, at full rank again, learns from VOC2007 too. A view of VOC2012 has its train as trainval.
frcnn compress-svd "$run/third/model.safetensors" -o "$run/third/small.safetensors" --fc6 320 --fc7 256 --half
python "$here/expand_head.py" "$run/third/small.safetensors" -o "$run/third/full.safetensors"
mkdir -p "$run/voc12train/ImageSets/Main"
ln -sfn "$(realpath "$voc12")/JPEGImages" "$(realpath "$voc12")/Annotations" "$run/voc12train"
cp "$voc12/ImageSets/Main/train.txt" "$run/voc12train/ImageSets/Main/trainval.txt"
frcnn train --output "$run/fourth" "${recipe[@]}" --init "$run/third/full.safetensors" \
  --voc "$voc07" --add-voc "$run/voc12train" --split trainval --proposals "$run/proposals-0712.npz" \
  --iterations 7000 --lr 4e-4 --loss-lambda 2 --seed 4
# And once more; where the processor multiplies bfloat16 (AMX), in half the time.
frcnn train --output "$run/fifth" "${recipe[@]}" --init "$run/fourth/model.safetensors" --precision bfloat16 \
  --voc "$voc07" --add-voc "$run/voc12train" --split trainval --proposals "$run/proposals-0712.npz" \
  --iterations 10500 --lr 4e-4 --loss-lambda 2 --seed 5
frcnn compress-svd "$run/fifth/model.safetensors" -o "$run/fifth/small.safetensors" --fc6 320 --fc7 256 --half
# And again, from what shipped then, with a second look; what ships is the mean of its beginning and its end.
python "$here/expand_head.py" "$run/fifth/small.safetensors" -o "$run/fifth/full.safetensors"
frcnn train --output "$run/sixth" "${recipe[@]}" --init "$run/fifth/full.safetensors" --precision bfloat16 \
  --voc "$voc07" --add-voc "$run/voc12train" --split trainval --proposals "$run/proposals-0712.npz" \
  --iterations 10500 --lr 4e-4 --loss-lambda 2 --second-look 0.5 --seed 6
python "$here/average_weights.py" "$run/sixth/model.safetensors" "$run/fifth/full.safetensors" \
  -o "$run/mean.safetensors" --share 0.6
# Its layers are cut by what they answer in 140 of the photographs that it learned from.
mkdir -p "$run/calibration"
awk 'NR % 36 == 1 {print $1}' "$voc07/ImageSets/Main/trainval.txt" | while read -r name; do
  ln -sf "$(realpath "$voc07")/JPEGImages/$name.jpg" "$run/calibration/"
done
frcnn compress-svd "$run/mean.safetensors" -o frcnn_cli/models/efficientnet_lite0_voc.safetensors \
  --fc6 192 --fc7 96 --calibrate "$run/calibration" --calibration-images 140 --half --force
"$here/export_bundled.sh" "$voc12"
frcnn eval --voc "$voc12" --split val --runtime torch
frcnn eval --voc "$voc07" --split test --metric voc07 --runtime torch

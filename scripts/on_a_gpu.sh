#!/usr/bin/env bash
# What a machine with a CUDA GPU can say and this project's own cannot: one command, one file of results.
#
#     scripts/on_a_gpu.sh [results.json]
#
# 1. The tests of RoI pooling on a GPU.
# 2. RoI pooling beside torchvision's kernel: forward, backward, whether two runs give the same bits.
# 3. A training step of VGG16, two images and 128 RoIs, in float32 and bfloat16.
# 4. The paper's table of a detection's time with VGG16 and 2,000 RoIs: conv, RoI pool, fc6, fc7, with SVD and without.
# Without a GPU, everything but 1 runs on the CPU with a network that is small, to show that it runs.
set -euo pipefail
cd "$(dirname "$0")/.."
results=${1:-on_a_gpu.json}
python=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
if "$python" -c 'import sys, torch; sys.exit(0 if torch.cuda.is_available() else 1)'; then
    "$python" -m pytest -q tests/test_core/test_roi_pool_gpu.py
fi
exec "$python" scripts/on_a_gpu.py --json "$results"

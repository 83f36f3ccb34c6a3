"""The files of a run's folder, by their names."""

MODEL_FILE = "model.safetensors"
"""The latest model."""

BEST_FILE = "best.safetensors"
"""The best one by validation mAP."""

STATE_FILE = "training_state.pt"
"""What --resume goes on from."""

LOG_FILE = "log.csv"
PLOT_FILE = "curves.png"

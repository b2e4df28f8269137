"""Training of the native models: crops, objectives, state. `jobs/train.py` runs it on Ray Train."""

"""Training of the native models: crops, objectives, state. `jobs/training/train.py` runs it on Ray
Train.
"""

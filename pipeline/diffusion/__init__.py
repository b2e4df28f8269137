"""Diffusion in pixel space: schedule, networks, sampler, and the engine under the model ops."""

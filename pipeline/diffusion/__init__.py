"""Diffusion in pixel space: schedule, networks, sampler, and the engine that the model ops share."""

"""Tars, headers up: a strict writer, and a reader that goes on behind damages."""

"""How good a model is, measured: every number against a baseline that anybody can run."""

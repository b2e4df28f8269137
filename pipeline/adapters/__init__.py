"""Models of every make: for each kind that a recipe can name one module, or one folder.

An adapter is two functions. `describe(spec)` makes the `ModelCard`: it reads files only, finds
every mistake that can be found without running the network, and raises ModelError in one line.
`load(spec, device, long_run)` makes the model itself, which fulfils the protocols of
`pipeline/model.py` for all the jobs on its card. `pipeline/models.py` picks the adapter.
"""

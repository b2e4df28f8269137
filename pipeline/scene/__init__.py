"""Pictures taken apart and put together.

`layout` knows what a dataset puts where; `cutout` and `paste` move instances; `recombine` draws
whole layouts; `light`, `look` and `palette` make what was put together belong together.
"""

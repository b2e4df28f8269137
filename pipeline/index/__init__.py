"""The index: its files, conditions on its rows, and what is told of them."""

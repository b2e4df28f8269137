"""A small detector, trained from scratch in minutes: the judge of labels, gates and lift."""

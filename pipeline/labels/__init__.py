"""Labels: their files, their repair, and the geometry of boxes and masks."""

"""Export: the samples of a catalog as a folder that other tools read. One file for each format.

The images keep their bytes. Boxes are written as exactly as the format can say them, and what it
cannot say is counted and told.
"""

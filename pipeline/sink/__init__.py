"""The sink: committing chunks, publishing runs, nights that follow each other, and what is left
over.
"""

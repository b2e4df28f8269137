"""The contracts between all parts: samples, recipes, index rows and errors. Imports numpy, pydantic
and pyarrow only.
"""

"""Catalogs: which samples training reads, of a sink or of plain shards. See `catalog.py`."""

from pipeline.catalog.catalog import Catalog, Tar
from pipeline.catalog.real import real
from pipeline.catalog.woven import woven

__all__ = ["Catalog", "Tar", "real", "woven"]

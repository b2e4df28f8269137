"""Secrets cut out of text that others will read: tables, plans, MLflow, quarantine."""

from __future__ import annotations

import re


def without_secrets(text: str) -> str:
    """The text with user names, passwords and queries cut out of its URLs."""
    text = re.sub(r"(\w://)[^/@\s\"']+@", r"\1", text)
    return re.sub(r"(\w://[^\s\"'?]*)\?[^\s\"',\]}]*", r"\1", text)

"""What a PromQL query asks for: enough of the language for our own queries, and no more.

Whatever is not a metric of Ray's, or a function or an operator that we use, is an error: a misspelt
name is found, not passed over.
"""

from __future__ import annotations

import re

WORDS = {"and", "or", "unless", "offset"}
FUNCTIONS = {"changes", "deriv", "histogram_quantile", "increase", "max", "rate", "sum"}
STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
GROUPING = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")
SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)\s*\{([^}]*)\}")
DURATION = re.compile(r"\[[^\]]*\]|\boffset\s+\d+[smhd]")
WORD = re.compile(r"[a-zA-Z_:][\w:]*")
SERIES = re.compile(r"(\w+)(?:\{(.*)\})? ")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def asked(query: str) -> dict[str, set[str]]:
    """Every metric of a query, with the labels that it must have: those that select it, and those
    that the query groups by, which all of its metrics must have.
    """
    bare = STRING.sub('""', query)
    grouped = {name.strip() for group in GROUPING.findall(bare) for name in group.split(",")}
    bare = DURATION.sub(" ", GROUPING.sub(" ", bare))
    found: dict[str, set[str]] = {}
    for metric, matchers in SELECTOR.findall(bare):
        found.setdefault(metric, set()).update(WORD.findall(matchers))
    for name in WORD.findall(SELECTOR.sub(r"\1", bare)):
        if name not in WORDS | FUNCTIONS:
            found.setdefault(name, set())
    strange = [name for name in found if not name.startswith("ray_")]
    if strange:
        raise ValueError(f"{query}: neither a metric of Ray's nor known: {', '.join(strange)}")
    return {metric: labels | grouped - {""} for metric, labels in found.items()}


def exported(text: str) -> dict[str, set[str]]:
    """Every series in Prometheus' text format: its name and its labels."""
    found: dict[str, set[str]] = {}
    for line in text.splitlines():
        series = SERIES.match(line)
        if series is not None and not line.startswith("#"):
            labels = {name for name, _ in LABEL.findall(series[2] or "")}
            found.setdefault(series[1], set()).update(labels)
    return found

"""A volume of a ConfigMap as a pod sees it: the kubelet writes the files into a folder of their
own, and their names, or those of their topmost folders, are links into it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


def mounted(config_map: dict[str, Any], volume: dict[str, Any], folder: Path) -> Path:
    """`folder`, which is made, with what a container finds where it mounts the volume."""
    source, name = volume["configMap"], config_map["metadata"]["name"]
    assert source["name"] == name, f"the volume shows {source['name']}, and this is {name}"
    written = folder / "..2026_11_30_02_00_00.123456789"
    for item in source["items"]:
        path = written / item["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(config_map["data"][item["key"]])
    (folder / "..data").symlink_to(written.name)
    for name in sorted({Path(item["path"]).parts[0] for item in source["items"]}):
        (folder / name).symlink_to(f"..data/{name}")
    return folder

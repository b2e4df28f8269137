#!/usr/bin/env bash
# Inside a container, or what replay.sh makes of this machine: does what is installed work?
set -euo pipefail

cd /tmp
echo "user $(id -u), $(python --version)"
if touch "$(dirname "$(command -v noiseloom)")/x" 2>/dev/null; then
    echo "the environment can be written to" >&2
    exit 1
fi
healthcheck run
noiseloom --help >/dev/null
python - <<'END'
"""Eight images of disks, with boxes and class-id maps, as a shard."""
import io, json, tarfile
import numpy as np
from PIL import Image


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "png")
    return file.getvalue()


with tarfile.open("cells.tar", "w") as tar:
    y, x = np.mgrid[:64, :64]
    for n in range(8):
        disk = (y - 30) ** 2 + (x - 24 - n) ** 2 < 144
        image = np.where(disk, 150, 30)[..., None] + np.random.default_rng(n).integers(0, 20, (64, 64, 3))
        label = {"boxes": [[13 + n, 19, 36 + n, 42]], "labels": ["nucleus"]}
        files = {
            "png": png(image.astype(np.uint8)),
            "json": json.dumps(label).encode(),
            "seg.png": png(disk.astype(np.uint8)),
        }
        for suffix, data in files.items():
            member = tarfile.TarInfo(f"s{n}.{suffix}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
END
cat >cells.yaml <<END
source:
  shards: cells.tar
  segmentation: seg.png
  classes: [nucleus]
  seg_classes: [background, nucleus]
sink: woven
copies: 1
chunk_size: 4
ops: [{kind: noise_denoise, model: denoiser, strength: 0.3, steps: 2}]
models: {denoiser: {native: $WEIGHTS/nuclei/denoiser}}
resources: {pool: [1, 1]}
tracking: {uri: null}
END
noiseloom run cells.yaml
noiseloom verify woven
echo "works"

"""What goes into an ONNX network and what comes out, told by names, types and shapes alone.

Legal inputs: one image, [3, h, w] or [1, 3, h, w], channels first or last, of float, float16 or
uint8. Legal outputs:

    boxes, labels, scores        torchvision's export, by these names or by type and shape
    [n, 6]                       rows of x0, y0, x1, y1, score, class; may have 1 in front
    [1, 4 + classes, n]          x, y of the centre, width, height, scores: the YOLO family's raw
    [1, classes, h, w] floats    logits of a segmenter
    [1, h, w] whole numbers      class ids of a segmenter; may be [h, w] or [1, 1, h, w]

Boxes are in pixels of the network's input. What could be read in two ways is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from schemas.errors import ModelError
from schemas.models import OnnxModel

Side = int | None
"""Of a shape: None where the file leaves it open."""

Kind = Literal["boxes_labels_scores", "rows", "raw", "logits", "ids"]

LEGAL: Final = (
    "legal are boxes, labels and scores; rows [n, 6]; raw [1, 4 + classes, n]; "
    "logits [1, classes, h, w]; whole numbers [1, h, w]"
)

FLOATS: Final = ("tensor(float)", "tensor(float16)")
WHOLE: Final = ("tensor(int64)", "tensor(int32)", "tensor(uint8)")
PARTS: Final = ("boxes", "labels", "scores")


@dataclass(frozen=True)
class Port:
    """An input or an output as onnxruntime names it; `shape` is empty where it is unknown."""

    name: str
    type: str
    shape: tuple[Side, ...]

    @property
    def text(self) -> str:
        """`scores: float [1, ?, 80]`."""
        sides = ", ".join("?" if side is None else str(side) for side in self.shape)
        return f"{self.name}: {self.type.removeprefix('tensor(').rstrip(')')} [{sides}]"


@dataclass(frozen=True)
class Ports:
    """All of a file, and for what `task` it says it was made (the YOLO family does)."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    task: str | None = None


@dataclass(frozen=True)
class Plan:
    """How a network is run. `outputs`: names, in the order of the kind. `count`: of its classes,
    None where nothing tells. `hw`: of its input, None where it takes any.
    """

    input: Port
    batched: bool
    channels_last: bool
    hw: tuple[int, int] | None
    kind: Kind
    outputs: tuple[str, ...]
    count: int | None

    @property
    def job(self) -> Literal["detect", "segment"]:
        """What it does."""
        return "segment" if self.kind in ("logits", "ids") else "detect"


def plan_of(spec: OnnxModel, ports: Ports) -> Plan:
    """How the network is run; ModelError with what was found and what is legal."""
    kind, outputs, count = _answer(spec.onnx, ports)
    port, batched, channels_last, open_hw = _image(spec.onnx, ports.inputs)
    _check_values(spec, port)
    return Plan(port, batched, channels_last, _size(spec, open_hw), kind, outputs, count)


def _check_values(spec: OnnxModel, port: Port) -> None:
    shifted = any(spec.mean) or any(value != 1 for value in spec.deviation)
    if port.type == "tensor(uint8)" and shifted:
        raise ModelError(f"{spec.onnx}: takes uint8 as it is; leave mean and deviation out")


def _image(where: str, inputs: Sequence[Port]) -> tuple[Port, bool, bool, tuple[Side, Side]]:
    found = "; ".join(port.text for port in inputs) or "nothing"
    wrong = ModelError(
        f"{where}: takes {found}; legal is one image, [1, 3, h, w] or [3, h, w], channels first or "
        "last, of float, float16 or uint8"
    )
    if len(inputs) != 1 or inputs[0].type not in (*FLOATS, "tensor(uint8)"):
        raise wrong
    port = inputs[0]
    if len(port.shape) == 4 and port.shape[0] not in (1, None):
        raise ModelError(f"{where}: takes {found}; export it for a batch of 1, or of any size")
    if len(port.shape) not in (3, 4):
        raise wrong
    sides = port.shape[-3:]
    batched = len(port.shape) == 4
    if sides[0] != 3 and sides[2] == 3:
        return port, batched, True, (sides[0], sides[1])
    if sides[0] in (3, None):
        return port, batched, False, (sides[1], sides[2])
    raise wrong


def _size(spec: OnnxModel, hw: tuple[Side, Side]) -> tuple[int, int] | None:
    """What the file and the recipe fix together."""
    height, width = hw
    if spec.size is None:
        if height is None and width is None:
            return None
        if height is None or width is None:
            raise ModelError(f"{spec.onnx}: its input is open in one direction; give size:")
        return height, width
    if any(side not in (None, given) for side, given in zip(hw, spec.size, strict=True)):
        fixed = [side or "?" for side in hw]
        raise ModelError(f"{spec.onnx}: size: is {list(spec.size)}; the file fixes {fixed}")
    return spec.size


def _answer(where: str, ports: Ports) -> tuple[Kind, tuple[str, ...], int | None]:
    """Kind, outputs and number of classes."""
    outputs = ports.outputs
    if ports.task not in (None, "detect", "segment", "semantic"):
        raise ModelError(f"{where}: says that it was made for {ports.task}; {LEGAL}")
    named = {port.name.lower(): port for port in outputs}
    if set(PARTS) <= set(named):
        return "boxes_labels_scores", tuple(named[part].name for part in PARTS), None
    if "out" in named and set(named) <= {"out", "aux"}:  # torchvision's segmenters
        outputs = (named["out"],)
    read = _three(outputs) if len(outputs) == 3 else _one(outputs[0]) if len(outputs) == 1 else None
    if read is None:
        found = "; ".join(port.text for port in outputs)
        raise ModelError(f"{where}: gives {found}, which can be no labels; {LEGAL}")
    return read


def _three(outputs: Sequence[Port]) -> tuple[Kind, tuple[str, ...], None] | None:
    """Boxes, labels and scores without their names."""
    whole = [port for port in outputs if port.type in WHOLE]
    boxes = [port for port in outputs if port.type in FLOATS and port.shape[-1:] == (4,)]
    rest = [port for port in outputs if port not in whole and port not in boxes]
    if not len(whole) == len(boxes) == len(rest) == 1 or rest[0].type not in FLOATS:
        return None
    ranks = [len(port.shape) for port in (boxes[0], whole[0], rest[0])]
    if ranks not in ([2, 1, 1], [3, 2, 2]):
        return None
    return "boxes_labels_scores", (boxes[0].name, whole[0].name, rest[0].name), None


def _one(port: Port) -> tuple[Kind, tuple[str, ...], int | None] | None:
    """One output: its type and its shape tell what it is."""
    shape, names = port.shape, (port.name,)
    if len(shape) > 2 and shape[0] not in (1, None):
        return None
    if port.type in WHOLE:
        flat = len(shape) in (2, 3) or (len(shape) == 4 and shape[1] == 1)
        return ("ids", names, None) if flat else None
    if port.type in FLOATS and len(shape) in (2, 3) and shape[-1] == 6:
        return "rows", names, None
    count = _channels(port)
    if count is None or port.type not in FLOATS:
        return None
    return ("logits", names, count) if len(shape) == 4 else ("raw", names, count - 4)


def _channels(port: Port) -> int | None:
    """Of [1, channels, h, w], or of [1, channels, n]; None where it is neither, or may be the other
    way round: [1, 25200, 85] are rows with an objectness.
    """
    shape = port.shape
    channels = shape[1] if len(shape) > 1 else None
    if channels is None:
        return None
    if len(shape) == 4:
        return channels if channels > 1 else None
    many = len(shape) == 3 and (shape[2] is None or shape[2] > channels)
    return channels if many and channels > 4 else None

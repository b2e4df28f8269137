"""Images larger than a pipeline's native size: at every step its denoiser looks at overlapping
windows of the latents, whose predictions are blended (MultiDiffusion, Bar-Tal et al. 2023), so that
memory is bounded by the window and no seam can build up.

`Windows` stands in place of the denoiser's `forward`. It knows three ways in which networks are
shown a picture:

    grid      (b, c, h, w) latents: U-Nets, also those with a mask beside the latents, and SD3
    ids       (b, tokens, c), with each token's place in `img_ids`: Flux
    extents   (b, tokens, c), with the picture's extent in `img_shapes`: Qwen-Image

A ControlNet is asked for every window, too: its call, which comes just before, is kept and made
then, with the window of what it is shown. To the network a window is a picture of its own: places
count from its corner.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from pipeline.diffusion.buckets import Shape
from pipeline.diffusion.tiling import blended

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

OVERLAP: Final = 4
"""A window's share that it has in common with its neighbour is one part in this many."""

COMPILED_SHAPES: Final = 64
"""That torch compiles before it gives up: all buckets, with and without guidance."""

_SHOWN: Final = ("sample", "hidden_states", "controlnet_cond")
"""Arguments that are pictures, in latents or in pixels."""

_RESIDUALS: Final = (
    ("down_block_additional_residuals", "mid_block_additional_residual"),
    ("controlnet_block_samples", "controlnet_single_block_samples"),
)
"""What the two results of a ControlNet are called as arguments of a denoiser."""

Call = Mapping[str, Any]


class Windows:
    """A denoiser's `forward` that can look at a picture in windows."""

    def __init__(self, denoiser: nn.Module, controlnet: nn.Module | None) -> None:
        self._look: Look = denoiser.forward
        self._signature = inspect.signature(denoiser.forward)
        self._way = _way_of(self._signature)
        self._grid: Shape | None = None
        self._tile = 0
        self._control: Look | None = None
        self._control_signature: inspect.Signature | None = None
        self._pending: Call | None = None
        if controlnet is not None:
            self._control = controlnet.forward
            self._control_signature = inspect.signature(controlnet.forward)
            controlnet.forward = self._later
        denoiser.forward = self

    def compile(self) -> None:
        """Compiles the networks, for each shape that they meet."""
        torch._dynamo.config.recompile_limit = max(
            torch._dynamo.config.recompile_limit, COMPILED_SHAPES
        )
        self._look = torch.compile(self._look, dynamic=False)
        if self._control is not None:
            self._control = torch.compile(self._control, dynamic=False)

    @property
    def possible(self) -> bool:
        """Whether this family can be looked at in windows."""
        return self._way is not None

    @contextmanager
    def over(self, grid: Shape, tile: int) -> Iterator[None]:
        """While this lasts pictures have this grid of latents or tokens, and windows `tile` of
        them a side.
        """
        self._grid, self._tile = grid, tile
        try:
            yield
        finally:
            self._grid, self._pending = None, None

    def _later(self, *given: object, **named: object) -> Any:
        """A ControlNet's call: made at once, or kept for the windows."""
        assert self._control is not None and self._control_signature is not None
        if self._grid is None:
            return self._control(*given, **named)
        self._pending = self._control_signature.bind(*given, **named).arguments
        return ((), None)

    def __call__(self, *given: object, **named: object) -> Any:
        """The prediction."""
        if self._grid is None:
            return self._look(*given, **named)
        call = self._signature.bind(*given, **named).arguments
        grid = self._grid

        def look(rows: slice, columns: slice) -> Tensor:
            part = self._windowed(call, grid, rows, columns)
            if self._pending is not None and self._control is not None:
                shown = self._windowed(self._pending, grid, rows, columns)
                part |= self._residuals(self._control(**shown))
            value: Tensor = self._look(**part)[0].float()
            return _as_grid(value, (_length(rows, grid[0]), _length(columns, grid[1])))

        whole = blended(look, grid, self._tile, self._tile // OVERLAP)
        shown = call["hidden_states"] if "hidden_states" in call else call["sample"]
        if self._way != "grid":
            whole = whole.flatten(2).transpose(1, 2)
        return (whole.to(shown.dtype),)

    def _residuals(self, results: tuple[Any, Any]) -> dict[str, Any]:
        names = next(pair for pair in _RESIDUALS if pair[0] in self._signature.parameters)
        return dict(zip(names, results, strict=True))

    def _windowed(self, call: Call, grid: Shape, rows: slice, columns: slice) -> dict[str, Any]:
        """A call's arguments for one window."""
        part = dict(call)
        for name in _SHOWN:
            if part.get(name) is not None:
                part[name] = _cut(part[name], grid, rows, columns)
        extent = _length(rows, grid[0]), _length(columns, grid[1])
        if part.get("img_ids") is not None:
            corner = slice(0, extent[0]), slice(0, extent[1])
            part["img_ids"] = _cut(part["img_ids"][None], grid, *corner)[0]
        if part.get("img_shapes") is not None:
            part["img_shapes"] = [[(1, *extent)] for _ in part["img_shapes"]]
        return part


Look = Callable[..., Any]


def _way_of(signature: inspect.Signature) -> str | None:
    names = signature.parameters
    if "img_ids" in names:
        return "ids"
    if "img_shapes" in names:
        return "extents"
    return "grid" if "sample" in names or "block_controlnet_hidden_states" in names else None


def _length(part: slice, side: int) -> int:
    return len(range(*part.indices(side)))


def _cut(shown: Any, grid: Shape, rows: slice, columns: slice) -> Any:
    """The window of a picture: of latents, of pixels that are finer by a whole number, of tokens,
    or of several pictures.
    """
    if isinstance(shown, list | tuple):
        return [_cut(one, grid, rows, columns) for one in shown]
    if shown.ndim == 3:
        cut = _as_grid(shown, grid)[..., rows, columns]
        return cut.flatten(2).transpose(1, 2)
    finer = shown.shape[-2] // grid[0]
    high, wide = (slice(part.start * finer, part.stop * finer) for part in (rows, columns))
    return shown[..., high, wide].contiguous()


def _as_grid(value: Tensor, grid: Shape) -> Tensor:
    """(b, c, h, w) of (b, tokens, c); what is one already, as it is."""
    if value.ndim == 4:
        return value
    return value.transpose(1, 2).reshape(len(value), -1, *grid)

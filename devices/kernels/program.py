"""The program of the pixel kernel: where in its int64 words each setting lies, and what the numbers mean.

The kernel (`source/pixels.py`) and its caller (`image.py`) share this file; it is all that they share.
Every address is an absolute one. `x tables` are two arrays of one entry an output column: int32 index of the left sample in
the lerped row, float32 weight of the right one. `y tables` are int32 upper row, int32 lower row, float32 weight of the lower.
"""

from __future__ import annotations

GEOMETRY = 0
"""WHOLE (output pixel = source pixel), SCALED (tables), AFFINE (six float64 at MATRIX: output pixel -> stored source pixel)."""
WHOLE, SCALED, AFFINE = 0, 1, 2

WIDTH, HEIGHT = 1, 2
"""Output size in pixels."""

LEFT, TOP, RIGHT, BOTTOM = 3, 4, 5, 6
"""Where the picture lies in the output; all around it is pad."""

SOURCE_WIDTH, SOURCE_HEIGHT = 7, 8

COMPONENTS = 9
"""Source components that matter: 1 or 3."""

CHANNELS = 10
"""Output channels that are computed: 1 or 3."""

STORE = 11
FLOAT_PLANES, FLOAT_PIXELS, BYTE_PLANES, BYTE_PIXELS, BYTE_PIXELS_ALPHA, YUV = 0, 1, 2, 3, 4, 5

PAD_OUTSIDE = 12
"""1: an affine sample outside the source is pad; 0: it is the nearest source pixel."""

CHROMA_COLUMNS, CHROMA_ROWS, LUMA_STEP, CHROMA_STEP = 13, 14, 15, 16
"""Of a YUV output: 1 where chroma has half the columns (rows), and bytes from one sample to the next."""

X_INDEX, X_WEIGHT = 17, 19
"""x tables of the luma grid (+0) and the chroma grid (+1)."""

Y_UPPER, Y_LOWER, Y_WEIGHT = 21, 23, 25
"""y tables of the luma grid (+0) and the chroma grid (+1)."""

MATRIX, COLOUR, FINISH = 27, 28, 29
"""Addresses: float64[6] affine; float32[3][4] colour rows; float32[3][3] scale, offset, pad level of each channel."""

TAKE = 30
"""Of each output channel (+0..2): the component it copies, or -1 where it is a row of COLOUR (and where there is no such channel: 0)."""

LEVELS, ROWS, BYTES, HELD = 33, 36, 39, 42
"""Scratch rows: uint8 levels (3), float32 components (3), uint8 components (3), uint8 chroma held for the next row (2).

A row of levels that only copies a component may be that component's row of bytes.
"""

COMPONENT = 44
"""Of each component: plane, byte offset of the first sample, bytes between samples, grid (0 luma, 1 chroma), column and row shift."""
PLANE, OFFSET, STEP, GRID, COLUMN_SHIFT, ROW_SHIFT, COMPONENT_WORDS = 0, 1, 2, 3, 4, 5, 6

PLANES = 62
"""Of each source plane: bytes in a row, first byte and end of what the x tables reach, grid, float32 scratch row; 0 bytes: unused."""
ROW_BYTES, FIRST, END, PLANE_GRID, LERPED, PLANE_WORDS = 0, 1, 2, 3, 4, 5

SITES = 77
"""Scratch of an affine row, five rows of 4 bytes a column: offset, weights across and down, corners above and below."""

WORDS = 78

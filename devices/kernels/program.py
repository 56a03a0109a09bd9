"""The program of the pixel kernel: where in its int64 words each setting lies, and what the numbers mean.

The kernel (`source/pixels.py`) and its caller (`image.py`) share this file; it is all that they share.
Every address is an absolute one.
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

X_INDEX, X_BEFORE, X_AFTER = 17, 18, 19
"""Tables of SCALED by output column: int32 byte offset of the left sample in the fetched row, int16 weights of it and of the right one."""

Y_UPPER, Y_LOWER, Y_BEFORE, Y_AFTER = 20, 21, 22, 23
"""One int32 an output row: source rows above and below, and their weights. Weights are in 11 bits."""

FETCH = 24
BYTES_AS_STORED, LUMA, PIXELS, PIXEL, CHROMA = 0, 1, 2, 3, 4
"""What a row of SCALED is fetched from: one component as it is; luma that becomes gray first; three components side by side (PIXEL: in a
picture one pixel wide, where the word of the right one would lie outside); luma and chroma that become RGB first."""

REACH, REACH_SHIFT = 25, 26
"""Bytes from the left sample to the right one (to a word that has it some bits up)."""

FIRST, END = 27, 28
"""Source columns that the x tables reach, where they are coloured first."""

FIXED, CODE = 29, 30
"""FIXED 1: components become channels by CODE, otherwise by COLOUR. CODE: address of int32[6] in 20-bit fixed point: luma that is black,
weight of luma; of the first chroma component in the first and second channel, of the second one in the second and third: in the order
(black, luma, first to first, first to second, second to second, second to third)."""

MATRIX, COLOUR, FINISH, DIVIDES = 31, 32, 33, 34
"""Addresses: float64[6] affine; float32[3][4] colour rows; float32[3][3] mean, factor, pad level of each channel. A value is
(level - mean) * factor or, where DIVIDES is 1, (level - mean) / factor."""

TAKE = 35
"""Of each output channel (+0..2): the component it copies, or -1 where it is a row of COLOUR (and where there is no such channel: 0)."""

STRAIGHT = 38
"""1: the output is the source byte for byte; 2: with the first and third byte of each pixel exchanged; 0: neither."""

LEVELS, ROWS, BYTES, HELD = 39, 42, 45, 48
"""Scratch rows: uint8 levels (3), float32 components (3), uint8 components (3), uint8 chroma held for the next row (2).

A row of levels that only copies a component may be that component's row of bytes.
"""

KEPT, KEPT_ROW, WORDS_ROW = 50, 56, 58
"""Of SCALED: interpolated int16 rows (two slots of three), the source row in each slot, and a scratch row for what is coloured first."""

COMPONENT = 59
"""Of each component: plane, byte offset of the first sample, bytes between samples, column and row shift."""
PLANE, OFFSET, STEP, COLUMN_SHIFT, ROW_SHIFT, COMPONENT_WORDS = 0, 1, 2, 3, 4, 5

ROW_BYTES = 74
"""Of each source plane (+0..2): bytes in a row."""

SITES = 77
"""Scratch of an affine row, five rows of 4 bytes a column: offset, weights across and down, corners above and below."""

TAPS = 78
"""Scratch rows of SCALED (+0, +1), 4 bytes a column: the samples left and right of each output column."""

WORDS = 80

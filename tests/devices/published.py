"""The published models of the test data, by their path under its `models`, and what must be known to read them."""

from __future__ import annotations

MODELS = (
    "FastestDet", "face_landmark_mesh", "hand_landmark_lite", "keypoint_classifier", "mobilenetv2_12_dynamic_int8",
    "mobilenetv2_12_fp32_derived", "mobilenetv2_12_qdq", "palm_detection_lite", "point_history_classifier",
    "selfie_segmentation_landscape", "ultraface_RFB_320", "ultraface_RFB_320_nopost", "vitTracker", "yolox_nano", "yunet_n_320",
    "yunet_n_dynamic", "bench/det320_fp32", "bench/det320_qdq_u8s8pc", "bench/mbv2_fp32", "bench/mbv2_qop_u8s8pc",
)  # fmt: skip
DIMS = {"yunet_n_dynamic": {"height": 320, "width": 320}}
"""Sizes of the symbolic dimensions, for measurements."""

"""The numbers behind every severity: data only, one table.

A variant is the image size that a set of parameters was chosen for; parameters of one size mean something
else at another, so a variant covers its own size and no other.

Source: Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations" (ICLR 2019), the authors' ``make_imagenet_c.py`` (imagenet), ``make_imagenet_c_inception.py``
(inception), ``make_tinyimagenet_c.py`` (tiny) and ``make_cifar_c.py`` (cifar).
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["SEVERITIES", "SIDES", "Parameters"]

#: What one severity or one difficulty hands to the function that makes it.
Parameters = tuple[float, ...]
Rows = tuple[Parameters, ...]

#: Height and width in pixels of the images that a variant covers.
SIDES: Mapping[str, int] = {"imagenet": 224, "inception": 299, "tiny": 64, "cifar": 32}


def _each(*values: float) -> Rows:
    """Return one parameter a severity."""
    return tuple((value,) for value in values)


#: Zoom blur: the zooms are arange(1, stop, step).
_ZOOMS: Rows = ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))
_SMALL_ZOOMS: Rows = ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01))
_SNOW: Rows = (
    (0.1, 0.3, 3, 0.5, 10, 4, 0.8), (0.2, 0.3, 2, 0.5, 12, 4, 0.7), (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
    (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65), (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
)  # fmt: skip
#: The layer of snow of small images, to which each variant adds its share of the image.
_SMALL_SNOW: Rows = (
    (0.1, 0.2, 1, 0.6, 8, 3), (0.1, 0.2, 1, 0.5, 10, 4), (0.15, 0.3, 1.75, 0.55, 10, 4),
    (0.25, 0.3, 2.25, 0.6, 12, 6), (0.3, 0.3, 1.25, 0.65, 14, 12),
)  # fmt: skip
_FROST: Rows = ((1, 0.4, 1), (0.8, 0.6, 1), (0.7, 0.7, 1), (0.65, 0.7, 1), (0.6, 0.75, 1))
#: Elastic transform of large images, in units of the base size.
_ELASTIC: Rows = ((2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02))


def _with(rows: Rows, *last: float) -> Rows:
    """Return rows with one more value each."""
    return tuple((*row, value) for row, value in zip(rows, last, strict=True))


def _times(base: float, rows: Rows) -> Rows:
    """Return (alpha, sigma, jitter) of rows in units of ``base``."""
    return tuple(tuple(base * value for value in row) for row in rows)


#: corruption -> variant -> parameters of severities 1 to 5.
SEVERITIES: Mapping[str, Mapping[str, Rows]] = {
    # standard deviation, on the scale of 0 to 1
    "gaussian_noise": {
        "imagenet": _each(0.08, 0.12, 0.18, 0.26, 0.38),
        "inception": _each(0.09, 0.13, 0.19, 0.27, 0.40),
        "tiny": _each(0.04, 0.08, 0.12, 0.15, 0.18),
        "cifar": _each(0.04, 0.06, 0.08, 0.09, 0.10),
    },
    # photons that a white value stands for
    "shot_noise": {
        "imagenet": _each(60, 25, 12, 5, 3),
        "inception": _each(50, 20, 10, 5, 3),
        "tiny": _each(250, 100, 50, 30, 15),
        "cifar": _each(500, 250, 100, 75, 50),
    },
    # share of the values that become 0 or 255
    "impulse_noise": {
        "imagenet": _each(0.03, 0.06, 0.09, 0.17, 0.27),
        "inception": _each(0.04, 0.07, 0.10, 0.18, 0.28),
        "tiny": _each(0.01, 0.02, 0.05, 0.08, 0.14),
        "cifar": _each(0.01, 0.02, 0.03, 0.05, 0.07),
    },
    # radius of the disk in pixels, sigma of the blur of its edge
    "defocus_blur": {
        "imagenet": ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
        "inception": ((4, 0.1), (5, 0.5), (7, 0.5), (10, 0.5), (12, 0.5)),
        "tiny": ((0.5, 0.6), (1, 0.1), (1.5, 0.1), (2.5, 0.01), (3, 0.1)),
        "cifar": ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
    },
    # sigma of the blur, furthest exchange in pixels, passes
    "glass_blur": {
        "imagenet": ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
        "inception": ((0.8, 1, 3), (1, 3, 1), (1.1, 2, 4), (1.2, 4, 2), (1.6, 5, 2)),
        "tiny": ((0.1, 1, 1), (0.5, 1, 1), (0.6, 1, 2), (0.7, 2, 1), (0.9, 2, 2)),
        "cifar": ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
    },
    # radius and sigma of the trail in pixels
    "motion_blur": {
        "imagenet": ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
        "inception": ((12, 4), (17, 6), (17, 9), (17, 13), (22, 16)),
        "tiny": ((10, 1), (10, 1.5), (10, 2), (10, 2.5), (12, 3)),
        "cifar": ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
    },
    # end and step of the zooms
    "zoom_blur": {
        "imagenet": _ZOOMS, "inception": _ZOOMS, "tiny": _SMALL_ZOOMS, "cifar": _SMALL_ZOOMS,
    },
    # mean and deviation of the flakes, their zoom and threshold, radius and sigma of their trail, share of
    # the image's own colours
    "snow": {
        "imagenet": _SNOW,
        "inception": _SNOW,
        "tiny": _with(_SMALL_SNOW, 0.8, 0.8, 0.7, 0.65, 0.6),
        "cifar": _with(_SMALL_SNOW, 0.95, 0.9, 0.9, 0.85, 0.8),
    },
    # weight of the image, weight of the frost, scale of the frost's picture
    "frost": {
        "imagenet": _FROST,
        "inception": _FROST,
        "tiny": ((1, 0.3, 0.3), (0.9, 0.4, 0.3), (0.8, 0.45, 0.3), (0.75, 0.5, 0.3), (0.7, 0.55, 0.3)),
        "cifar": ((1, 0.2, 0.2), (1, 0.3, 0.2), (0.9, 0.4, 0.2), (0.85, 0.4, 0.2), (0.75, 0.45, 0.2)),
    },
    # strength, decay of the noise from one halving to the next, side of the map
    "fog": {
        "imagenet": ((1.5, 2, 256), (2, 2, 256), (2.5, 1.7, 256), (2.5, 1.5, 256), (3, 1.4, 256)),
        "inception": ((1.5, 2, 512), (2, 2, 512), (2.5, 1.8, 512), (2.5, 1.6, 512), (3, 1.5, 512)),
        "tiny": ((0.4, 3, 64), (0.7, 3, 64), (1, 2.5, 64), (1.5, 2, 64), (2, 1.75, 64)),
        "cifar": ((0.2, 3, 32), (0.5, 3, 32), (0.75, 2.5, 32), (1, 2, 32), (1.5, 1.75, 32)),
    },
    # added to V of HSV
    "brightness": {
        "imagenet": _each(0.1, 0.2, 0.3, 0.4, 0.5),
        "inception": _each(0.1, 0.2, 0.3, 0.4, 0.5),
        "tiny": _each(0.1, 0.2, 0.3, 0.4, 0.5),
        "cifar": _each(0.05, 0.10, 0.15, 0.20, 0.30),
    },
    # factor on the distance from the mean
    "contrast": {
        "imagenet": _each(0.4, 0.3, 0.2, 0.1, 0.05),
        "inception": _each(0.4, 0.3, 0.2, 0.1, 0.05),
        "tiny": _each(0.4, 0.3, 0.2, 0.1, 0.05),
        "cifar": _each(0.75, 0.5, 0.4, 0.3, 0.15),
    },
    # alpha of the displacement, its sigma, jitter of the affine part, all in pixels. The imagenet base is 244
    # and not 224: a slip that the authors keep, because the published files were made with it.
    "elastic_transform": {
        "imagenet": _times(244, _ELASTIC),
        "inception": _times(360, _ELASTIC),
        "tiny": _times(
            64, ((0, 0, 0.08), (0.05, 0.3, 0.06), (0.1, 0.08, 0.06), (0.1, 0.03, 0.03), (0.16, 0.03, 0.02))
        ),
        "cifar": _times(
            32, ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03))
        ),
    },
    # side of the small picture, as a share of the side
    "pixelate": {
        "imagenet": _each(0.6, 0.5, 0.4, 0.3, 0.25),
        "inception": _each(0.5, 0.4, 0.3, 0.25, 0.2),
        "tiny": _each(0.9, 0.8, 0.7, 0.6, 0.5),
        "cifar": _each(0.95, 0.9, 0.85, 0.75, 0.65),
    },
    # quality
    "jpeg_compression": {
        "imagenet": _each(25, 18, 15, 10, 7),
        "inception": _each(23, 16, 13, 8, 5),
        "tiny": _each(65, 58, 50, 40, 25),
        "cifar": _each(80, 65, 58, 50, 40),
    },
    # The four of validation, which no published mean counts. Standard deviation, as a share of the value:
    "speckle_noise": {
        "imagenet": _each(0.15, 0.20, 0.35, 0.45, 0.60),
        "inception": _each(0.16, 0.21, 0.36, 0.46, 0.61),
        "tiny": _each(0.15, 0.20, 0.25, 0.30, 0.35),
        "cifar": _each(0.06, 0.10, 0.12, 0.16, 0.20),
    },
    # sigma in pixels
    "gaussian_blur": {
        "imagenet": _each(1, 2, 3, 4, 6),
        "inception": _each(1.5, 2.5, 3.5, 4.5, 6.5),
        "tiny": _each(0.5, 0.75, 1, 1.25, 1.5),
        "cifar": _each(0.4, 0.6, 0.7, 0.8, 1),
    },
    # mean and deviation of the liquid, sigma of its blur, its threshold, intensity of water or sigma of the
    # blur of mud, 0 for water and 1 for mud
    "spatter": {
        "imagenet": (
            (0.65, 0.3, 4, 0.69, 0.6, 0), (0.65, 0.3, 3, 0.68, 0.6, 0), (0.65, 0.3, 2, 0.68, 0.5, 0),
            (0.65, 0.3, 1, 0.65, 1.5, 1), (0.67, 0.4, 1, 0.65, 1.5, 1),
        ),
        "inception": (
            (0.65, 0.3, 4, 0.69, 0.9, 0), (0.65, 0.3, 3.5, 0.68, 0.9, 0), (0.65, 0.3, 3, 0.68, 0.8, 0),
            (0.65, 0.3, 1.2, 0.65, 1.8, 1), (0.67, 0.4, 1.2, 0.65, 1.8, 1),
        ),
        "tiny": (
            (0.62, 0.1, 0.7, 0.7, 0.6, 0), (0.65, 0.1, 0.8, 0.7, 0.6, 0), (0.65, 0.3, 1, 0.69, 0.6, 0),
            (0.65, 0.1, 0.7, 0.68, 0.6, 1), (0.65, 0.1, 0.5, 0.67, 0.6, 1),
        ),
        "cifar": (
            (0.62, 0.1, 0.7, 0.7, 0.5, 0), (0.65, 0.1, 0.8, 0.7, 0.5, 0), (0.65, 0.3, 1, 0.69, 0.5, 0),
            (0.65, 0.1, 0.7, 0.69, 0.6, 1), (0.65, 0.1, 0.5, 0.68, 0.6, 1),
        ),
    },
    # factor on S of HSV, what is added to it
    "saturate": {
        "imagenet": ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
        "inception": ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
        "tiny": ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (30, 0.2)),
        "cifar": ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
    },
}  # fmt: skip

"""Write a ``preprocessor_config.json`` out in full, as transformers' own image processors read it.

The file names a processor and the settings in which it differs from the processor's own. What a processor
does with them is written here, because none is built from a submitted folder. Pixels equal those of
transformers' Pillow processors; its faster ones resize tensors, which moves pixels by some levels of 255.

Conventions:
    Where the margin around a centre crop is odd, transformers rounds down, and torchvision, which we follow,
    to the even number: for some image sizes the crop lies one pixel further right or down.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import JsonValue

from robustbench_safety.errors import ModelError
from robustbench_safety.models.foreign import foreign_code
from robustbench_safety.records import Preprocessing
from robustbench_safety.records.model import Interpolation

__all__ = ["PROCESSOR_OF", "written_out"]

_Fields = Mapping[str, JsonValue]

_HALF, _CLIP_MEAN, _CLIP_STD = (
    (0.5, 0.5, 0.5),
    (0.48145466, 0.4578275, 0.40821073),
    (0.26862954, 0.26130258, 0.27577711),
)
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

#: Pillow's numbers for its filters.
_FILTERS: tuple[Interpolation, ...] = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")


@dataclass(frozen=True, kw_only=True)
class _Processor:
    """What a processor does where the file says nothing."""

    resample: int = 3
    mean: tuple[float, float, float] = _HALF
    std: tuple[float, float, float] = _HALF
    size: int = 224
    square: bool = True
    """Whether a size that is one number means both sides, else the shorter one."""
    squash: bool = True
    """Whether its own size means both sides."""
    crops: bool | None = False
    """Whether it crops unasked; None for one that cannot."""
    crop_size: int = 224
    rule: Literal["plain", "convnext", "levit", "poolformer", "efficientnet"] = "plain"


_PROCESSORS = {
    "Beit": _Processor(),
    "Bit": _Processor(mean=_CLIP_MEAN, std=_CLIP_STD, square=False, squash=False, crops=True),
    "CLIP": _Processor(mean=_CLIP_MEAN, std=_CLIP_STD, square=False, squash=False, crops=True),
    "ConvNext": _Processor(size=384, square=False, squash=False, rule="convnext"),
    "DeiT": _Processor(size=256, crops=True),
    "EfficientNet": _Processor(size=346, crop_size=289, rule="efficientnet"),
    "Levit": _Processor(
        mean=_IMAGENET_MEAN, std=_IMAGENET_STD, square=False, squash=False, crops=True, rule="levit"
    ),
    "MobileNetV1": _Processor(resample=2, size=256, square=False, squash=False, crops=True),
    "MobileNetV2": _Processor(resample=2, size=256, square=False, squash=False, crops=True),
    "PoolFormer": _Processor(
        mean=_IMAGENET_MEAN, std=_IMAGENET_STD, square=False, squash=False, crops=True, rule="poolformer"
    ),
    "Pvt": _Processor(mean=_IMAGENET_MEAN, std=_IMAGENET_STD),
    "Segformer": _Processor(resample=2, mean=_IMAGENET_MEAN, std=_IMAGENET_STD, size=512, crops=None),
    "Siglip": _Processor(square=False),
    "ViT": _Processor(resample=2),
}

#: The processor of a model type, for files that name none.
PROCESSOR_OF = {
    "beit": "Beit",
    "bit": "Bit",
    "clip": "CLIP",
    "convnext": "ConvNext",
    "convnextv2": "ConvNext",
    "cvt": "ConvNext",
    "data2vec-vision": "Beit",
    "deit": "DeiT",
    "dinat": "ViT",
    "dinov2": "Bit",
    "efficientnet": "EfficientNet",
    "focalnet": "Bit",
    "hiera": "Bit",
    "ijepa": "ViT",
    "levit": "Levit",
    "metaclip_2": "CLIP",
    "mobilenet_v1": "MobileNetV1",
    "mobilenet_v2": "MobileNetV2",
    "poolformer": "PoolFormer",
    "pvt": "Pvt",
    "pvt_v2": "Pvt",
    "regnet": "ConvNext",
    "resnet": "ConvNext",
    "segformer": "Segformer",
    "siglip": "Siglip",
    "swiftformer": "ViT",
    "swin": "ViT",
    "swinv2": "ViT",
    "vit": "ViT",
    "vit_msn": "ViT",
}


def written_out(name: str, fields: _Fields, *, model_type: str) -> Preprocessing:
    """Return what transformers' processor of these settings does to an image.

    Args:
        name: The model's name, for errors.
        fields: Of ``preprocessor_config.json``.
        model_type: Of ``config.json``; names the processor where the file does not.

    Raises:
        ModelError: The processor is not known, or what it does cannot be written out exactly.
    """
    # transformers takes null for a field that was left out.
    fields = {key: value for key, value in fields.items() if value is not None}
    stated = fields.get("image_processor_type", fields.get("feature_extractor_type", ""))
    kind = _kind(str(stated)) or PROCESSOR_OF.get(model_type, "")
    if kind not in _PROCESSORS:
        raise _refused(
            name,
            expected=f"a processor of {', '.join(_PROCESSORS)}",
            found=f"{stated or f'none ({model_type})'}",
        )
    processor = _PROCESSORS[kind]
    with foreign_code(f"{name}: its preprocessor_config.json is malformed", fix=_FIX):
        if fields.get("do_pad"):
            raise _refused(name, expected="no padding", found="do_pad true")
        resize, target = _geometry(name, processor, fields)
        mean, std = _scale(name, processor, fields)
        return Preprocessing(
            input_size=target,
            resize=resize,
            crop=None if target is None or target == resize else "center",
            interpolation=_FILTERS[_whole(fields.get("resample", processor.resample))],
            mean=mean,
            std=std,
        )


_FIX = "state preprocessing in a model file"


def _refused(name: str, *, expected: str, found: str) -> ModelError:
    return ModelError(
        f"{name}: its preprocessing cannot be written out", expected=expected, found=found, fix=_FIX
    )


def _kind(stated: str) -> str:
    for ending in ("ImageProcessorFast", "ImageProcessorPil", "ImageProcessor", "FeatureExtractor"):
        if stated.endswith(ending):
            return stated.removesuffix(ending)
    return stated


def _geometry(
    name: str, processor: _Processor, fields: _Fields
) -> tuple[int | tuple[int, int] | None, tuple[int, int] | None]:
    """Return resize and input size."""
    target = _crop(processor, fields)
    if not fields.get("do_resize", True):
        return None, target
    resize = _size(name, processor, fields)
    if processor.rule == "convnext":
        if isinstance(resize, tuple) or target is not None:
            raise _refused(name, expected="one shorter side, and no other crop", found=f"size {resize}")
        square = (resize, resize)
        return (_divided(resize, fields, 224 / 256), square) if resize < 384 else (square, square)
    if processor.rule == "levit" and not isinstance(resize, tuple):
        resize = int((256 / 224) * resize)
    if processor.rule == "poolformer":
        if isinstance(resize, tuple) and resize[0] == resize[1]:
            resize = resize[0]
        if isinstance(resize, tuple):
            resize = (_divided(resize[0], fields, 0.9), _divided(resize[1], fields, 0.9))
        else:
            resize = _divided(resize, fields, 0.9)
    if target is None and not isinstance(resize, tuple):
        raise _refused(name, expected="one input size", found=f"shorter side {resize} without a crop")
    if target is None and isinstance(resize, tuple):
        target = resize
    reached = resize if isinstance(resize, tuple) else (resize, resize)
    if target is not None and (reached[0] < target[0] or reached[1] < target[1]):
        raise _refused(name, expected="a crop within the resized image", found=f"{target} of {resize}")
    return resize, target


def _divided(side: int, fields: _Fields, usual: float) -> int:
    return int(side / _number(fields.get("crop_pct", usual)))


def _crop(processor: _Processor, fields: _Fields) -> tuple[int, int] | None:
    if processor.crops is None or not fields.get("do_center_crop", processor.crops):
        return None
    size = fields.get("crop_size", processor.crop_size)
    if isinstance(size, dict):
        return _whole(size["height"]), _whole(size["width"])
    if isinstance(size, list):
        return _whole(size[0]), _whole(size[1])
    return _whole(size), _whole(size)


def _size(name: str, processor: _Processor, fields: _Fields) -> int | tuple[int, int]:
    size = fields.get("size")
    if size is None:
        return (processor.size, processor.size) if processor.squash else processor.size
    if isinstance(size, list):
        return _whole(size[0]), _whole(size[1])
    if not isinstance(size, dict):
        return (_whole(size), _whole(size)) if processor.square else _whole(size)
    keys = {key for key, value in size.items() if value is not None}
    if keys == {"height", "width"}:
        return _whole(size["height"]), _whole(size["width"])
    if keys == {"shortest_edge"}:
        return _whole(size["shortest_edge"])
    raise _refused(name, expected="size as height and width, or as shortest_edge", found=f"size {dict(size)}")


def _scale(
    name: str, processor: _Processor, fields: _Fields
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Return mean and std of pixels in [0, 1].

    For a pixel x in [0, 1] transformers gives ((a x + b) - mean) / std, which is
    (x - (mean - b) / a) / (std / a).
    """
    a = 255.0 * _number(fields.get("rescale_factor", 1 / 255)) if fields.get("do_rescale", True) else 255.0
    a = 1.0 if math.isclose(a, 1.0, rel_tol=1e-6) else a  # 1/255 that went through float32
    b = -1.0 if processor.rule == "efficientnet" and fields.get("rescale_offset") else 0.0
    mean, std, twice = (0.0,) * 3, (1.0,) * 3, (1.0,) * 3
    if fields.get("do_normalize", True):
        mean = _three(fields.get("image_mean", list(processor.mean)))
        std = _three(fields.get("image_std", list(processor.std)))
    if processor.rule == "efficientnet" and fields.get("include_top", True):
        twice = _three(fields.get("image_std", list(processor.std)))  # divides by it once more
    folded = tuple((value - b) / a for value in mean)
    if any(not 0 <= value <= 1 for value in folded):
        raise _refused(
            name,
            expected="a mean between black and white",
            found=f"mean {mean}, of pixels in [{b:g}, {a + b:g}]",
        )
    scaled = tuple(one * other / a for one, other in zip(std, twice, strict=True))
    return (folded[0], folded[1], folded[2]), (scaled[0], scaled[1], scaled[2])


def _three(value: object) -> tuple[float, float, float]:
    if not isinstance(value, list | tuple):
        return (_number(value),) * 3
    red, green, blue = value
    return _number(red), _number(green), _number(blue)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} is no number")
    return float(value)


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is no whole number")
    return value

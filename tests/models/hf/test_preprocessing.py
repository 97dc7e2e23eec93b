"""Preprocessing written out: the pixels that transformers' own Pillow processors give."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray
from PIL import Image
from transformers.models.auto import image_processing_auto

from robustbench_safety.data.transforms import Transform
from robustbench_safety.errors import ModelError
from robustbench_safety.models.hf.preprocessing import PROCESSOR_OF, written_out

#: Smooth colours and noise in sizes whose margins around a crop are even: see the test of odd ones.
SIZES = [(64, 64), (80, 96), (96, 72), (48, 64)]


def picture(height: int, width: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(height * width)
    rows, columns = np.mgrid[0:height, 0:width]
    waves = np.stack([rows * 3, columns * 2, (rows * columns) // 7], axis=-1) % 256
    return np.clip(waves + rng.integers(-20, 20, waves.shape), 0, 255).astype(np.uint8)


def ours(fields: dict[str, object], image: NDArray[np.uint8], model_type: str = "none") -> torch.Tensor:
    preprocessing = written_out("hf:net", json.loads(json.dumps(fields)), model_type=model_type)
    pixels = Transform(preprocessing, pre_cropped=False)(image)
    mean, std = (torch.tensor(value) for value in (preprocessing.mean, preprocessing.std))
    return ((torch.from_numpy(pixels.astype(np.float32)) / 255 - mean) / std).permute(2, 0, 1)


def theirs(kind: str, fields: dict[str, object], image: NDArray[np.uint8]) -> torch.Tensor:
    processor = getattr(transformers, f"{kind}ImageProcessorPil")(**fields)
    values: torch.Tensor = processor(Image.fromarray(image), return_tensors="pt")["pixel_values"][0]
    return values


def side(value: int) -> dict[str, int]:
    return {"height": value, "width": value}


CASES: Sequence[tuple[str, dict[str, object]]] = [
    ("ViT", {}),
    ("ViT", {"size": side(32)}),
    ("ViT", {"size": 40, "resample": 3, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}),
    ("ViT", {"size": [40, 48], "resample": 1, "do_normalize": False}),
    ("ViT", {"size": side(32), "rescale_factor": 1 / 127.5, "image_mean": [1.0] * 3}),
    ("ViT", {"size": side(32), "do_rescale": False, "image_mean": [123.0] * 3, "image_std": [58.0] * 3}),
    ("ViT", {"size": side(32), "rescale_factor": 0.003921568859368563}),
    ("DeiT", {}),
    ("DeiT", {"size": side(48), "crop_size": side(32), "image_mean": 0.25}),
    ("DeiT", {"do_resize": False, "crop_size": side(40)}),
    ("Beit", {"size": side(40), "resample": 2}),
    ("Beit", {"size": side(40), "do_center_crop": True, "crop_size": side(32)}),
    ("CLIP", {"size": {"shortest_edge": 32}, "crop_size": side(32)}),
    ("Bit", {"size": 32, "crop_size": 32}),
    ("ConvNext", {"size": {"shortest_edge": 56}}),
    ("ConvNext", {"size": 36, "crop_pct": 0.9, "resample": 2}),
    ("ConvNext", {}),
    ("Levit", {"size": {"shortest_edge": 28}, "crop_size": side(28)}),
    ("PoolFormer", {"size": {"shortest_edge": 36}, "crop_size": side(32)}),
    ("PoolFormer", {"size": side(40), "crop_size": side(32), "crop_pct": 0.625}),
    ("Pvt", {"size": side(40)}),
    ("Segformer", {"size": side(40), "do_center_crop": True, "crop_size": side(32)}),
    ("Siglip", {"size": side(40)}),
    ("MobileNetV1", {"size": {"shortest_edge": 40}, "crop_size": side(32)}),
    ("MobileNetV2", {"size": 40, "crop_size": side(32)}),
    ("EfficientNet", {"size": side(40)}),
    ("EfficientNet", {"size": side(40), "include_top": False, "image_std": [0.3, 0.4, 0.5]}),
    ("EfficientNet", {"size": side(40), "rescale_factor": 1 / 127.5, "rescale_offset": True}
     | {"include_top": False, "image_mean": [0.0] * 3}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "fields"), CASES, ids=[f"{kind}-{i}" for i, (kind, _) in enumerate(CASES)])
def test_pixels_equal_those_of_transformers_own_processor(kind: str, fields: dict[str, object]) -> None:
    for height, width in SIZES:
        image = picture(height, width)
        expected = theirs(kind, fields, image)
        found = ours(fields | {"image_processor_type": f"{kind}ImageProcessor"}, image)
        torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)


def test_a_margin_that_is_odd_is_rounded_another_way_than_in_transformers() -> None:
    fields: dict[str, object] = {"size": {"shortest_edge": 32}, "crop_size": side(32)}
    # 32 rows of 35: a margin of 1.5, which transformers rounds to 1 and torchvision to 2.
    image = picture(35, 32)
    expected = theirs("CLIP", fields | {"do_resize": False}, image)
    found = ours(fields | {"image_processor_type": "CLIPImageProcessor", "do_resize": False}, image)
    torch.testing.assert_close(found[:, :-1], expected[:, 1:], rtol=0, atol=2e-5)
    assert not torch.allclose(found, expected, atol=0.1)


@pytest.mark.parametrize(
    "stated", ["ViTFeatureExtractor", "ViTImageProcessorFast", "ViTImageProcessor", None]
)
def test_a_processor_goes_by_old_and_new_names_and_else_by_the_model_type(stated: str | None) -> None:
    fields: dict[str, object] = {"size": 32, "image_processor_type": stated}
    assert torch.equal(ours(fields, picture(48, 64), "swin"), ours(
        {"size": side(32), "feature_extractor_type": "ViTFeatureExtractor"}, picture(48, 64)))  # fmt: skip


def test_the_processor_of_each_model_type_is_that_of_transformers() -> None:
    table: dict[str, Any] = dict(vars(image_processing_auto)["IMAGE_PROCESSOR_MAPPING_NAMES"])
    assert {key: table[key]["pil"] for key in PROCESSOR_OF} == {
        key: f"{kind}ImageProcessorPil" for key, kind in PROCESSOR_OF.items()
    }


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"image_processor_type": "MobileViTImageProcessor"}, "found MobileViTImageProcessor"),
        ({"image_processor_type": "Evil'; rm"}, "found Evil'; rm"),
        ({}, r"found none \(levitate\)"),
        ({"image_processor_type": "CLIPImageProcessor", "do_center_crop": False}, "shorter side 224 without"),
        ({"image_processor_type": "ViTImageProcessor", "size": {"longest_edge": 20}}, "longest_edge"),
        ({"image_processor_type": "ViTImageProcessor", "size": {"height": 20}}, "found size"),
        ({"image_processor_type": "ViTImageProcessor", "do_pad": True}, "found do_pad true"),
        ({"image_processor_type": "ViTImageProcessor", "rescale_factor": 1 / 127.5, "image_mean": [3.0] * 3},
         r"a mean between black and white; found mean \(3.0"),
        ({"image_processor_type": "DeiTImageProcessor", "size": 100}, r"found \(224, 224\) of \(100, 100\)"),
        ({"image_processor_type": "ConvNextImageProcessor", "do_center_crop": True}, "and no other crop"),
        ({"image_processor_type": "ViTImageProcessor", "size": "big"}, "malformed; found ValueError: 'big'"),
        ({"image_processor_type": "ViTImageProcessor", "size": True}, "malformed"),
        ({"image_processor_type": "ViTImageProcessor", "size": 10**9}, "malformed"),
        ({"image_processor_type": "ViTImageProcessor", "resample": 17}, "malformed; found IndexError"),
        ({"image_processor_type": "ViTImageProcessor", "image_mean": [0.5]}, "malformed"),
        ({"image_processor_type": "ViTImageProcessor", "image_std": [0.5, 0.5, 0.0]}, "malformed"),
        ({"image_processor_type": "ConvNextImageProcessor", "size": 224, "crop_pct": 0}, "ZeroDivisionError"),
        ({"image_processor_type": "ViTImageProcessor", "rescale_factor": 0}, "ZeroDivisionError"),
    ],
)  # fmt: skip
def test_what_cannot_be_written_out_is_refused(fields: dict[str, object], found: str) -> None:
    with pytest.raises(ModelError, match=f"hf:net.*{found}.*; state preprocessing in a model file"):
        ours(fields, picture(48, 48), "levitate")


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("kind", "fields"),
    [("ViT", {"size": side(224)}), ("DeiT", {}), ("ConvNext", {"size": 384}), ("Beit", {"size": side(160)})],
)
def test_pixels_equal_those_of_transformers_on_real_photographs(
    shared_data: Path, kind: str, fields: dict[str, object]
) -> None:
    photographs = sorted((shared_data / "imagenet_sample").glob("**/*.JPEG"))[::60]
    assert len(photographs) >= 5
    for path in photographs:
        with Image.open(path) as photograph:
            image = np.asarray(photograph.convert("RGB"))
        found = ours(fields | {"image_processor_type": f"{kind}ImageProcessor"}, image)
        torch.testing.assert_close(found, theirs(kind, fields, image), rtol=0, atol=2e-5)

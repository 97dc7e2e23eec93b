"""Real photographs through the manifests and readers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from robustbench_safety.data import DataRoot, Reader, Transform, load_dataset, load_manifest
from robustbench_safety.data.base import FileReader
from robustbench_safety.data.describing.describe import describe
from robustbench_safety.data.verifying.verify import verify_dataset
from robustbench_safety.files import write_yaml
from robustbench_safety.records import Preprocessing

pytestmark = pytest.mark.realdata

RED = (255, 0, 0)
PLAIN = Preprocessing(
    input_size=None, resize=None, crop=None, interpolation="bilinear", mean=(0, 0, 0), std=(1, 1, 1)
)


def is_red(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return np.asarray((pixels == RED).all(axis=-1))


def ring(pixels: NDArray[np.uint8], k: int) -> NDArray[np.uint8]:
    """The pixels that lie ``k`` from the nearest edge."""
    inner = pixels[k : len(pixels) - k, k : pixels.shape[1] - k]
    return np.concatenate([inner[0], inner[-1], inner[:, 0], inner[:, -1]])


def test_the_red_border_of_objectnet_is_gone_before_any_resize_and_nothing_more(real_data: Path) -> None:
    border = load_manifest("objectnet").border
    paths = sorted((real_data / "objectnet" / "input" / "images").glob("*.png"))
    assert len(paths) == 10
    small = PLAIN.model_copy(update={"input_size": (224, 224), "resize": 256, "crop": "center"})
    for path in paths:
        pixels = np.asarray(Image.open(path).convert("RGB"))
        assert is_red(ring(pixels, 0)).all()
        assert not is_red(ring(pixels, border)).any()
        shown = Transform(PLAIN, pre_cropped=False, border=border)(pixels)
        assert np.array_equal(shown, pixels[border:-border, border:-border])
        assert not is_red(ring(shown, 0)).any()
        # With the border left on, the resize would smear it into the picture.
        cropped_first = Transform(small, pre_cropped=False)(np.ascontiguousarray(shown))
        assert np.array_equal(Transform(small, pre_cropped=False, border=border)(pixels), cropped_first)


def opened(source: Path, own: Path, label_space: str | None, role: str) -> tuple[Reader, DataRoot]:
    found = describe(str(source), name="mine", role=role, label_space=label_space)  # type: ignore[arg-type]
    write_yaml(own / "mine.yaml", found.manifest)
    if found.subset is not None:
        write_yaml(own / "subsets" / "mine.yaml", found.subset)
    data = DataRoot(root=found.data_root, beside=own)
    dataset = load_dataset("mine", data=data)
    return dataset.open(dataset.manifest.all_conditions()[0], seed=0), data


@pytest.mark.parametrize(
    ("folder", "label_space", "role", "n"),
    [("imagenet-sample/val", "imagenet-1k", "clean", 400), ("dtd/images", None, "ood", 120)],
)
def test_photographs_are_described_read_to_pillow_s_pixels_and_verified(
    real_data: Path, tmp_path: Path, folder: str, label_space: str | None, role: str, n: int
) -> None:
    reader, data = opened(real_data / folder, tmp_path, label_space, role)
    assert isinstance(reader, FileReader)
    assert len(reader.sample_ids) == n
    for index in range(0, n, 17):
        (stored,) = reader.stored(np.array([index]))
        expected = np.asarray(Image.open(reader.files()[index]).convert("RGB"))
        assert np.array_equal(reader.decode(index, stored), expected)
    report = verify_dataset(load_dataset("mine", data=data))
    assert report.ok
    assert report.decoded == n


def test_the_labels_of_the_photographs_are_their_published_classes(real_data: Path, tmp_path: Path) -> None:
    reader, data = opened(real_data / "imagenet-sample" / "val", tmp_path, "imagenet-1k", "clean")
    rows = (real_data / "imagenet-sample" / "labels.csv").read_text().splitlines()[1:]
    wanted = {row.split(",")[0].removeprefix("val/").rpartition(".")[0]: row.split(",")[1] for row in rows}
    keys = load_dataset("mine", data=data).label_keys(reader)
    assert dict(zip(reader.sample_ids, keys, strict=True)) == wanted

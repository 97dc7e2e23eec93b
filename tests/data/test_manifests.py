"""The shipped manifests: all readable, and what they promise is so."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from robustbench_safety import corruptions
from robustbench_safety.corruptions.sequence_settings import PUBLISHED_SEQUENCES
from robustbench_safety.corruptions.severities import SEVERITIES, SIDES
from robustbench_safety.data import load_dataset, load_manifest
from robustbench_safety.files import digest_of, resource_names
from robustbench_safety.labels import load_class_map, load_label_space, load_subset
from robustbench_safety.records import (
    CifarPickleLayout,
    ClipsLayout,
    GeneratedLayout,
    ImageFolderLayout,
    ImageListLayout,
    MatLayout,
    NpyLayout,
    RelabelledLayout,
)

NAMES = resource_names("data_manifests")

#: protocols.md 1.2: the official fifteen in their order, and the four of validation.
OFFICIAL_15 = (
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur",
    "snow", "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression",
)  # fmt: skip
EXTRA_4 = ("speckle_noise", "gaussian_blur", "spatter", "saturate")
#: protocols.md 1.4 and 2.6: the ten sequences of the paper.
PAPER_TEN = (
    "gaussian_noise", "shot_noise", "motion_blur", "zoom_blur", "snow", "brightness", "translate", "rotate",
    "tilt", "scale",
)  # fmt: skip


def test_the_shipped_manifests_are_these() -> None:
    assert NAMES == [
        "blobs",
        "blobs-224",
        "blobs-64",
        "cifar-10",
        "cifar-10-c",
        "cifar-10-c-bar",
        "cifar-10-c-generated",
        "cifar-10-p",
        "cifar-10-p-generated",
        "cifar-10-train-1",
        "cifar-10.1-v4",
        "cifar-10.1-v6",
        "cifar-100",
        "cifar-100-c",
        "cifar-100-c-generated",
        "cifar-100-p",
        "cifar-100-p-generated",
        "cifar-10h",
        "cue-conflict",
        "digits",
        "digits-c",
        "digits-p",
        "frost-textures",
        "gaussian-noise",
        "gaussian-noise-224",
        "gaussian-noise-64",
        "imagenet-1k",
        "imagenet-a",
        "imagenet-c",
        "imagenet-c-bar",
        "imagenet-c-bar-resize256",
        "imagenet-c-generated",
        "imagenet-c-resize256",
        "imagenet-g-v1",
        "imagenet-o",
        "imagenet-p",
        "imagenet-p-generated",
        "imagenet-r",
        "imagenet-real",
        "imagenet-sketch",
        "imagenet-v2-matched-frequency",
        "imagenet-v2-threshold-0.7",
        "imagenet-v2-top-images",
        "inaturalist",
        "isun",
        "lsun",
        "lsun-crop",
        "lsun-resize",
        "mnist",
        "ninco",
        "objectnet",
        "openimage-o",
        "openood-cifar10-cifar100",
        "openood-cifar10-mnist",
        "openood-cifar10-places365",
        "openood-cifar10-svhn",
        "openood-cifar10-texture",
        "openood-cifar10-tin",
        "openood-cifar100-cifar10",
        "openood-cifar100-mnist",
        "openood-cifar100-places365",
        "openood-cifar100-svhn",
        "openood-cifar100-texture",
        "openood-cifar100-tin",
        "openood-imagenet-inaturalist",
        "openood-imagenet-ninco",
        "openood-imagenet-openimage-o",
        "openood-imagenet-ssb-hard",
        "openood-imagenet-textures",
        "places69",
        "rademacher-noise",
        "rademacher-noise-224",
        "rademacher-noise-64",
        "robin-context",
        "robin-iid-test",
        "robin-occlusion",
        "robin-pose",
        "robin-shape",
        "robin-texture",
        "robin-weather",
        "ssb-hard",
        "svhn",
        "textures",
        "tiny-imagenet",
        "tiny-imagenet-c",
        "tiny-imagenet-c-generated",
        "tiny-imagenet-p-generated",
        "tinyimagenet-crop",
        "tinyimagenet-resize",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_manifest_states_licence_and_citation_and_reads_with_its_classes(name: str) -> None:
    dataset = load_dataset(name)
    manifest = dataset.manifest
    assert manifest.licence
    assert manifest.citation
    assert (manifest.label_space is None) == (dataset.classes == ())
    assert manifest.all_conditions()


#: A digest that changes here under an old version moves every score on that dataset: raise the version with
#: it, and say so in the changelog under Scores.
VERSIONS = {
    "blobs": (1, "aa24917fa3534e144d4317e1541cd7aee9e1cb615f1f5bfe2c03fdfe5132cf60"),
    "blobs-224": (1, "19b113a6e17faa3772a21ccddee4548ba499febe7385f012e4afc76ef6425c27"),
    "blobs-64": (1, "1c4e02cc062ba16e6c6f78d87a5d492c5b9c4366b63cc1095aba66819d40bb51"),
    "cifar-10": (1, "7f42625c1b47eb4f599b1d8c251ec6b83ffc460db5259dc87c10581f90622797"),
    "cifar-10-c": (1, "312205cefa682e4e03a33ac4caaf1c55c6f8c3825d2f60a606f55cc2c0966238"),
    "cifar-10-c-bar": (1, "bd6e343e6e2bdb670516decd235ada368f597d4fc7d43529d320e7700673dfa3"),
    "cifar-10-c-generated": (2, "f08fcaf91bac30886f13063295fe55906d756ba18a426ab69432e9274dfaeecf"),
    "cifar-10-p": (1, "0f73ae0d1b83e5e2a940a2f5a6eb24f4c66486ff5da730dabf3975c0511f95aa"),
    "cifar-10-p-generated": (2, "f082acabca81ada44d7414ec3dcfefe9d40c00ba5111ea5aec84d939e7eace56"),
    "cifar-10-train-1": (1, "277d90947c39a6788f285a69d64ce75e71974aa5faf28e8486dc2bd334955e04"),
    "cifar-10.1-v4": (1, "057df4447f8dff5ac64df8c706a88eb2a59c3c21750aa914e94f3a2ca838e57b"),
    "cifar-10.1-v6": (1, "d683b50139b466f4439dd03e3128de5d37fd8a26d44b4ff67e60b5d0acd4553e"),
    "cifar-100": (1, "52a83ee4349486083f3c0adc7c17d50bc21db9083e4b9e100e3b5c7f3a982849"),
    "cifar-100-c": (1, "45ce43ddf557b5e239c5dc46012f342a1ce82200d63c0598bb7639af539fe4d1"),
    "cifar-100-c-generated": (2, "95afb044378c1b7d851708c07a1bfe7790dc787aaa3c9d07d081f2c925ce00c0"),
    "cifar-100-p": (1, "f41c473a9cdae59b177890703cf05c61d63d14de7c337009bf376a3b3d5757fe"),
    "cifar-100-p-generated": (2, "d7cfc757d0f38cbdfcf05d6c5788e4f72820d778a5b62913d6b907083128d76a"),
    "cifar-10h": (1, "d19db7ed8ca9d8a9af162fa68500d22fee1466735835973d4b0709abf34885fd"),
    "cue-conflict": (1, "e28303b7a04ad71b2661cbbf54aa683d94c5ece2868a28c48b877aa2f6257a4e"),
    "digits": (1, "adcb545a7f07d718b6bcc01d2394b000bb529043f3ca7a29b9d57b82ac31bb3e"),
    "digits-c": (2, "ea6e8f73c3b209061020d6b468864c0641fc2d21f3ed8c086511e4b0fae0cd3d"),
    "digits-p": (2, "82fbb39c83d6b46c243a6428ab0e7cd2f2eb7e1fdf47266e3317beef23870280"),
    "frost-textures": (1, "20fc921039b02efde557e105b8b69dccb8b7667adf1d0013b32cf9579e556aad"),
    "gaussian-noise": (1, "ce5222693ead92c29e4a7580d11ca81e72a4b0d0777faf2075ef54541c7ba87c"),
    "gaussian-noise-224": (1, "6b9feb463bf415bd8720c9c0ac841196aab9bfebf2f3b478376fdaff31efe020"),
    "gaussian-noise-64": (1, "f30091d3429cc4fd2b82418a4c4ea5bf03bd9f8a0e782a04d464d0876f4b0275"),
    "imagenet-1k": (2, "d9aa7ea7080197b51c4d9b49b051c38537c462f2e82b6426ba95db0691a98154"),
    "imagenet-a": (1, "2798db71c330db599093e28f818e1cfd2af57a40fbedd49adca7220b6b29309f"),
    "imagenet-c": (1, "67bbb37a9445f6b137cb5a3ebd3f7fb8e63f402f35a0a625b229bc359711b90f"),
    "imagenet-c-bar": (1, "a1d74a272a8edea507affbf471f8b70638cd69935fa8ff154285213662ff2963"),
    "imagenet-c-bar-resize256": (1, "7ae02b2207a090598c04294b25f4da93a20ccdf8da2b71fd23a8619ba98426a9"),
    "imagenet-c-generated": (2, "1ba6cd393f48c032b9cf3d38785c27208a660448ac7b82c3e372b5acbd2d4086"),
    "imagenet-c-resize256": (1, "7db313d17125a02382538637c329db6b789ddfcf7d1c9c044d7e34bfe04b403d"),
    "imagenet-g-v1": (1, "f92b695a892adc721c1338e48fc4e0c9f5ea3e4cbf0d82f23a6e9d282c2adde7"),
    "imagenet-o": (1, "5a7046ab4e5236fb09b1bd2f61dd229a438f120ea19b933b579b03903b35bdbb"),
    "imagenet-p": (1, "2af6d23c4ab8135eb8f5e188a102a33606a24687f427cb58494803bb3d1d0566"),
    "imagenet-p-generated": (2, "845f03fefd2e2f57d540ffdda4d2c47032ab3fd7cfe9985278200d2e3bd3cad7"),
    "imagenet-r": (1, "8826b659898a49a9a417c9ce64ad5d1b945f119ebadd817aa5b4977e89a40191"),
    "imagenet-real": (1, "8c0871e0c2b1b305b931a09241ea8eeac336f68e6b21e857c0dc0cf3bf17e5ff"),
    "imagenet-sketch": (1, "e6c85f5a58c5a4fbab9a63cd9934b00d3e7b87d10f4a7e57bf309744e53275ef"),
    "imagenet-v2-matched-frequency": (1, "86d7eebb7e96ada198679f48202ecf96830125ae737e349daad5c0692e841a64"),
    "imagenet-v2-threshold-0.7": (1, "540f3253572c00533245840cd96511633dd417f65ac2c09a4e63f64b9a98faf7"),
    "imagenet-v2-top-images": (1, "7869dc478f370d6d68812e931640a75ad257389426936375f934d9b6c2ed1cbc"),
    "inaturalist": (1, "cccffa1767059ce99c49ce61f99fe0be2e4bc9c9113741cc8e1029238cadf2e2"),
    "isun": (1, "ef4dcc959057a9e2578718d5217f16320aa6ddeef450f16cd0df257cf72518d1"),
    "lsun": (1, "f8917ca4e42746839490a24b312e8a79ea5fc393980b0eed664d98338cafb3c5"),
    "lsun-crop": (1, "9d97a1bf083f8082b1068e954c02a625ca9898529cf569b603d69a28d319c20c"),
    "lsun-resize": (1, "6ffd0e0e29424ec7189066419c6b2ea19d285458dcfa0ee16ebbaecfe0d4a126"),
    "mnist": (1, "50af4768c04a60fe69e9e2c1b4192b8ecd398e09cf8548f64b42a3f5b1628261"),
    "ninco": (1, "ad432aa2aa83e871215fed871168dab2afd9c9f65b98378c71d23ef62847e89f"),
    "objectnet": (1, "16422932120b5daf077fea742346c92fad111d1a661cfb61a4897caf2e06b121"),
    "openimage-o": (1, "e247bf02b2af4112647039a3a175937f1561fbe1b0862089ab7b3580b9c9e280"),
    "openood-cifar10-cifar100": (1, "37c7349df6d7af40139f8fec03cd2742d5594a0e0fb0fe841ae642009787d612"),
    "openood-cifar10-mnist": (1, "908acd3c9f61a46b0241ab37534c9268f3e52df7ddf32d7cbff5c1e8721568d3"),
    "openood-cifar10-places365": (1, "6d4ec4caea740df255938a1f4cfb0f4bc84cf09d385b6f968cb1a63269747c53"),
    "openood-cifar10-svhn": (1, "21d71c2f1d54975322b653882198877f1ec6aebd81468b3f02b2c035b4610aaf"),
    "openood-cifar10-texture": (1, "1589c9fbea9fe5060837dbd8800542c8765d8681ccb934af24017f1e2ec0e343"),
    "openood-cifar10-tin": (1, "5ceb2ba59283f8cdfdc2bd0c8926464b209ec4c2569bb8af9a917a1fd8473fed"),
    "openood-cifar100-cifar10": (1, "79cad5abbc39d7069aa74d6e8b89216f5d485e03822e874a72813ce28730156e"),
    "openood-cifar100-mnist": (1, "832a80bbb6c5d90f5ae7d45108f7038e450e0030fe9592e65bfe78926ce72710"),
    "openood-cifar100-places365": (1, "75a43eade67e23701ba569d1ed7198f5459a0d084a7e28171d3bf9da36d648e5"),
    "openood-cifar100-svhn": (1, "cf5a024ddcefc5cd1084b73e8a316588b517133b99f9739994208fdef58e91e3"),
    "openood-cifar100-texture": (1, "aed0b1ea565ed64d689017995bae51ef2a3f1b74580dc39eb130fd7aeaab1d44"),
    "openood-cifar100-tin": (1, "23dbb8b5bf2102fb2879b62cdda26c918ce529ab21017ad72a6076c7919fc25a"),
    "openood-imagenet-inaturalist": (1, "4b13c3e497bbeb345bc6ea4a0bf8ae2e6e45d6b67b90d860c0ed47a1a19c8d73"),
    "openood-imagenet-ninco": (1, "18b7ab505c89698b89807e7936cb1377ab5c7ae9570d71867c949ef38c39b64d"),
    "openood-imagenet-openimage-o": (1, "7aeb413deff1ff9e498ec1f618b299fbb9e7132ce7bf7d0acb221edc16c18e36"),
    "openood-imagenet-ssb-hard": (1, "c74dd1a09957914018867aa1bad10862599b09e8a894d0237728a2abd53fc246"),
    "openood-imagenet-textures": (1, "3d1807e8b7b9da3b97b14bc6d1ef9d3188de09482ca67530c18943dffba43d60"),
    "places69": (1, "ecf40af5a979b4e0f8da4aedbf447630eeb9498f9a78e9b5b561499887774ecd"),
    "rademacher-noise": (1, "688774c0e372c6c86993a347d961a684abcfcec5e614ab25499b7b2f6b57444a"),
    "rademacher-noise-224": (1, "2cf287f6a83ff74676003100a9c6ccc0a19e9a0639773829f2bd5b247b6b2457"),
    "rademacher-noise-64": (1, "451cc7765431f8df10803a8fbd6910816742469290c933a74360c63cc03cdc49"),
    "robin-context": (1, "d37db56931653b9c1ee4c1f894fb6deb9f8b1dac844fbaf218e3e67e95d0599c"),
    "robin-iid-test": (1, "a4818ddb18759a87d85364b835bc6f7160fd806301e354b10d6af303f8c32cd4"),
    "robin-occlusion": (1, "e8efa8438b9188002cfee54f9c8c3941482696b482b8f4c40ccc0c4e1d83a9e2"),
    "robin-pose": (1, "5acdb42634495eeb2ca1fc73bea29034c188cb089023a0cfb142a8d6f6c3b29e"),
    "robin-shape": (1, "c7d58b5ebcc3d280d88fe0ee7418b2bbf297ff735d83489c99bc712f88db3c03"),
    "robin-texture": (1, "76d4fc796fc03a6055294e01ea64edc6c6d7e53bca2844d3f307ae8706c11ee5"),
    "robin-weather": (1, "e7bf8828afd49b9a5ddf29ad97bca3fa1a08285ae237935d48681eb10c3fd093"),
    "ssb-hard": (1, "f7aac9e798ecb5ea25e96513f2b58e1ccb34779f956c3466eef9eab9cad44b84"),
    "svhn": (1, "306b52b38536b6bf41195443bf3542cbbde219338c294823e0a7b00d6365dd9b"),
    "textures": (1, "c56231a89120b5f1b44e762a88a28a2bb7bc90665bf848938ea8c097565a6f61"),
    "tiny-imagenet": (1, "6dff959098d2dbb4fcd99e0262d0be3368a702881b26597dc8158cb505267301"),
    "tiny-imagenet-c": (1, "903333e421b5af29d9af1bba8f494ebaf94ab85a03d7fa6bb40b352d72d142f1"),
    "tiny-imagenet-c-generated": (2, "b87c00a09f72949b1c3d7d712a0fc5f10284a37fd96c49a64b9aa44f595c61f7"),
    "tiny-imagenet-p-generated": (2, "9582e3d8eb8d8a9e22adf864ea7e510de354300eca12b4b420ad313abe3b07f8"),
    "tinyimagenet-crop": (1, "1d2bd82b03ea296834727c00dc61ad0ad02ea2d9421aa5bb1d67ed6f768f3802"),
    "tinyimagenet-resize": (1, "955fb7f3043f4819572070d3288f8a0e0c962fd7b9e64936e6b108ea6c99d9e5"),
}


def test_what_can_move_a_number_does_not_change_under_an_old_version() -> None:
    found = {
        name: (load_manifest(name).version, digest_of(load_dataset(name).scored_fields())) for name in NAMES
    }
    assert found == VERSIONS


#: protocols.md 1.1 to 1.20 and the sources named there: md5 by dataset and file.
PUBLISHED_MD5 = {
    ("imagenet-1k", "ILSVRC2012_img_val.tar"): "29b22e2961454d5413ddabcf34fc5622",
    ("imagenet-1k", "ILSVRC2012_devkit_t12.tar.gz"): "fa75699e90414af021442c21a62c3abf",
    ("imagenet-c", "noise.tar"): "e80562d7f6c3f8834afb1ecf27252745",
    ("imagenet-c", "blur.tar"): "2d8e81fdd8e07fef67b9334fa635e45c",
    ("imagenet-c", "weather.tar"): "33ffea4db4d93fe4a428c40a6ce0c25d",
    ("imagenet-c", "digital.tar"): "89157860d7b10d5797849337ca2e5c03",
    ("imagenet-c", "extra.tar"): "d492dfba5fc162d8ec2c3cd8ee672984",
    ("imagenet-p", "noise.tar"): "619b37b5139ce764f77ce3bed3aee837",
    ("imagenet-p", "blur.tar"): "869b2d2fb1604d1baa4316b5ecc9fdea",
    ("imagenet-p", "weather.tar"): "a597ff6db8c6fb0dbcd6eb12ed620002",
    ("imagenet-p", "digital.tar"): "8c1f73e4912812788e2fdb637cd55372",
    ("imagenet-a", "imagenet-a.tar"): "c3e55429088dc681f30d81f4726b6595",
    ("imagenet-o", "imagenet-o.tar"): "86bd7a50c1c4074fb18fc5f219d6d50b",
    ("imagenet-r", "imagenet-r.tar"): "a61312130a589d0ca1a8fca1f2bd3337",
    ("objectnet", "objectnet-1.0.zip"): "522aa986a604c41ea641411c1d0a292e",
    ("cifar-10", "cifar-10-python.tar.gz"): "c58f30108f718f92721af3b95e74349a",
    ("cifar-10-train-1", "cifar-10-python.tar.gz"): "c58f30108f718f92721af3b95e74349a",
    ("cifar-100", "cifar-100-python.tar.gz"): "eb9058c3a382ffc7106e4002c42a8d85",
    ("cifar-10-c", "CIFAR-10-C.tar"): "56bf5dcef84df0e2308c6dcbcbbd8499",
    ("cifar-100-c", "CIFAR-100-C.tar"): "11f0ed0f1191edbf9fa23466ae6021d3",
    ("cifar-10-p", "CIFAR-10-P.tar"): "125d6775afc5846ea84584d7524dedff",
    ("tiny-imagenet", "tiny-imagenet-200.zip"): "90528d7ca1a48142e341f4ef8d21d0de",
    ("tiny-imagenet-c", "Tiny-ImageNet-C.tar"): "f9c9a9dbdc11469f0b850190f7ad8be1",
    ("tiny-imagenet-c", "Tiny-ImageNet-C-extra.tar"): "0db0588d243cf403ef93449ec52b70eb",
    ("textures", "dtd-r1.0.1.tar.gz"): "fff73e5086ae6bdbea199a49dfb8a4c1",
    ("svhn", "test_32x32.mat"): "eb5a983be6a315427106f1b164d9cef3",
    ("mnist", "t10k-images-idx3-ubyte.gz"): "9fb629c4189551a2d022fa330f9573f3",
    ("mnist", "t10k-labels-idx1-ubyte.gz"): "ec29112dd5afa0611ce80d1b7f02629c",
    ("lsun-crop", "LSUN.tar.gz"): "458a0a0ab8e5f1cb4516d7400568e460",
    ("lsun-resize", "LSUN_resize.tar.gz"): "278b7b31c8cb7e804a1465a8ce03a2dc",
    ("tinyimagenet-crop", "Imagenet.tar.gz"): "7c0827e4246c3718a5ee076e999e52e5",
    ("tinyimagenet-resize", "Imagenet_resize.tar.gz"): "0f9ff11d45babf2eff5fe12281d1ac31",
    ("ninco", "NINCO_all.tar.gz"): "b9ffae324363cd900a81ce3c367cd834",
    ("openimage-o", "OpenImage-O.zip"): "c0abd7cd4b6f218a7149adc718d70e6e",
}


def test_every_archive_with_an_md5_is_one_of_the_published() -> None:
    found = {
        (name, archive.file): archive.md5
        for name in NAMES
        for archive in load_manifest(name).archives
        if archive.md5 is not None
    }
    assert found == PUBLISHED_MD5
    assert load_manifest("cifar-10").archives[0].bytes == 170_498_071


@pytest.mark.parametrize("name", NAMES)
def test_what_cannot_be_fetched_says_how_to_get_it_by_hand(name: str) -> None:
    manifest = load_manifest(name)
    addresses = [archive.address for archive in manifest.archives]
    for address in addresses:
        assert address is None or address.startswith("https://"), address
        assert address is None or "drive.google" not in address, address
    on_disk = bool(manifest.folder)
    assert bool(manifest.by_hand) == (on_disk and (not addresses or None in addresses))
    assert not manifest.by_hand or manifest.by_hand.strip().endswith(".")


@pytest.mark.parametrize("name", NAMES)
def test_an_archive_is_unpacked_where_its_dataset_is_looked_for(name: str) -> None:
    manifest = load_manifest(name)
    folder = f"{manifest.folder}/"
    for archive in manifest.archives:
        if archive.unpack_to:
            into = f"{archive.unpack_to}/"
            assert folder.startswith(into) or into.startswith(folder)


@pytest.mark.parametrize("name", NAMES)
def test_a_companion_has_the_classes_of_what_is_compared_with_it(name: str) -> None:
    manifest = load_manifest(name)
    if manifest.companion is None:
        return
    companion = load_manifest(manifest.companion)
    assert companion.role == "clean"
    if manifest.role != "ood":
        assert companion.label_space == manifest.label_space


def test_cifar_10_is_checked_by_the_md5_of_its_test_batch() -> None:
    layout = load_manifest("cifar-10").layout
    assert isinstance(layout, CifarPickleLayout)
    assert layout.files == {"test_batch": "40351d587109b95175f43aff81a1287e"}


def test_svhn_is_checked_by_its_md5_and_writes_ten_for_the_digit_zero() -> None:
    layout = load_manifest("svhn").layout
    assert isinstance(layout, MatLayout)
    assert (layout.label_of_class_0, layout.md5) == (10, PUBLISHED_MD5["svhn", "test_32x32.mat"])


def test_imagenet_is_50000_images_of_1000_classes_below_val() -> None:
    dataset = load_dataset("imagenet-1k")
    assert (dataset.manifest.samples, len(dataset.classes)) == (50_000, 1000)
    assert isinstance(dataset.manifest.layout, ImageFolderLayout)
    assert dataset.manifest.layout.path == "val"


def test_the_subsets_of_imagenet_are_three_different_lists_of_200() -> None:
    # Computed from the lists of the authors: |A&R| = 86, |A&O| = 59, |R&O| = 36, all three 20.
    a, o, r = (set(load_subset(f"imagenet-{letter}").classes) for letter in "aor")
    assert (len(a), len(o), len(r)) == (200, 200, 200)
    assert (len(a & r), len(a & o), len(r & o), len(a & o & r)) == (86, 59, 36, 20)


@pytest.mark.parametrize("name", ["imagenet-a", "imagenet-o", "imagenet-r", "objectnet", "sixteen-classes"])
def test_a_subset_stands_in_the_order_of_the_class_index(name: str) -> None:
    # The index of an ImageNet class is the rank of its wnid.
    classes = list(load_subset(name).classes)
    assert classes == sorted(classes)


@pytest.mark.parametrize(
    ("name", "n_classes", "n_members"), [("objectnet", 113, 125), ("sixteen-classes", 16, 207)]
)
def test_the_members_of_a_class_map_are_its_subset(name: str, n_classes: int, n_members: int) -> None:
    mapped = load_class_map(name)
    members = [member for group in mapped.classes.values() for member in group]
    assert (len(mapped.classes), len(members)) == (n_classes, n_members)
    assert sorted(members) == list(load_subset(name).classes)
    assert load_dataset("cue-conflict" if n_classes == 16 else name).classes == tuple(mapped.classes)


def test_known_classes_are_where_they_belong() -> None:
    assert load_class_map("objectnet").classes["alarm_clock"] == ("n02708093", "n03196217")
    assert load_class_map("sixteen-classes").classes["knife"] == ("n03041632",)  # cleaver
    assert load_class_map("sixteen-classes").classes["airplane"] == ("n02690373",)  # airliner


def test_tiny_imagenet_has_200_classes_of_imagenet_in_order() -> None:
    classes = load_label_space("tiny-imagenet").classes
    assert len(classes) == 200
    assert list(classes) == sorted(classes)
    assert set(classes) < set(load_label_space("imagenet-1k").classes)


def test_the_textures_names_add_up_to_the_length_of_the_published_list() -> None:
    # 120 lines a class, `texture/<class>/<class>_0000.jpg -1`, are 207,360 characters with their ends.
    classes = load_label_space("dtd").classes
    lines = [f"texture/{name}/{name}_0000.jpg -1\n" for name in classes]
    assert len(classes) == 47
    assert 120 * sum(map(len, lines)) == 207_360


@pytest.mark.parametrize(
    "name",
    [
        "imagenet-c",
        "imagenet-c-resize256",
        "cifar-10-c",
        "cifar-100-c",
        "tiny-imagenet-c",
        "imagenet-c-generated",
        "cifar-10-c-generated",
        "cifar-100-c-generated",
        "tiny-imagenet-c-generated",
    ],
)
def test_the_published_mean_is_over_the_official_fifteen_in_their_order(name: str) -> None:
    manifest = load_manifest(name)
    assert manifest.headline == OFFICIAL_15
    assert [(group.names, group.levels) for group in manifest.conditions] == [
        (OFFICIAL_15 + EXTRA_4, (1, 2, 3, 4, 5))
    ]


@pytest.mark.parametrize("name", ["imagenet-c", "imagenet-c-bar"])
def test_a_resized_set_is_the_files_of_another_that_are_resized_and_cropped_again(name: str) -> None:
    stored, resized = (load_manifest(each) for each in (name, f"{name}-resize256"))
    assert (stored.pre_cropped, resized.pre_cropped) == (True, False)
    assert (stored.recropped, resized.recropped) == (None, (256, 224))
    same = {field for field in type(stored).model_fields if getattr(stored, field) == getattr(resized, field)}
    # Nothing is fetched twice: the archives belong to the other.
    assert set(type(stored).model_fields) - same <= {
        "name", "title", "pre_cropped", "recropped", "archives", "by_hand", "unverified", "notes",
    }  # fmt: skip
    assert resized.archives == ()


def test_the_groups_of_imagenet_c_hold_its_nineteen() -> None:
    layout = load_manifest("imagenet-c").layout
    assert isinstance(layout, ImageFolderLayout)
    assert sorted(name for names in layout.groups.values() for name in names) == sorted(OFFICIAL_15 + EXTRA_4)
    # Every archive is called after the group that it holds.
    assert [archive.file for archive in load_manifest("imagenet-c").archives] == [
        f"{group}.tar" for group in layout.groups
    ]


@pytest.mark.parametrize("name", ["cifar-10-c", "cifar-100-c", "cifar-10-c-bar"])
def test_a_file_of_cifar_c_holds_five_severities(name: str) -> None:
    layout = load_manifest(name).layout
    assert isinstance(layout, NpyLayout)
    assert (layout.images, layout.labels, layout.levels_in_rows) == ("{name}.npy", "labels.npy", 5)


@pytest.mark.parametrize(
    ("name", "frames_of"),
    [
        ("imagenet-p", {"translate": 41}),
        ("cifar-10-p", {"motion_blur": 21, "translate": 16}),
        ("cifar-100-p", {"motion_blur": 21, "translate": 16}),
    ],
)
def test_sequences_have_the_published_frames_and_the_ten_of_the_paper(
    name: str, frames_of: dict[str, int]
) -> None:
    manifest = load_manifest(name)
    assert isinstance(manifest.layout, ClipsLayout)
    assert (manifest.layout.frames, manifest.layout.frames_of) == (31, frames_of)
    assert manifest.headline == PAPER_TEN
    # Fourteen sequences, and three kinds of noise that are also there two steps harder.
    conditions = manifest.all_conditions()
    assert len([condition for condition in conditions if condition.level == 1]) == 14
    assert {condition.name for condition in conditions if condition.level > 1} == {
        "gaussian_noise",
        "shot_noise",
        "speckle_noise",
    }


@pytest.mark.parametrize(
    ("name", "samples"),
    [
        ("imagenet-a", 7_500),
        ("imagenet-o", 2_000),
        ("imagenet-r", 30_000),
        ("objectnet", 18_514),
        ("cifar-10.1-v4", 2_021),
        ("cifar-10.1-v6", 2_000),
        ("textures", 5_640),
        ("svhn", 26_032),
        ("isun", 8_925),
        ("lsun", 10_000),
        ("ninco", 5_879),
        ("openood-imagenet-ssb-hard", 49_000),
        ("openood-imagenet-openimage-o", 15_869),
        ("cue-conflict", 1_280),
    ],
)
def test_a_dataset_has_the_published_number_of_images(name: str, samples: int) -> None:
    # protocols.md 1.5 to 1.20
    assert load_manifest(name).samples == samples


def test_two_pixels_of_border_are_cut_from_objectnet_alone() -> None:
    assert {name: load_manifest(name).border for name in NAMES if load_manifest(name).border} == {
        "objectnet": 2
    }


@pytest.mark.parametrize(("name", "source"), [("imagenet-real", "imagenet-1k"), ("cifar-10h", "cifar-10")])
def test_a_set_of_labels_has_an_entry_for_every_image_of_its_source(name: str, source: str) -> None:
    layout = load_manifest(name).layout
    assert isinstance(layout, RelabelledLayout)
    assert layout.source == source
    assert load_manifest(name).samples == load_manifest(source).samples


@pytest.mark.parametrize(
    ("name", "sample_id", "columns"),
    [
        ("imagenet-r", "n01910747/tattoo_75", {"style": ["tattoo"]}),
        ("cue-conflict", "airplane/airplane1-bicycle2", {"shape": ["airplane"], "texture": ["bicycle"]}),
        ("cue-conflict", "airplane/airplane10-airplane1", {"shape": ["airplane"], "texture": ["airplane"]}),
    ],
)
def test_group_columns_are_read_from_published_names(
    name: str, sample_id: str, columns: dict[str, list[str]]
) -> None:
    assert load_dataset(name).columns([sample_id]) == columns


#: protocols.md 1.21: images in each set of ROBIN.
ROBIN = {
    "iid-test": 4852, "context": 567, "occlusion": 5779, "pose": 1075, "shape": 981, "texture": 565,
    "weather": 1348,
}  # fmt: skip


def test_robin_has_an_iid_test_and_six_nuisances_of_the_published_sizes() -> None:
    found = {name.removeprefix("robin-"): load_manifest(name) for name in NAMES if name.startswith("robin-")}
    assert {name: manifest.samples for name, manifest in found.items()} == ROBIN
    assert {name for name, manifest in found.items() if manifest.companion == "robin-iid-test"} == (
        set(ROBIN) - {"iid-test"}
    )


@pytest.mark.realdata
@pytest.mark.parametrize("name", ROBIN)
def test_the_label_files_of_robin_have_these_lines_and_categories(name: str, shared: Path) -> None:
    path = shared / "data" / "predictions" / "robin" / "labels" / f"{name.replace('-', '_')}.csv"
    with path.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    manifest = load_manifest(f"robin-{name}")
    layout = manifest.layout
    assert isinstance(layout, ImageListLayout)
    assert layout.label is not None
    assert len(rows) == manifest.samples
    assert {row[layout.label] for row in rows} <= set(load_dataset(f"robin-{name}").classes)
    # Four lines of the IID test set stand twice.
    distinct = {(row[layout.label], row[layout.image]) for row in rows}
    assert len(distinct) in (manifest.samples, *manifest.samples_also)


@pytest.mark.realdata
def test_the_texture_samples_lie_in_folders_of_known_names(shared: Path) -> None:
    found = {path.name for path in (shared / "data" / "samples" / "dtd" / "images").iterdir()}
    assert found <= set(load_label_space("dtd").classes)


@pytest.mark.parametrize("name", ["digits-c", "digits-p"])
def test_every_generated_condition_can_be_made(name: str) -> None:
    dataset = load_dataset(name)
    layout = dataset.manifest.layout
    assert isinstance(layout, GeneratedLayout)
    known = {
        "corruption": corruptions.corruption_names(layout.variant),
        "sequence": corruptions.sequence_names(layout.variant),
    }
    for condition in dataset.manifest.all_conditions():
        assert condition.name in known[condition.kind]
        assert len(dataset.open(condition, seed=0).sample_ids) == 850


GENERATED = [name for name in NAMES if isinstance(load_manifest(name).layout, GeneratedLayout)]


@pytest.mark.parametrize("name", GENERATED)
def test_a_generated_dataset_has_parameters_for_every_condition_at_the_size_of_its_variant(name: str) -> None:
    manifest = load_manifest(name)
    assert isinstance(manifest.layout, GeneratedLayout)
    side = SIDES[manifest.layout.variant]
    assert manifest.image_size == (side, side)
    # A network of another size takes the crops of ImageNet whole, as it takes those of the files.
    assert manifest.pre_cropped == (side > 32)
    for condition in manifest.all_conditions():
        if condition.kind == "corruption":
            assert condition.level <= len(SEVERITIES[condition.name][manifest.layout.variant])
        else:
            assert condition.name in PUBLISHED_SEQUENCES


@pytest.mark.parametrize(
    "name", [name for name in GENERATED if name.removesuffix("-generated") in set(NAMES) - {name}]
)
def test_generated_images_have_their_conditions_in_common_with_the_published_and_their_clean_images(
    name: str,
) -> None:
    made, published = load_manifest(name), load_manifest(name.removesuffix("-generated"))
    assert isinstance(made.layout, GeneratedLayout)
    assert (made.conditions, made.headline, made.headline_levels) == (
        published.conditions, published.headline, published.headline_levels)  # fmt: skip
    assert (made.samples, made.image_size, made.label_space, made.role) == (
        published.samples, published.image_size, published.label_space, published.role)  # fmt: skip
    assert made.companion == made.layout.source == published.companion


def test_no_manifest_speaks_of_a_file_outside_its_folder() -> None:
    folder = Path(__file__).parents[2] / "data_manifests"
    for path in folder.rglob("*.yaml"):
        assert not re.search(r"(^|[\s/])\.\./", path.read_text()), path


def test_the_page_for_users_lists_every_dataset_with_its_size() -> None:
    page = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text()
    listed = re.findall(r"^\| `([a-z0-9.-]+)` \| ([0-9,]+) x ([0-9]+) \|", page, flags=re.MULTILINE)
    manifests = [load_manifest(name) for name in NAMES]
    assert sorted(listed) == sorted(
        (one.name, f"{one.samples:,}", str(len(one.all_conditions()))) for one in manifests
    )

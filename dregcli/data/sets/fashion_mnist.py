"""Fashion-MNIST: articles of clothing, published in MNIST's format and meant to take its place."""

from functools import partial
from typing import Final

from dregcli.data.entries import Downloadable, FileSet
from dregcli.data.sets.mnist import BURDA, DREG, HELD_OUT, TEST_IMAGES, TRAIN_IMAGES, hold_out, images_file
from dregcli.names import DataKind

FASHION_MNIST: Final = Downloadable(
    name="fashion-mnist",
    cites=("xiao2017fashion",),
    kind=DataKind.INTENSITY,
    height=28,
    width=28,
    levels=255,
    # torchvision's mirror; plain http, but the content is compared with the checksums.
    mirrors=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
    system_folders=("/usr/share/datasets/fashion-mnist",),
    published=FileSet(
        files=(
            # The packed MD5 is the publisher's; Debian's package has the same content, packed again.
            images_file(
                TRAIN_IMAGES,
                count=60_000,
                height=28,
                width=28,
                md5="f4a8712d7a061bf5bd6d2ca38dc4d50a",
                packed_md5="8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            ),
            images_file(
                TEST_IMAGES,
                count=10_000,
                height=28,
                width=28,
                md5="8181f5470baa50b63fa0f6fddb340f0a",
                packed_md5="bef4ecab320f06d8554ea6380940ec79",
            ),
        ),
        split=partial(hold_out, valid=10_000),
        conventions={"dreg": DREG, "burda": BURDA},
        converted=HELD_OUT,
    ),
)

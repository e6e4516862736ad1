"""Every file of the real data packs is an image or is refused in one line; nothing else may happen."""

from pathlib import Path

import pytest

from healthgpt.errors import ImageError
from healthgpt.imaging.intensity import to_display
from healthgpt.imaging.read import read_image

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
PACKS = sorted(path for path in DATA.iterdir() if path.is_dir()) if DATA.is_dir() else []
NOT_IMAGES = {".md", ".json", ".jsonl", ".csv", ".tsv", ".txt", ".xml", ".npz", ".pkl"}
NO_PICTURE = {"no-pixel-data.dcm", "nrrd.raw.gz"}


@pytest.fixture(params=PACKS or [None], ids=lambda pack: pack.name if pack else "missing")
def pack(request) -> Path:
    if request.param is None:
        pytest.skip(f"the real data packs are not at {DATA}")
    return request.param


def test_every_file_of_the_pack(pack, capfd):
    for path in sorted(path for path in pack.rglob("*") if path.is_file()):
        empty_mask = path.name.startswith("normal (") and path.name.endswith("_mask.png")
        if path.suffix in NOT_IMAGES or path.name in NO_PICTURE or empty_mask:
            with pytest.raises(ImageError) as caught:
                read_image(path)
            assert "\n" not in str(caught.value)
            continue
        image = read_image(path)
        shown = to_display(image)
        assert shown.shape == image.pixels.shape
        assert shown.std() > 1, f"{path} shows next to nothing"
    told = capfd.readouterr()
    assert (told.out, told.err) == ("", "")

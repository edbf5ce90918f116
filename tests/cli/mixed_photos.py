"""A folder of 60 files as a person has it: flowers, faces, other pictures, in many formats.

Made from scikit-learn's flower and temple, scikit-image's astronaut, cat and small faces
(`lfw_subset`), and generated waves; each picture is there once.
"""

import io
import pathlib
from collections.abc import Iterator

import numpy as np
import PIL.Image
import pillow_heif
import skimage.data
import sklearn.datasets

from tests.data.test_photo_colour import P3, profile
from tests.data.test_photo_files import exif_bytes, jpeg_bytes

FOLDERS = ("flowers", "faces", "other")
PASSED_OVER = ("other/moving.gif", "other/moving.webp", "other/cut_off.jpg")
_NUM_FACES, _TILE = 22, 106


def write_mixed_photos(root: pathlib.Path) -> int:
    """Write `flowers`, `faces` and `other` below a new folder; return the number of files.

    Three of them cannot be marked (`PASSED_OVER`). A hidden file is not counted.
    """
    pillow_heif.register_heif_opener()
    for name in FOLDERS:
        (root / name).mkdir(parents=True)
    files = {**dict(_flowers()), **dict(_faces()), **dict(_others())}
    for name, content in files.items():
        (root / name).write_bytes(content)
    (root / "other" / ".DS_Store").write_bytes(b"Bud1")
    return len(files)


def _flowers() -> Iterator[tuple[str, bytes]]:
    """24 parts of scikit-learn's flower: JPEG with EXIF and Display P3, WebP, HEIC, TIFF."""
    whole = sklearn.datasets.load_sample_image("flower.jpg")
    thumbnail = jpeg_bytes(PIL.Image.fromarray(whole).resize((48, 32)))
    phone = {
        "quality": 92,
        "exif": b"Exif\0\0" + exif_bytes(orientation=6, thumbnail=thumbnail),
        "icc_profile": profile(P3),
    }
    how = (
        *[("jpg", "JPEG", phone)] * 8,
        *[("jpg", "JPEG", {"quality": 75, "subsampling": "4:2:0", "dpi": (300, 300)})] * 8,
        *[("webp", "WEBP", {"quality": 80})] * 2,
        ("webp", "WEBP", {"lossless": True}),
        *[("heic", "HEIF", {"quality": 90})] * 3,
        *[("tif", "TIFF", {"compression": "tiff_lzw"})] * 2,
    )
    for number, (image, kind) in enumerate(zip(_tiles(whole, 24), how, strict=True), 1):
        ending, name, options = kind
        yield f"flowers/flower{number:02d}.{ending}", _encoded(image, name, **options)


def _faces() -> Iterator[tuple[str, bytes]]:
    """The astronaut in 24 megapixels, and small grey faces as PNG and JPEG."""
    astronaut = PIL.Image.fromarray(skimage.data.astronaut()).crop((128, 0, 308, 120))
    large = astronaut.resize((6000, 4000), PIL.Image.Resampling.BICUBIC)
    yield "faces/astronaut.jpg", _encoded(large, "JPEG", quality=90)
    for number, face in enumerate(skimage.data.lfw_subset()[:_NUM_FACES], 1):
        grey = PIL.Image.fromarray(np.rint(face * 255).astype(np.uint8))
        grey = grey.resize((120, 120), PIL.Image.Resampling.BICUBIC)
        if number % 2:
            yield f"faces/face{number:02d}.png", _encoded(grey.convert("RGB"), "PNG")
        else:
            yield f"faces/face{number:02d}.jpg", _encoded(grey, "JPEG", quality=85)


def _others() -> Iterator[tuple[str, bytes]]:
    """CMYK, 16 bits, a palette with transparency, AVIF; and three that cannot be marked."""
    temple = _tiles(sklearn.datasets.load_sample_image("china.jpg"), 4)
    cat = PIL.Image.fromarray(skimage.data.chelsea())
    waves = [_waves(seed) for seed in range(4)]
    yield "other/temple1.jpg", _encoded(temple[0].convert("CMYK"), "JPEG", quality=90)
    yield "other/temple2.jpg", _encoded(temple[1].convert("CMYK"), "JPEG", quality=90)
    yield "other/temple3.avif", _encoded(temple[2], "AVIF", quality=80)
    yield "other/temple4.jpg", _encoded(temple[3], "JPEG", quality=95, subsampling="4:4:4")
    palette = cat.resize((150, 100)).quantize(64)
    yield "other/cat.png", _encoded(palette, "PNG", transparency=0)
    yield "other/cat.jpg", _encoded(cat.crop((150, 80, 300, 230)), "JPEG", progressive=True)
    for number, wave in enumerate(waves[:2], 1):
        sixteen = np.asarray(wave).astype(np.uint16)[..., 0] * 257
        yield f"other/sixteen{number}.png", _encoded(PIL.Image.fromarray(sixteen), "PNG")
    for number, wave in enumerate(waves[2:], 1):
        yield f"other/wave{number}.png", _encoded(wave, "PNG")
    frames = {"save_all": True, "append_images": [waves[1].convert("P")]}
    yield "other/moving.gif", _encoded(waves[0].convert("P"), "GIF", **frames)
    frames = {"save_all": True, "append_images": [waves[3]]}
    yield "other/moving.webp", _encoded(waves[2], "WEBP", **frames)
    whole = _encoded(temple[3].resize((200, 200)), "JPEG", quality=90)
    yield "other/cut_off.jpg", whole[: len(whole) // 2]


def _tiles(image: np.ndarray, number: int) -> list[PIL.Image.Image]:
    """Cut squares side by side, row after row, as many as are needed."""
    height, width = (side // _TILE * _TILE for side in image.shape[:2])
    corners = [(y, x) for y in range(0, height, _TILE) for x in range(0, width, _TILE)]
    return [
        PIL.Image.fromarray(image[y : y + _TILE, x : x + _TILE]) for y, x in corners[:number]
    ]


def _waves(seed: int) -> PIL.Image.Image:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:90, :120] / 30
    waves = [np.sin(rng.uniform(0.5, 3) * x + rng.uniform(0.5, 3) * y) for _ in range(3)]
    return PIL.Image.fromarray((128 + 80 * np.stack(waves, axis=-1)).astype(np.uint8))


def _encoded(image: PIL.Image.Image, kind: str, **how) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()

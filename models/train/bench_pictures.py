"""Times a 12-megapixel JPEG's way to 1024 pixels and back, Millpond's and Pillow's in turn, each on one thread.

    cargo build --release -p infer --example picture_speed
    python bench_pictures.py ../../target/release/examples/picture_speed

prints each stage's least milliseconds and the ratio. The photo is made up: smooth colours, edges and a camera's noise.
"""

import argparse
import io
import json
import subprocess
import tempfile
import time

import numpy as np
from PIL import Image

WIDTH, HEIGHT, MAX_SIDE, RUNS = 4000, 3000, 1024, 15


def photo():
    random = np.random.default_rng(3)
    coarse = Image.fromarray(random.integers(0, 256, (30, 40, 3), dtype=np.uint8), "RGB")
    smooth = np.asarray(coarse.resize((WIDTH, HEIGHT), Image.BICUBIC), np.float32)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    edges = 40 * (((x // 97 + y // 61) % 2) * 2 - 1)
    noisy = smooth + edges[..., None] + random.normal(0, 4, smooth.shape)
    file = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8), "RGB").save(file, "JPEG", quality=88)
    return file.getvalue()


def pillow(file):
    """Milliseconds of each stage."""
    times = {}

    def timed(stage, work):
        start = time.perf_counter()
        result = work()
        times[stage] = (time.perf_counter() - start) * 1000
        return result

    def decode():
        image = Image.open(io.BytesIO(file))
        image.load()
        return image

    image = timed("decode", decode)
    size = (MAX_SIDE, round(image.height * MAX_SIDE / image.width))
    small = timed("resize", lambda: image.resize(size, Image.LANCZOS))
    timed("encode PNG", lambda: small.save(io.BytesIO(), "PNG"))
    timed("encode JPEG", lambda: small.save(io.BytesIO(), "JPEG", quality=90))
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture_speed")
    program = parser.parse_args().picture_speed
    file = photo()
    print(f"a JPEG of {WIDTH} x {HEIGHT} pixels, {len(file)} bytes; the least of {RUNS}, in milliseconds")
    ours, theirs = {}, {}
    with tempfile.NamedTemporaryFile(suffix=".jpg") as saved:
        saved.write(file)
        saved.flush()
        for _ in range(RUNS):
            output = subprocess.run([program, saved.name, "1"], check=True, capture_output=True).stdout
            for stage, times in json.loads(output).items():
                ours[stage] = min(ours.get(stage, float("inf")), times["least"])
            for stage, milliseconds in pillow(file).items():
                theirs[stage] = min(theirs.get(stage, float("inf")), milliseconds)
    totals = {"to PNG": ("decode", "resize", "encode PNG"), "to JPEG": ("decode", "resize", "encode JPEG")}
    for name, stages in totals.items():
        ours[name], theirs[name] = (sum(times[stage] for stage in stages) for times in (ours, theirs))
    for stage in ours:
        print(f"{stage:12} Millpond {ours[stage]:7.1f}   Pillow {theirs[stage]:7.1f}   ratio {theirs[stage] / ours[stage]:.2f}")


if __name__ == "__main__":
    main()

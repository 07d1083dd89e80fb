"""Writes small pictures of every kind that Millpond decodes, and what Pillow makes of them, for the tests of crates/infer.

    python reference_pictures.py ../../crates/infer/tests/reference/pictures

Beside each picture NAME lies NAME.rgb, the pixels as Pillow sees them: turned as EXIF says, laid over white, 8 bits of red, green and blue.
Pillow reads 16-bit colours by their upper byte alone, so those of PNGs with 16 bits are computed here, rounded.
"""

import argparse
import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

WIDTH, HEIGHT = 37, 29  # neither is a multiple of a JPEG block


def scene(channels=3):
    """Smooth colours with a few edges, HEIGHT x WIDTH x channels, as numbers in 0..1; the last channel of four is an alpha."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    red, green, blue = x / (WIDTH - 1), y / (HEIGHT - 1), 0.5 + 0.5 * np.sin((x + 2 * y) / 9)
    disc = (x - 10) ** 2 + (y - 9) ** 2 < 36
    red, green = np.where(disc, 0.9, red), np.where(disc, 0.2, green)
    alpha = np.clip((x + y) / 40, 0, 1)
    return np.stack([red, green, blue, alpha], axis=-1)[..., :channels]


def eight(values):
    return np.round(values * 255).astype(np.uint8)


def sixteen(values):
    return np.round(values * 65535).astype(np.uint16)


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def png(samples, colour_type, depth, interlaced=False, transparent=b""):
    """A PNG by hand: Pillow writes neither colours of 16 bits nor interlaced pictures."""
    samples = samples.reshape(HEIGHT, WIDTH, -1)

    def rows(part):
        if depth < 8:
            bits = np.unpackbits(part.astype(np.uint8)[..., None], axis=-1)[..., 8 - depth :]
            packed = np.packbits(bits.reshape(part.shape[0], -1), axis=-1)
            return b"".join(b"\0" + row.tobytes() for row in packed)
        wide = part.astype(">u2" if depth == 16 else np.uint8)
        return b"".join(b"\0" + row.tobytes() for row in wide)

    passes = [samples[y::dy, x::dx] for x, y, dx, dy in ADAM7] if interlaced else [samples]
    data = b"".join(rows(part) for part in passes if part.size)
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, colour_type, 0, 0, int(interlaced))
    return b"".join([
        b"\x89PNG\r\n\x1a\n",
        chunk(b"IHDR", header),
        chunk(b"tRNS", transparent) if transparent else b"",
        chunk(b"IDAT", zlib.compress(data, 9)),
        chunk(b"IEND", b""),
    ])


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def exif(orientation):
    data = Image.Exif()
    data[0x0112] = orientation
    return data


def over_white(values):
    """RGBA or grey with alpha, in 0..1, as 8-bit RGB."""
    colour, alpha = values[..., :-1], values[..., -1:]
    return np.broadcast_to(eight(colour * alpha + 1 - alpha), (HEIGHT, WIDTH, 3))


def as_pillow_sees_it(file):
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(file)))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        values = np.asarray(image.convert("RGBA"), dtype=np.float64) / 255
        colour, alpha = values[..., :3], values[..., 3:]
        return eight(colour * alpha + 1 - alpha)
    return np.asarray(image.convert("RGB"))


def ycck(image):
    """A JPEG in YCCK: the CMY of a CMYK picture turned into YCbCr, and Adobe's marker saying so."""
    cmyk = np.asarray(image)
    inverted = Image.fromarray(255 - cmyk[..., :3], "RGB").convert("YCbCr")
    # Pillow inverts what it writes as CMYK.
    channels = np.dstack([255 - np.asarray(inverted), cmyk[..., 3]])
    file = bytearray(saved(Image.frombytes("CMYK", image.size, channels.tobytes()), "JPEG", quality=95))
    marker = file.index(b"Adobe")
    file[marker + 11] = 2
    return bytes(file)


def pictures():
    """Name, file and, where Pillow is not to be asked, pixels."""
    rgb = Image.fromarray(eight(scene()), "RGB")
    grey = rgb.convert("L")
    rgba = Image.fromarray(eight(scene(4)), "RGBA")
    k = np.full((HEIGHT, WIDTH), 40, np.uint8)
    cmyk = Image.frombytes("CMYK", rgb.size, np.dstack([255 - np.asarray(rgb), k]).tobytes())
    for name, options in [
        ("baseline", {}),
        ("full-colour", {"subsampling": 0}),
        ("half-colour", {"subsampling": 1}),
        ("progressive", {"progressive": True}),
        ("restarts", {"restart_marker_blocks": 2}),
    ]:
        yield f"{name}.jpg", saved(rgb, "JPEG", quality=90, **options), None
    yield "grey.jpg", saved(grey, "JPEG", quality=90), None
    yield "cmyk.jpg", saved(cmyk, "JPEG", quality=95), None
    yield "ycck.jpg", ycck(cmyk), None
    for orientation in range(1, 9):
        yield f"orientation-{orientation}.jpg", saved(rgb, "JPEG", quality=85, subsampling=0, exif=exif(orientation)), None

    yield "rgb.png", saved(rgb, "PNG"), None
    yield "rgba.png", saved(rgba, "PNG"), None
    yield "grey.png", saved(grey, "PNG"), None
    yield "grey-alpha.png", saved(rgba.convert("LA"), "PNG"), None
    yield "bilevel.png", saved(grey.convert("1"), "PNG"), None
    for depth in (2, 4):
        levels = np.round(scene()[..., 0] * (2**depth - 1))
        pixels = np.repeat(eight(levels / (2**depth - 1))[..., None], 3, axis=-1)
        yield f"grey-{depth}-bits.png", png(levels, 0, depth), pixels
    for depth in (1, 2, 4, 8):
        paletted = rgb.quantize(2**depth)
        yield f"palette-{depth}-bits.png", saved(paletted, "PNG", bits=depth), None
    yield "palette-transparent.png", saved(rgb.quantize(16), "PNG", bits=4, transparency=bytes([0, 80, 200])), None
    colour = np.asarray(rgb)[20, 30]
    yield "rgb-transparent.png", png(np.asarray(rgb), 2, 8, transparent=struct.pack(">HHH", *map(int, colour))), None
    yield "interlaced.png", png(np.asarray(rgb), 2, 8, interlaced=True), None
    yield "interlaced-1-bit.png", png(np.asarray(grey) > 127, 0, 1, interlaced=True), None
    wide = sixteen(scene(4))
    values = wide / 65535
    yield "rgb-16-bits.png", png(wide[..., :3], 2, 16), eight(values[..., :3])
    yield "rgba-16-bits.png", png(wide, 6, 16), over_white(values)
    yield "grey-16-bits.png", png(wide[..., :1], 0, 16), np.repeat(eight(values[..., :1]), 3, axis=-1)
    yield "grey-alpha-16-bits.png", png(wide[..., [0, 3]], 4, 16), over_white(values[..., [0, 3]])
    yield "orientation-6.png", saved(rgb, "PNG", exif=exif(6)), None
    others = [ImageOps.invert(rgb), ImageOps.mirror(rgb)]
    yield "animated.png", saved(rgb, "PNG", save_all=True, append_images=others, default_image=False), None

    yield "lossy.webp", saved(rgb, "WEBP", quality=90), None
    yield "lossless.webp", saved(rgb, "WEBP", lossless=True), None
    yield "lossy-alpha.webp", saved(rgba, "WEBP", quality=90), None
    yield "lossless-alpha.webp", saved(rgba, "WEBP", lossless=True, exact=True), None
    yield "orientation-8.webp", saved(rgb, "WEBP", lossless=True, exif=exif(8)), None
    yield "animated.webp", saved(rgb, "WEBP", lossless=True, save_all=True, append_images=others), None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    sizes = {}
    for name, file, pixels in pictures():
        pixels = as_pillow_sees_it(file) if pixels is None else pixels
        (out / name).write_bytes(file)
        (out / f"{name}.rgb").write_bytes(np.ascontiguousarray(pixels, dtype=np.uint8).tobytes())
        sizes[name] = [pixels.shape[1], pixels.shape[0]]
    (out / "reference.json").write_text(json.dumps(sizes, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Draws a photo with ONNX Runtime, as the line-art model's answer in samples/ was made.

    python reference_line_art.py ../line-art/1/model.onnx photo.jpg drawing.png

Pillow decodes the photo and turns it as EXIF says; nothing is resized.
"""

import argparse

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

MULTIPLE = 8


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("photo")
    parser.add_argument("drawing")
    arguments = parser.parse_args()
    photo = np.asarray(ImageOps.exif_transpose(Image.open(arguments.photo)).convert("RGB"), np.float32) / 255
    height, width, _ = photo.shape
    padded = np.pad(photo, [(0, -height % MULTIPLE), (0, -width % MULTIPLE), (0, 0)], mode="edge")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(arguments.model, options, providers=["CPUExecutionProvider"])
    (drawing,) = session.run(None, {"image": np.ascontiguousarray(padded.transpose(2, 0, 1)[None])})
    samples = np.round(drawing[0, 0, :height, :width] * 255).astype(np.uint8)
    Image.fromarray(samples).save(arguments.drawing, optimize=True)


if __name__ == "__main__":
    main()

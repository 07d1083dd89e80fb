"""The line-art system as a Lambda handler: Pillow opens the photo and writes the drawing, ONNX Runtime draws."""

import base64
import io
import sys

import numpy
import onnxruntime
from PIL import Image, ImageOps

import runtime

MULTIPLE = 8
session = onnxruntime.InferenceSession(f"{sys.argv[1]}/line-art/1/model.onnx", providers=["CPUExecutionProvider"])


def handler(event):
    photo = ImageOps.exif_transpose(Image.open(event["path"])).convert("RGB")
    pixels = numpy.asarray(photo, numpy.float32) / 255
    height, width, _ = pixels.shape
    padded = numpy.pad(pixels, [(0, -height % MULTIPLE), (0, -width % MULTIPLE), (0, 0)], mode="edge")
    (drawing,) = session.run(None, {"image": numpy.ascontiguousarray(padded.transpose(2, 0, 1)[None])})
    samples = numpy.round(drawing[0, 0, :height, :width] * 255).astype(numpy.uint8)
    png = io.BytesIO()
    Image.fromarray(samples).save(png, "PNG")
    return base64.b64encode(png.getvalue()).decode()


runtime.run(handler)

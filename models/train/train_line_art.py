"""Train the line-art model: a small U-Net that draws what the line operator draws.

Training crops are made once, each from a photo (or from shapes made up, a quarter of them) at a
random scale, angle, colour, gamma and contrast; the operator draws what the network should. Then
the network sees them turned and mirrored, and half of them with noise or JPEG's marks that the
operator didn't see, so that it learns to ignore those.

    python line_art_photos.py --out photos
    python train_line_art.py --photos photos/train --out line_art.onnx
"""

import argparse
import hashlib
import json
import multiprocessing
import pathlib
import time
import warnings

import cv2
import numpy as np
import torch
from line_art_net import MULTIPLE, LineArtNet, radius
from line_operator import draw

SEED = 2
CROP = 128
CROPS = 5000
MADE_UP = 0.25
BATCH = 8
STEPS = 1300
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 1e-4
# The trained logits are multiplied by it, so that paper which the network finds 98 % white comes
# out white, and lines nearer the operator's: a mean difference of 0.022 instead of 0.024 on the
# test photos, where it was chosen. What is darker than half stays so.
SHARPEN = 1.5
OPSET = 17


def load(folder: pathlib.Path) -> list[np.ndarray]:
    """The photos, (H, W, 3) uint8 RGB, in the order of their names."""
    return [
        np.ascontiguousarray(cv2.imread(str(path), cv2.IMREAD_COLOR)[..., ::-1])
        for path in sorted(folder.iterdir())
    ]


def photo_crop(photos: list[np.ndarray], draw_lots: np.random.Generator) -> np.ndarray:
    """A part of a photo, at a random scale and mostly a little turned."""
    photo = photos[draw_lots.integers(len(photos))]
    short = min(photo.shape[:2])
    smallest, largest = max(CROP / short, 0.3), max(1.6, 300 / short)
    scale = np.exp(draw_lots.uniform(np.log(min(smallest, largest)), np.log(largest)))
    # With a margin for the turning; where the photo has none, it is mirrored.
    side = min(round(1.25 * CROP / scale), short)
    left = draw_lots.integers(photo.shape[1] - side + 1)
    top = draw_lots.integers(photo.shape[0] - side + 1)
    scaled = round(side * scale)
    part = cv2.resize(
        photo[top : top + side, left : left + side],
        (scaled, scaled),
        interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC,
    )
    angle = draw_lots.normal(0, 10) if draw_lots.random() < 0.6 else 0.0
    turn = cv2.getRotationMatrix2D(((scaled - 1) / 2, (scaled - 1) / 2), angle, 1.0)
    turn[:, 2] += (CROP - scaled) / 2
    border = cv2.BORDER_REFLECT_101
    return cv2.warpAffine(part, turn, (CROP, CROP), flags=cv2.INTER_LINEAR, borderMode=border)


def made_up_crop(photos: list[np.ndarray], draw_lots: np.random.Generator) -> np.ndarray:
    """Shapes filled with gradients or parts of photos, on such a ground, more or less sharp."""
    canvas = _filling(photos, draw_lots)
    for _ in range(draw_lots.integers(2, 12)):
        mask = np.zeros((CROP, CROP), np.uint8)
        kind = draw_lots.integers(4)
        points = draw_lots.integers(-CROP // 4, CROP * 5 // 4, (draw_lots.integers(3, 8), 2))
        axes = tuple(map(int, draw_lots.integers(3, CROP // 2, 2)))
        center = tuple(map(int, points[0]))
        thickness = int(draw_lots.integers(1, 9))
        if kind == 0:
            cv2.fillPoly(mask, [points], 255, cv2.LINE_AA)
        elif kind == 1:
            cv2.polylines(mask, [points], False, 255, thickness, cv2.LINE_AA)
        else:
            angle = draw_lots.uniform(0, 180)
            fill = -1 if kind == 2 else thickness
            cv2.ellipse(mask, center, axes, angle, 0, 360, 255, fill, cv2.LINE_AA)
        share = cv2.GaussianBlur(mask, (0, 0), draw_lots.uniform(0.3, 3))[..., None] / 255
        canvas = canvas + share * (_filling(photos, draw_lots) - canvas)
    return canvas.round().clip(0, 255).astype(np.uint8)


def _filling(photos: list[np.ndarray], draw_lots: np.random.Generator) -> np.ndarray:
    if draw_lots.random() < 0.3:
        return photo_crop(photos, draw_lots).astype(np.float32)
    corners = draw_lots.uniform(0, 255, 3) + draw_lots.normal(0, 25, (2, 2, 3))
    smooth = cv2.resize(corners.astype(np.float32), (CROP, CROP), interpolation=cv2.INTER_LINEAR)
    return smooth + draw_lots.normal(0, draw_lots.choice([0, 2, 6]), smooth.shape)


def recolored(crop: np.ndarray, draw_lots: np.random.Generator) -> np.ndarray:
    """Other colours, gamma and contrast, sometimes a negative, grey, or slightly out of focus."""
    image = crop.astype(np.float32) / 255
    image = image[..., draw_lots.permutation(3)] if draw_lots.random() < 0.3 else image
    image = 1 - image if draw_lots.random() < 0.1 else image
    grey = image.mean(-1, keepdims=True)
    image = grey + draw_lots.choice([0, 0.5, 1, 1, 1.5]) * (image - grey)
    image = image.clip(0, 1) ** np.exp(draw_lots.normal(0, 0.35))
    image = (image - 0.5) * np.exp(draw_lots.normal(-0.1, 0.25)) + 0.5 + draw_lots.normal(0, 0.08)
    image = image * np.exp(draw_lots.normal(0, 0.06, 3))
    if draw_lots.random() < 0.15:
        image = cv2.GaussianBlur(image, (0, 0), draw_lots.uniform(0.5, 1.5))
    return (image.clip(0, 1) * 255).round().astype(np.uint8)


def spoiled(crop: np.ndarray, draw_lots: np.random.Generator) -> np.ndarray:
    """Half of the crops as they are, a quarter with noise, a quarter through JPEG."""
    kind = draw_lots.integers(4)
    if kind == 0:
        noise = draw_lots.normal(0, draw_lots.uniform(1, 8), crop.shape)
        return (crop + noise).round().clip(0, 255).astype(np.uint8)
    if kind == 1:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(draw_lots.integers(50, 96))]
        return cv2.imdecode(cv2.imencode(".jpg", crop, quality)[1], cv2.IMREAD_COLOR)
    return crop


def example(photos: list[np.ndarray], number: int) -> tuple[np.ndarray, np.ndarray]:
    """What the network sees and, as uint8, what it should draw."""
    draw_lots = np.random.default_rng([SEED, number])
    crop = made_up_crop if draw_lots.random() < MADE_UP else photo_crop
    image = recolored(crop(photos, draw_lots), draw_lots)
    drawing = (draw(image) * 255).round().astype(np.uint8)
    return spoiled(image, draw_lots), drawing


_photos: list[np.ndarray] = []


def examples(photos: list[np.ndarray], workers: int) -> tuple[np.ndarray, np.ndarray]:
    """(CROPS, CROP, CROP, 3) and (CROPS, CROP, CROP), uint8; the same for any count of workers."""
    _photos.extend(photos)  # inherited by the forked workers
    images = np.empty((CROPS, CROP, CROP, 3), np.uint8)
    drawings = np.empty((CROPS, CROP, CROP), np.uint8)
    with multiprocessing.get_context("fork").Pool(workers, cv2.setNumThreads, (1,)) as pool:
        made = pool.imap(_example, range(CROPS), chunksize=50)
        for number, (image, drawing) in enumerate(made):
            images[number], drawings[number] = image, drawing
    return images, drawings


def _example(number: int) -> tuple[np.ndarray, np.ndarray]:
    return example(_photos, number)


def turned(batch: np.ndarray, turns: int, mirror: bool) -> np.ndarray:
    batch = np.rot90(batch, turns, (1, 2))
    return np.ascontiguousarray(batch[:, :, ::-1] if mirror else batch)


def train(images: np.ndarray, drawings: np.ndarray, out: pathlib.Path) -> LineArtNet:
    """The trained network; every 200 steps it is exported as it is, to be looked at."""
    draw_lots = np.random.default_rng(SEED)
    net = LineArtNet().to(memory_format=torch.channels_last)
    # Start from blank paper, as most of a drawing is.
    torch.nn.init.constant_(net.head.bias, 2.0)
    optimizer = torch.optim.AdamW(net.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    # Up for a twentieth of the steps, then down to nothing along a cosine.
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, total_steps=STEPS, pct_start=0.05
    )
    order, started, running = np.empty(0, int), time.monotonic(), 0.0
    for step in range(1, STEPS + 1):
        if len(order) < BATCH:
            order = draw_lots.permutation(len(images))
        numbers, order = order[:BATCH], order[BATCH:]
        turns, mirror = draw_lots.integers(4), draw_lots.random() < 0.5
        image = torch.from_numpy(turned(images[numbers], turns, mirror))
        target = torch.from_numpy(turned(drawings[numbers], turns, mirror))
        image = image.permute(0, 3, 1, 2).float() / 255
        target = target[:, None].float() / 255
        logits = net.logits(image)
        # Cross-entropy finds the lines; the absolute error makes them black rather than grey
        # where it isn't sure.
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, target)
        loss = loss + (torch.sigmoid(logits) - target).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        running = loss.item() if step == 1 else 0.98 * running + 0.02 * loss.item()
        if step % 50 == 0:
            seconds = time.monotonic() - started
            print(f"step {step}: loss {running:.4f}, {seconds:.0f} s", flush=True)
        if step % 200 == 0:
            export(net.eval(), out)
            net.train().to(memory_format=torch.channels_last)
    return sharpened(net.eval())


@torch.no_grad()
def sharpened(net: LineArtNet) -> LineArtNet:
    net.head.weight *= SHARPEN
    net.head.bias *= SHARPEN
    return net


def export(net: LineArtNet, path: pathlib.Path) -> None:
    """ONNX, with the batch norms folded into the convolutions."""
    axes = {0: "batch", 2: "height", 3: "width"}
    with warnings.catch_warnings():
        # The exporter by tracing, deprecated, writes the plainest graph.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            net.to(memory_format=torch.contiguous_format),
            (torch.zeros(1, 3, 8 * MULTIPLE, 8 * MULTIPLE),),
            str(path),
            input_names=["image"],
            output_names=["drawing"],
            dynamic_axes={"image": axes, "drawing": axes},
            opset_version=OPSET,
            dynamo=False,
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=pathlib.Path, required=True, help="a folder of photos")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="the ONNX file to write")
    parser.add_argument("--threads", type=int, default=1, help="results differ with it a little")
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(SEED)
    started = time.monotonic()
    images, drawings = examples(load(arguments.photos), arguments.threads)
    print(f"{CROPS} crops, {time.monotonic() - started:.0f} s", flush=True)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    net = train(images, drawings, arguments.out)
    export(net, arguments.out)
    print(
        json.dumps(
            {
                "torch": torch.__version__,
                "sha256": hashlib.sha256(arguments.out.read_bytes()).hexdigest(),
                "bytes": arguments.out.stat().st_size,
                "weights": sum(parameter.numel() for parameter in net.parameters()),
                "radius": radius(),
                "seconds": round(time.monotonic() - started),
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()

"""Measure the line-art model on photos that it was not trained on, and show its drawings.

    python evaluate_line_art.py --model line_art.onnx --photos photos --out evaluation

writes to `evaluation`: `metrics.json`; `contact_sheet.jpg`, in which each photo of `photos/test`
has the operator's drawing and the network's beside it; and `reference/`, what ONNX Runtime draws.

Edge F1: ink is what is darker than 0.5 in a drawing, and lines are not thinned first. Precision is
the share of the network's ink within 2 pixels of the operator's, recall that of the operator's
within 2 pixels of the network's, F1 their harmonic mean. The same is measured for lines thinned to
a pixel, as strokes of one drawing that are bolder than the other's would otherwise count for more.
"""

import argparse
import json
import pathlib
import time

import cv2
import numpy as np
import onnx
import onnxruntime
from line_art_net import MULTIPLE, radius
from line_operator import draw
from skimage.morphology import skeletonize

INK = 0.5
TOLERANCE = 2  # pixels, by Euclidean distance
TILE = 256
SHEET_HEIGHT = 300
SHEET_PAIRS = 2  # photos a row
# The last has odd sides, cut from the photo's middle.
REFERENCES = {"astronaut": None, "chelsea": None, "coffee": (301, 255)}


class Model:
    """The ONNX file, run by ONNX Runtime on one thread."""

    def __init__(self, path: pathlib.Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )

    def draw(self, photo: np.ndarray) -> np.ndarray:
        """(H, W) float32 of (H, W, 3) uint8: padded by its last column and row, then cut back."""
        height, width = photo.shape[:2]
        bottom, right = -height % MULTIPLE, -width % MULTIPLE
        photo = np.pad(photo, ((0, bottom), (0, right), (0, 0)), mode="edge")
        image = photo.transpose(2, 0, 1)[None].astype(np.float32) / 255
        return self.session.run(None, {"image": image})[0][0, 0, :height, :width]

    def draw_tiled(self, photo: np.ndarray, overlap: int) -> np.ndarray:
        """The same by tiles of TILE pixels, each seen with `overlap` more on every side."""
        overlap += -overlap % MULTIPLE  # tiles start where the whole picture's blocks do
        height, width = photo.shape[:2]
        drawing = np.empty((height, width), np.float32)
        for top in range(0, height, TILE):
            for left in range(0, width, TILE):
                up, back = max(top - overlap, 0), max(left - overlap, 0)
                seen = photo[up : top + TILE + overlap, back : left + TILE + overlap]
                tile = self.draw(seen)[top - up :, left - back :][:TILE, :TILE]
                drawing[top : top + TILE, left : left + TILE] = tile
        return drawing

    def milliseconds(self) -> float:
        """The fastest of ten runs at 512 x 512."""
        image = np.random.default_rng(0).random((1, 3, 512, 512), np.float32)
        seconds = []
        for _ in range(10):
            started = time.perf_counter()
            self.session.run(None, {"image": image})
            seconds.append(time.perf_counter() - started)
        return round(min(seconds) * 1000)


def f1(ink: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Precision, recall and F1 of boolean pictures; see above."""

    def near(these: np.ndarray, those: np.ndarray) -> float:
        if not these.any():
            return 1.0
        if not those.any():
            return 0.0
        far = (~those).astype(np.uint8)
        distance = cv2.distanceTransform(far, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        return float((distance[these] <= TOLERANCE + 1e-3).mean())

    precision, recall = near(ink, truth), near(truth, ink)
    mean = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return {"f1": round(mean, 4), "precision": round(precision, 4), "recall": round(recall, 4)}


def row(photo: np.ndarray, *drawings: np.ndarray) -> np.ndarray:
    """The pictures side by side, at the sheet's height."""
    pictures = [photo] + [(part * 255).round().astype(np.uint8)[..., None] for part in drawings]
    width = round(photo.shape[1] * SHEET_HEIGHT / photo.shape[0])
    shown = []
    for picture in pictures:
        picture = np.broadcast_to(picture, photo.shape)
        shown.append(cv2.resize(picture, (width, SHEET_HEIGHT), interpolation=cv2.INTER_AREA))
        shown.append(np.full((SHEET_HEIGHT, 4, 3), 255, np.uint8))
    return np.hstack(shown)


def sheet(rows: list[np.ndarray]) -> np.ndarray:
    """The rows, widest first, in SHEET_PAIRS columns."""
    rows = sorted(rows, key=lambda part: -part.shape[1])
    width = rows[0].shape[1] + 12
    rows = [
        np.pad(part, ((0, 12), (0, width - part.shape[1]), (0, 0)), constant_values=255)
        for part in rows
    ]
    rows += [np.full_like(rows[0], 255)] * (-len(rows) % SHEET_PAIRS)
    return np.vstack(
        [np.hstack(rows[first : first + SHEET_PAIRS]) for first in range(0, len(rows), SHEET_PAIRS)]
    )


def write_reference(model: Model, name: str, photo: np.ndarray, folder: pathlib.Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if REFERENCES[name]:
        width, height = REFERENCES[name]
        top, left = (photo.shape[0] - height) // 2, (photo.shape[1] - width) // 2
        photo = photo[top : top + height, left : left + width]
    drawing = model.draw(photo)
    cv2.imwrite(str(folder / f"{name}.png"), photo[..., ::-1])
    cv2.imwrite(str(folder / f"{name}.drawing.png"), (drawing * 255).round().astype(np.uint8))
    np.save(folder / f"{name}.drawing.npy", drawing)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=pathlib.Path, required=True, help="the ONNX file")
    parser.add_argument("--photos", type=pathlib.Path, required=True, help="has a folder test")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="the folder to write to")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)

    model, reach = Model(arguments.model), radius()
    photos, rows = {}, []
    seams = {"overlap of the radius": 0.0, "overlap of half of it": 0.0}
    for path in sorted((arguments.photos / "test").iterdir()):
        photo = np.ascontiguousarray(cv2.imread(str(path), cv2.IMREAD_COLOR)[..., ::-1])
        truth, drawing = draw(photo), model.draw(photo)
        ink, true_ink = drawing < INK, truth < INK
        photos[path.stem] = f1(ink, true_ink) | {
            "thinned f1": f1(skeletonize(ink), skeletonize(true_ink))["f1"],
            "mean absolute difference": round(float(np.abs(drawing - truth).mean()), 4),
            "ink": round(float(ink.mean()), 4),
            "operator's ink": round(float(true_ink.mean()), 4),
        }
        for name, overlap in zip(seams, (reach, reach // 2)):
            difference = float(np.abs(model.draw_tiled(photo, overlap) - drawing).max())
            seams[name] = max(seams[name], difference * 255)
        rows.append(row(photo, truth, drawing))
        if path.stem in REFERENCES:
            write_reference(model, path.stem, photo, arguments.out / "reference")
    cv2.imwrite(
        str(arguments.out / "contact_sheet.jpg"),
        sheet(rows)[..., ::-1],
        [cv2.IMWRITE_JPEG_QUALITY, 80],
    )
    weights = onnx.load(arguments.model).graph.initializer
    metrics = {
        "edge f1, mean": round(float(np.mean([each["f1"] for each in photos.values()])), 4),
        "edge f1, least": min(each["f1"] for each in photos.values()),
        "photos": photos,
        "weights": sum(int(np.prod(weight.dims)) for weight in weights),
        "radius": reach,
        "multiple": MULTIPLE,
        "largest difference across seams, of 255": seams,
        "milliseconds for 512 x 512, one thread": model.milliseconds(),
    }
    text = json.dumps(metrics, indent=2)
    (arguments.out / "metrics.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()

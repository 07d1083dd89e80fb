"""The line operator: flow-based difference of Gaussians, what the line-art network learns to draw.

Kang, Lee and Chui, "Flow-Based Image Abstraction" (IEEE TVCG 2009; "Coherent Line Drawing", NPAR
2007), with the tangents from the smoothed structure tensor and the threshold of Winnemöller,
Kyprianidis and Olsen, "XDoG: An eXtended Difference-of-Gaussians compendium" (2012):

1. lightness L* of CIELAB, from 0 to 1, smoothed twice by a bilateral filter, against noise;
2. tangents: the minor eigenvectors of the structure tensor, smoothed by a Gaussian;
3. a difference of Gaussians in one dimension, across the line;
4. its Gaussian mean along the streamline of the tangents, which joins what belongs to one line;
5. XDoG's soft threshold: white above -EPSILON, then down to black as 1 + tanh(PHI * (D + EPSILON));
6. strokes of fewer than MIN_STROKE pixels are left out: speckle in textures.

Unlike XDoG with its sharpening, D has no share of the lightness itself, so dark areas stay white.
All lengths are in pixels, so a larger picture is drawn finer. The parameters were chosen by eye.
"""

import math

import cv2
import numpy as np

BILATERAL_PASSES, BILATERAL_DIAMETER, BILATERAL_RANGE, BILATERAL_SIGMA = 2, 7, 0.05, 3.0
TENSOR_SIGMA = 2.5
LINE_SIGMA = 1.2
SURROUND = 1.6  # the wide Gaussian's sigma over the narrow one's: near the Laplacian of a Gaussian
FLOW_SIGMA = 4.0
EPSILON, PHI = 0.005, 200.0
MIN_STROKE = 30
BORDER = cv2.BORDER_REFLECT_101


def draw(photo: np.ndarray) -> np.ndarray:
    """The drawing, (H, W) float32 from 0 (ink) to 1 (paper), of an (H, W, 3) uint8 RGB photo."""
    light = cv2.cvtColor(photo.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[..., 0] / 100
    for _ in range(BILATERAL_PASSES):
        light = cv2.bilateralFilter(
            light, BILATERAL_DIAMETER, BILATERAL_RANGE, BILATERAL_SIGMA, borderType=BORDER
        )
    tangent = _tangents(light)
    response = _mean_along(_difference_across(light, tangent), tangent)
    drawing = np.where(response > -EPSILON, 1, 1 + np.tanh(PHI * (response + EPSILON)))
    return _without_specks(drawing.astype(np.float32))


def _tangents(light: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x and y of the unit vector along the line, at each pixel."""
    dx = cv2.Sobel(light, cv2.CV_32F, 1, 0, scale=0.25, borderType=BORDER)
    dy = cv2.Sobel(light, cv2.CV_32F, 0, 1, scale=0.25, borderType=BORDER)
    xx, xy, yy = (
        cv2.GaussianBlur(product, (0, 0), TENSOR_SIGMA, borderType=BORDER)
        for product in (dx * dx, dx * dy, dy * dy)
    )
    across = 0.5 * np.arctan2(2 * xy, xx - yy)
    return -np.sin(across), np.cos(across)


def _difference_across(light: np.ndarray, tangent: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """The narrow Gaussian mean across the line less the wide one: negative on dark lines."""
    x, y = _pixels(light)
    along_x, along_y = tangent
    wide_sigma = SURROUND * LINE_SIGMA
    reach = math.ceil(2.5 * wide_sigma)
    narrow, wide = np.zeros_like(light), np.zeros_like(light)
    narrow_weight = wide_weight = 0.0
    for step in range(-reach, reach + 1):
        value = _at(light, x + step * along_y, y - step * along_x)
        weight = math.exp(-(step**2) / (2 * LINE_SIGMA**2))
        narrow, narrow_weight = narrow + weight * value, narrow_weight + weight
        weight = math.exp(-(step**2) / (2 * wide_sigma**2))
        wide, wide_weight = wide + weight * value, wide_weight + weight
    return narrow / narrow_weight - wide / wide_weight


def _mean_along(response: np.ndarray, tangent: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """The Gaussian mean along streamlines, followed in Euler steps of a pixel both ways."""
    total, total_weight = response.copy(), 1.0
    for way in (1, -1):
        x, y = _pixels(response)
        along_x, along_y = way * tangent[0], way * tangent[1]
        for step in range(1, math.ceil(2 * FLOW_SIGMA) + 1):
            x, y = x + along_x, y + along_y
            weight = math.exp(-(step**2) / (2 * FLOW_SIGMA**2))
            total, total_weight = total + weight * _at(response, x, y), total_weight + weight
            # A tangent has no sign of its own: it goes on the way that it came. The nearest one
            # is taken, because the mean of two that point opposite ways means nothing.
            near_x, near_y = (_at(part, np.rint(x), np.rint(y)) for part in tangent)
            forward = near_x * along_x + near_y * along_y >= 0
            along_x, along_y = (np.where(forward, part, -part) for part in (near_x, near_y))
    return total / total_weight


def _without_specks(drawing: np.ndarray) -> np.ndarray:
    """White where a connected stroke, grey pixels included, has fewer than MIN_STROKE pixels."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats((drawing < 1).astype(np.uint8))
    speck = stats[:, cv2.CC_STAT_AREA] < MIN_STROKE
    speck[0] = False  # the paper
    return np.where(speck[labels], np.float32(1), drawing)


def _pixels(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
    return x, y


def _at(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Values at places between pixels, linearly interpolated."""
    return cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=BORDER)

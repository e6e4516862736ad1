"""Reads the main findings back from a CT slice's pixels alone, by thresholds in Hounsfield units."""

from typing import Any

import numpy as np
from scipy.ndimage import (
    binary_closing,
    binary_dilation,
    binary_erosion,
    binary_fill_holes,
    binary_opening,
    gaussian_filter,
)

from healthgpt.imaging.image import Window
from healthgpt.phantoms.ct_scanner import BODY_WINDOW, HEAD_WINDOW, LUNG_WINDOW
from healthgpt.phantoms.slice_reading import (
    BLOCK,
    Blob,
    Body,
    blobs,
    compare_ventricles,
    find_body,
    grey,
    largest,
    roundness,
    sides_of,
)

_DISC_2 = np.hypot(*np.mgrid[-2:3, -2:3]) < 2.4
_DISC_4 = np.hypot(*np.mgrid[-4:5, -4:5]) < 4.3
_DISC_7 = np.hypot(*np.mgrid[-7:8, -7:8]) < 7.2


def measure(image: np.ndarray) -> dict[str, Any]:
    """Findings of a CT slice shown as ``ct.make_case`` shows it; keys as in its truth.

    ``image``: (128, 128) or (128, 128, 3), in [0, 1]. A finding that the slice cannot have is left out.
    """
    pixels = grey(image)
    corners = np.concatenate([pixels[:4, :4].ravel(), pixels[:4, -4:].ravel()])
    in_lung_window = float(np.median(corners)) > 0.1
    body = find_body(pixels, 0.42 if in_lung_window else 0.06)
    if in_lung_window:
        return _chest(_hounsfield(pixels, LUNG_WINDOW), body)
    if body.aspect > 0.97:
        return _head(_hounsfield(pixels, HEAD_WINDOW), body)
    hounsfield = _hounsfield(pixels, BODY_WINDOW)
    core = body.mask & (body.across**2 + body.down**2 < 0.75**2)
    if float((hounsfield[core] < -130).mean()) > 0.22:
        return _chest(hounsfield, body)
    flank = core & (np.abs(body.across) > 0.33)
    if float((hounsfield[flank] > 205).mean()) > 0.06:
        return _pelvis(hounsfield, body)
    return _abdomen(hounsfield, body)


def _hounsfield(pixels: np.ndarray, window: Window) -> np.ndarray:
    return pixels * np.float32(window.width) + np.float32(window.centre - window.width / 2)


def _head(hounsfield: np.ndarray, body: Body) -> dict[str, Any]:
    skull = hounsfield > 125
    brain = binary_erosion(binary_fill_holes(binary_closing(skull)) & ~binary_dilation(skull), BLOCK)
    smooth = gaussian_filter(np.clip(hounsfield, -60, 100), 0.8)
    # In a slice through the orbits the brain begins behind their fat.
    face = blobs(binary_opening(brain & (smooth < -45), BLOCK), 25)
    face = [blob for blob in face if float(body.down[blob.mask].mean()) < -0.2]
    if face:
        brain &= body.down > max(float(body.down[blob.mask].max()) for blob in face) + 0.04
    kind, found = _head_lesions(smooth, brain)
    findings: dict[str, Any] = {
        "region": "head",
        "lesion": kind,
        "lesion_count": len(found),
        "lesion_side": sides_of(body, found),
    }
    if int(brain.sum()) > 100:
        lesion = np.zeros_like(brain)
        for blob in found:
            lesion |= binary_dilation(binary_fill_holes(blob.mask), BLOCK, iterations=4)
        findings.update(compare_ventricles(brain, brain & (smooth < 15.5) & ~lesion))
    return findings


def _head_lesions(smooth: np.ndarray, brain: np.ndarray) -> tuple[str, list[Blob]]:
    """Bright blobs are blood, or a mass where the middle is darker than the rim; dark ones are infarcts."""
    bright = binary_fill_holes(binary_closing(brain & (smooth > 45)))
    # Calcifications are brighter than any blood.
    found = [
        blob
        for blob in blobs(binary_opening(bright), 9)
        if roundness(blob) > 0.45 and float(smooth[blob.mask].max()) < 88
    ]
    if found:
        hollow = [
            float(smooth[binary_erosion(blob.mask)].min()) < 0.8 * float(smooth[blob.mask].max()) - 2
            for blob in found
            if binary_erosion(blob.mask).any()
        ]
        return ("mass" if sum(hollow) * 2 > len(hollow) else "haemorrhage"), found[:3]
    fluid = binary_opening(brain & (smooth < 10), BLOCK)
    dark = binary_opening(brain & (smooth < 22.5) & ~binary_dilation(fluid, BLOCK), _DISC_2)
    # The core of an infarct is even; a bundle of clefts is not.
    found = [
        blob
        for blob in blobs(dark, 16)
        if roundness(blob) > 0.45
        and float(np.percentile(smooth[blob.mask], 20)) > 11.5
        and float(smooth[blob.mask].std()) < 3.6
    ]
    return ("infarct" if found else "none"), found[:3]


def _chest(hounsfield: np.ndarray, body: Body) -> dict[str, Any]:
    smooth = gaussian_filter(hounsfield, 0.7)
    air = body.mask & (smooth < -130 if hounsfield.min() > -300 else smooth < -450)
    lung = binary_opening(air, BLOCK) & binary_erosion(body.mask, BLOCK, iterations=2)
    cavity = binary_closing(np.pad(lung, 8), _DISC_7)[8:-8, 8:-8]
    inner = binary_erosion(binary_fill_holes(cavity), BLOCK)
    found = [blob for blob in blobs(binary_opening(inner & ~air, BLOCK), 15) if roundness(blob) > 0.55]
    left = sum(float(body.across[blob.mask].mean()) > 0 for blob in found)
    right = len(found) - left
    fluid_like = gaussian_filter(np.clip(hounsfield, -160, 150), 1.5)
    posterior = body.mask & (body.down > -0.2) & (np.abs(body.across) > 0.12)
    fluid = blobs(binary_opening(posterior & (np.abs(fluid_like - 11) < 20), BLOCK, iterations=2), 30)
    fluid = [blob for blob in fluid if roundness(blob) > 0.12][:1]
    rows = np.nonzero(lung.any(axis=1))[0]
    width, hearts = 1.0, [0.0]
    if rows.size:
        for row in range(rows[0], rows[0] + int(0.55 * np.ptp(rows))):
            places = np.nonzero(lung[row])[0]
            if places.size < 4:
                continue
            width = max(width, float(np.ptp(places)))
            hearts.append(float(np.diff(places).max()))
    return {
        "region": "chest",
        "effusion": bool(fluid),
        "effusion_side": sides_of(body, fluid),
        "nodule_count": min(len(found), 3),
        "more_nodules": "left" if left > right else "right" if right > left else "equal",
        "heart_enlarged": float(np.percentile(hearts, 85)) / width > 0.55,
    }


def _abdomen(hounsfield: np.ndarray, body: Body) -> dict[str, Any]:
    smooth = gaussian_filter(hounsfield, 0.8)
    core = body.mask & (body.across**2 + body.down**2 < 0.8**2)
    organs = smooth[core & (smooth > 80) & (smooth < 225) & (np.abs(body.across) > 0.25)]
    enhanced = organs.size > 0.1 * float(core.sum())
    liver_level, dark_level = (110.0, 78.0) if enhanced else (60.0, 36.0)
    smooth_organs = gaussian_filter(np.clip(hounsfield, -100, 150), 0.8)
    dark = binary_opening(core & (smooth_organs < dark_level) & (smooth_organs > -25) & (body.across < 0.5), BLOCK)
    # A dark spot counts where liver lies around it.
    in_liver, in_fat = np.abs(smooth_organs - liver_level) < 24, smooth_organs < -30
    lesions = [
        blob
        for blob in blobs(dark, 9)
        if _surrounded(blob, in_liver) > 0.62 and _surrounded(blob, in_fat) < 0.25 and roundness(blob) > 0.4
    ]
    kidneys = core & (np.abs(body.across) > 0.25) & (body.down > -0.15)
    kidneys &= body.across**2 + body.down**2 < 0.72**2
    stone = blobs(
        binary_opening(kidneys & (gaussian_filter(np.clip(hounsfield, 0, 240), 0.6) > (222 if enhanced else 190))), 5
    )
    found = [blob for blob in stone if roundness(blob) > 0.5][:1]
    return {
        "region": "abdomen",
        "contrast_given": enhanced,
        "liver_lesion_count": min(len(lesions), 3),
        "kidney_stone": bool(found),
        "kidney_stone_side": sides_of(body, found),
    }


def _surrounded(blob: Blob, tissue: np.ndarray) -> float:
    """Share of a ring around a blob that is this tissue."""
    ring = binary_dilation(blob.mask, BLOCK, iterations=4) & ~binary_dilation(blob.mask, BLOCK, iterations=2)
    return float(tissue[ring].mean())


def _pelvis(hounsfield: np.ndarray, body: Body) -> dict[str, Any]:
    smooth = gaussian_filter(np.clip(hounsfield, -160, 240), 1.0)
    middle = body.mask & (np.abs(body.across) < 0.42) & (body.down < 0.3) & (body.down > -0.85)
    bladder = largest(binary_opening(middle & (np.abs(smooth - 6) < 20), BLOCK))
    full = binary_fill_holes(binary_closing(bladder, BLOCK, iterations=3))
    columns = np.nonzero(full.any(axis=0))[0]
    body_width = float(np.ptp(np.nonzero(body.mask.any(axis=0))[0])) + 1
    share = (float(np.ptp(columns)) + 1) / body_width if columns.size else 0.0
    sharp = gaussian_filter(np.clip(hounsfield, -160, 240), 0.5)
    bone = binary_fill_holes(binary_closing(sharp > 140))
    flank = bone & (np.abs(body.across) > 0.3)
    holes = blobs(binary_opening(flank & (sharp < 140)), 5)
    found = [blob for blob in holes if roundness(blob) > 0.5][:1]
    sacrum = smooth[(np.abs(body.across) < 0.2) & (body.down > 0.15) & (body.down < 0.65)]
    return {
        "region": "pelvis",
        "level": "iliac" if float((sacrum > 150).mean()) > 0.12 else "hips",
        "bladder_size": "small" if share < 0.155 else "medium" if share < 0.235 else "large",
        "bone_lesion": bool(found),
        "bone_lesion_side": sides_of(body, found),
    }

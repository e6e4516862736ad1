"""Where voxels lie: slices of a volume for display, other grids, squares, and which voxels are body.

A slice for display follows the radiological convention: the patient's left on the right of axial and coronal pictures,
anterior on the left of sagittal ones; anterior up in axial, the head up in the others.
"""

from dataclasses import replace
from typing import Literal

import numpy as np
import SimpleITK
from scipy import ndimage
from skimage.filters import threshold_otsu

from healthgpt.errors import ImageError
from healthgpt.imaging.limits import MAX_STACK_PIXELS
from healthgpt.imaging.volume import Volume

Plane = Literal["axial", "coronal", "sagittal"]
ACROSS: dict[Plane, int] = {"sagittal": 0, "coronal": 1, "axial": 2}
"""The volume's axis that each plane lies across."""
AIR_HU = -1000.0
BODY_HU = -300.0
"""Between fat (about -100 HU) and lung or air: what is denser counts as body."""
MASK_MM = 2.0
"""The body mask is found on about this grid: finer detail of its outline is noise."""

TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_REVERSED = slice(None, None, -1)


def display_plane(values: np.ndarray, plane: Plane, index: int) -> np.ndarray:
    """Slice ``index`` of (x, y, z) RAS+ values as it is shown, (height, width): a view of any number type."""
    if plane == "axial":
        return values[_REVERSED, _REVERSED, index].T
    if plane == "coronal":
        return values[_REVERSED, index, _REVERSED].T
    return values[index, _REVERSED, _REVERSED].T


def plane_spacing(volume: Volume, plane: Plane) -> tuple[float, float]:
    """(row, column) millimetres of a slice as it is shown."""
    x, y, z = volume.spacing_mm
    return {"axial": (y, x), "coronal": (z, x), "sagittal": (z, y)}[plane]


def slice_indices(volume: Volume, plane: Plane, stride_mm: float) -> range:
    """Every slice about ``stride_mm`` apart, at least every one; the first lies half a step from the end."""
    axis = ACROSS[plane]
    step = max(1, round(stride_mm / volume.spacing_mm[axis]))
    count = volume.values.shape[axis]
    return range(min(step // 2, count - 1), count, step)


def holds_enough(mask: np.ndarray, least_share: float) -> bool:
    """Whether at least this share of a slice's pixels, (height, width) bool, is body: the empty-slice filter."""
    return bool(np.count_nonzero(mask) >= least_share * mask.size)


def to_square(pixels: np.ndarray, side: int | None = None) -> np.ndarray:
    """Pixels, (height, width), padded with 0 and cropped about their centre to ``side`` (the longer side if None)."""
    side = max(pixels.shape) if side is None else side
    square = np.zeros((side, side), pixels.dtype)
    source, target = [], []
    for length in pixels.shape:
        kept = min(length, side)
        source.append(slice((length - kept) // 2, (length - kept) // 2 + kept))
        target.append(slice((side - kept) // 2, (side - kept) // 2 + kept))
    square[tuple(target)] = pixels[tuple(source)]
    return square


def outside_value(volume: Volume) -> float:
    """What a voxel beyond the field of view holds: air in Hounsfield units, else the volume's lowest value."""
    return AIR_HU if volume.units == "hounsfield" else float(volume.values.min())


def resample(volume: Volume, spacing_mm: tuple[float, float, float]) -> Volume:
    """The same field of view in voxels of another size, linearly; the outer faces of the volume stay where they are.

    ``ImageError`` for sizes that are not above 0 or make too many voxels.
    """
    factors = np.array(spacing_mm) / volume.spacing_mm
    if not (np.isfinite(factors).all() and factors.min() > 0):
        raise ImageError("a volume cannot be resampled", found=f"a spacing of {spacing_mm} mm", allowed="above 0")
    shape = [max(1, round(length / factor)) for length, factor in zip(volume.values.shape, factors, strict=True)]
    if np.prod(shape, dtype=float) > MAX_STACK_PIXELS:
        raise ImageError(
            "a volume cannot be resampled so finely",
            found=f"{' x '.join(map(str, shape))} voxels",
            allowed=f"up to {MAX_STACK_PIXELS:,}",
            next_step="choose larger voxels",
        )
    affine = volume.affine.copy()
    affine[:3, :3] = volume.affine[:3, :3] * factors
    affine[:3, 3] += volume.affine[:3, :3] @ ((factors - 1) / 2)
    x, y, z = (float(size) for size in spacing_mm)
    return _on_grid(volume, tuple(shape), (x, y, z), affine, np.eye(4), "linear")


def resample_onto(
    moving: Volume,
    fixed: Volume,
    matrix: np.ndarray | None = None,
    *,
    interpolation: Literal["linear", "nearest"] = "linear",
) -> Volume:
    """``moving`` on the voxel grid of ``fixed``, ``outside_value`` where it does not reach.

    ``matrix``: (4, 4), takes a point of ``moving`` to where it lies in ``fixed``, both in RAS millimetres; without one
    the two share their scanner's coordinates.
    """
    shape = fixed.values.shape
    transform = np.eye(4) if matrix is None else matrix
    return _on_grid(moving, shape, fixed.spacing_mm, fixed.affine, transform, interpolation)


def same_grid(one: Volume, other: Volume) -> bool:
    """Whether two volumes have the same voxels at the same places, to a hundredth of a voxel."""
    if one.values.shape != other.values.shape:
        return False
    corners = np.array([[0, 0, 0, 1], [*one.values.shape, 1]], float).T
    apart = np.linalg.norm(((one.affine - other.affine) @ corners)[:3], axis=0)
    return bool(apart.max() < 0.01 * min(one.spacing_mm))


def to_itk(volume: Volume) -> SimpleITK.Image:
    """The volume as SimpleITK holds it: float32, LPS millimetres."""
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(volume.values.T, dtype=np.float32))
    lps = TO_LPS @ volume.affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).flatten().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    return image


def itk_transform(matrix: np.ndarray) -> SimpleITK.AffineTransform:
    """A (4, 4) RAS matrix as the affine transform of the same points in LPS."""
    lps = TO_LPS @ matrix @ TO_LPS
    transform = SimpleITK.AffineTransform(3)
    transform.SetMatrix(lps[:3, :3].flatten().tolist())
    transform.SetTranslation(lps[:3, 3].tolist())
    return transform


def _on_grid(
    volume: Volume,
    shape: tuple[int, ...],
    spacing_mm: tuple[float, float, float],
    affine: np.ndarray,
    matrix: np.ndarray,
    interpolation: Literal["linear", "nearest"],
) -> Volume:
    lps = TO_LPS @ affine
    lengths = np.linalg.norm(lps[:3, :3], axis=0)
    resampler = SimpleITK.ResampleImageFilter()
    resampler.SetNumberOfWorkUnits(1)
    resampler.SetSize([int(length) for length in shape])
    resampler.SetOutputSpacing(lengths.tolist())
    resampler.SetOutputDirection((lps[:3, :3] / lengths).flatten().tolist())
    resampler.SetOutputOrigin(lps[:3, 3].tolist())
    resampler.SetInterpolator(SimpleITK.sitkLinear if interpolation == "linear" else SimpleITK.sitkNearestNeighbor)
    resampler.SetDefaultPixelValue(outside_value(volume))
    resampler.SetTransform(itk_transform(np.linalg.inv(matrix)))
    values = SimpleITK.GetArrayFromImage(resampler.Execute(to_itk(volume))).T
    return replace(volume, values=values, spacing_mm=spacing_mm, affine=affine)


def body_mask(volume: Volume) -> np.ndarray:
    """Which voxels belong to the patient, with everything enclosed: bool, (x, y, z), the volume's shape.

    Denser than ``BODY_HU`` in Hounsfield units; otherwise above Otsu's threshold (1979) of what lies below Otsu's
    threshold, because fat or fluid is so bright in MR that the first one falls among the tissues. Thin links (table,
    tubes) are opened, the largest piece kept, holes of each axial slice filled. Found on voxels of about ``MASK_MM``
    and enlarged. All ``False`` where the volume is flat.
    """
    steps = [max(1, round(MASK_MM / size)) for size in volume.spacing_mm]
    lengths = volume.values.shape
    middles = [min(step // 2, length - 1) for step, length in zip(steps, lengths, strict=True)]
    coarse = volume.values[tuple(slice(middle, None, step) for middle, step in zip(middles, steps, strict=True))]
    if volume.units == "hounsfield":
        dense = coarse > BODY_HU
    else:
        low, high = (float(value) for value in np.percentile(coarse, (0.5, 99.5)))
        if high <= low:
            low, high = float(coarse.min()), float(coarse.max())
        if high <= low:
            return np.zeros(volume.values.shape, bool)
        dense = coarse > _tissue_threshold(np.clip(coarse, low, high), low)
    opened = _grown(~_grown(~dense, 1), 1)
    mask = _largest(opened if opened.any() else dense)
    mask = _holes_filled(~_grown(~_grown(mask, 2), 2))
    for axis, (step, length) in enumerate(zip(steps, lengths, strict=True)):
        if step > 1:
            mask = np.take(mask, np.minimum(np.arange(length) // step, mask.shape[axis] - 1), axis=axis)
    return mask


def _grown(mask: np.ndarray, steps: int) -> np.ndarray:
    """Every voxel within so many face-to-face steps of the mask; the border of the volume is no end of the body."""
    for _ in range(steps):
        grown = mask.copy()
        for axis in range(mask.ndim):
            here, there = np.moveaxis(grown, axis, 0), np.moveaxis(mask, axis, 0)
            here[1:] |= there[:-1]
            here[:-1] |= there[1:]
        mask = grown
    return mask


def _tissue_threshold(values: np.ndarray, low: float) -> float:
    """Between background and the darkest tissue; no lower than a quarter of the first threshold, where noise begins."""
    values = values.ravel()
    first = float(threshold_otsu(values))
    darker = values[values <= first]
    second = float(threshold_otsu(darker)) if darker.min() < darker.max() else low
    return max(second, low + (first - low) / 4)


def _largest(mask: np.ndarray) -> np.ndarray:
    """The largest face-connected piece."""
    labels, count = ndimage.label(mask)
    if count <= 1:
        return mask
    return labels == 1 + int(np.bincount(labels.ravel())[1:].argmax())


def _holes_filled(mask: np.ndarray) -> np.ndarray:
    """Every axial slice without holes: what the background cannot reach from the slice's border within the slice."""
    in_slice = np.zeros((3, 3, 3), bool)
    in_slice[:, 1, 1] = in_slice[1, :, 1] = True
    background, _ = ndimage.label(np.pad(~mask, ((1, 1), (1, 1), (0, 0)), constant_values=True), in_slice)
    outside = np.unique(background[0])
    reached = np.zeros(background.max() + 1, bool)
    reached[outside] = True
    return ~reached[background][1:-1, 1:-1]

"""Small valid image files of every kind the readers know, written with other people's writers."""

import gzip
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import SimpleITK
from PIL import Image as Pillow
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless, generate_uid

VOLUME = (np.arange(7 * 6 * 5).reshape(7, 6, 5) * 3 % 211).astype(np.int16)
"""(x, y, z), every axis of another length."""


def dicom_dataset(stored: np.ndarray, **attributes: Any) -> Dataset:
    """A DICOM image object holding ``stored``: (rows, columns), (frames, rows, columns) or (rows, columns, 3)."""
    colour = stored.ndim == 3 and stored.shape[-1] == 3
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["sample"])
    dataset.Modality = "OT"
    dataset.Rows, dataset.Columns = stored.shape[:2] if colour else stored.shape[-2:]
    if stored.ndim == 3 and not colour:
        dataset.NumberOfFrames = stored.shape[0]
    dataset.SamplesPerPixel = 3 if colour else 1
    if colour:
        dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8 * stored.dtype.itemsize
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")
    dataset.PixelData = stored.tobytes()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def write_dicom(path: Path, stored: np.ndarray, **attributes: Any) -> Path:
    """``dicom_dataset`` as a file with preamble."""
    dicom_dataset(stored, **attributes).save_as(path, enforce_file_format=True)
    return path


def write_itk(path: Path, voxels: np.ndarray, compressed: bool, direction: tuple[float, ...] | None = None) -> Path:
    """A MetaImage or NRRD of (x, y, z) voxels by SimpleITK."""
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(voxels.T))
    image.SetSpacing((0.5, 0.75, 2.0)[: voxels.ndim])
    if direction:
        image.SetDirection(direction)
    SimpleITK.WriteImage(image, str(path), compressed)
    return path


def write_samples(folder: Path) -> dict[str, Path]:
    """One file of each kind, by name."""
    grey = (np.arange(20 * 16).reshape(20, 16) * 7 % 251).astype(np.uint8)
    colour = np.stack([grey, grey[::-1], 250 - grey], axis=-1)
    paths = {name: folder / name for name in ("a.png", "b.jpg", "c.tif", "d.tif", "e.png", "f.png")}
    Pillow.fromarray(grey).save(paths["a.png"])
    Pillow.fromarray(colour).save(paths["b.jpg"], quality=90)
    Pillow.fromarray(grey.astype(np.uint16) * 200).save(paths["c.tif"])
    Pillow.fromarray(colour).save(paths["d.tif"], compression="tiff_lzw")
    Pillow.fromarray(colour).quantize(16).save(paths["e.png"])
    Pillow.fromarray(grey.astype(np.uint16) * 200).save(paths["f.png"])

    stored = grey.astype(np.int16) * 5 - 300
    paths["g.dcm"] = write_dicom(folder / "g.dcm", stored, Modality="CT", RescaleSlope=1, RescaleIntercept=0)
    paths["h.dcm"] = write_dicom(folder / "h.dcm", np.stack([grey, grey[::-1], grey.T.reshape(20, 16)]))
    for name, syntax in (("i.dcm", RLELossless), ("j.dcm", JPEG2000Lossless)):
        dataset = dicom_dataset(np.tile(grey.astype(np.uint16) * 9, (2, 2)))  # JPEG 2000 wants 32 pixels or more
        dataset.compress(syntax, generate_instance_uid=False)
        dataset.save_as(folder / name, enforce_file_format=True)
        paths[name] = folder / name

    paths["k.nii"], paths["l.nii.gz"] = folder / "k.nii", folder / "l.nii.gz"
    volume = nibabel.Nifti1Image(VOLUME, np.diag([1.0, 2.0, 3.0, 1.0]))
    paths["k.nii"].write_bytes(volume.to_bytes())
    paths["l.nii.gz"].write_bytes(gzip.compress(volume.to_bytes(), mtime=0))
    paths["m.mgz"] = folder / "m.mgz"
    nibabel.MGHImage(VOLUME, np.diag([1.0, 2.0, 3.0, 1.0])).to_filename(paths["m.mgz"])
    for name, compressed in (("n.mha", False), ("o.mha", True), ("p.nrrd", False), ("q.nrrd", True)):
        paths[name] = write_itk(folder / name, VOLUME, compressed)
    return paths

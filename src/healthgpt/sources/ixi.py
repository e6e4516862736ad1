"""IXI: head MRI of nearly 600 healthy volunteers at three London hospitals, read from the published NIfTI files.

Layout as described at https://brain-development.org/ixi-dataset/: one tar a contrast, flat, with files named
``IXI<subject>-<hospital>-<number>-<contrast>.nii.gz``, e.g. ``IXI002-Guys-0828-T1.nii.gz``. Unpack IXI-T1.tar into
``IXI-T1`` and so on. The contrasts of a subject do not lie over each other, so each file is a scan of its own; the
subject's number is the group. Angiography, diffusion and the table of ages (IXI.xls) are not read.
"""

import re
from collections import Counter
from collections.abc import Iterator

from healthgpt.sources.base import Source
from healthgpt.sources.entry import BadRowError, Entry, Scan
from healthgpt.sources.layout import Download, Published, Row, Table

NAME = re.compile(r"(IXI\d+)-(Guys|HH|IOP)-(\d+)-(T1|T2|PD)\.nii(?:\.gz)?")
CONTRASTS = {"T1": 581, "T2": 578, "PD": 578}
"""Volumes published of each contrast that is read."""
HOST = "http://biomedic.doc.ic.ac.uk/brain-development/downloads/IXI"


def published_entries(row: Row, oddities: Counter[str]) -> Iterator[Entry]:
    """One volume as a scan of the head."""
    file = str(row.value)
    folder, _, name = file.rpartition("/")
    match = NAME.fullmatch(name)
    if match is None:
        raise BadRowError("the name is not IXI<subject>-<hospital>-<number>-<contrast>")
    subject, _, _, contrast = match.groups()
    if folder.rpartition("/")[2].removeprefix("IXI-") != contrast:
        oddities["contrast other than the folder's"] += 1
    yield Scan(
        original_id=name.split(".")[0], volumes={"mri": file}, region="head", group=subject,
        facts={"contrast": contrast},
    )  # fmt: skip


PUBLISHED = Published(
    tables=tuple(Table(f"IXI-{contrast}/*.nii.gz", "files", rows=rows) for contrast, rows in CONTRASTS.items()),
    entries=published_entries,
    expected=tuple((f"IXI-{contrast}/*.nii.gz", 0, f"{rows} volumes") for contrast, rows in CONTRASTS.items()),
    splits="none published; subjects are divided by hash",
    yields="head MRI volumes (T1, T2, PD) for super-resolution and reconstruction",
    downloads=(
        Download(f"{HOST}/IXI-T1.tar", folder="IXI-T1", md5="34901a0593b41dd19c1a1f746eac2d58"),
        Download(f"{HOST}/IXI-T2.tar", folder="IXI-T2", md5="e3140d78730ecdd32ba92da48c0a9aaa"),
        Download(f"{HOST}/IXI-PD.tar", folder="IXI-PD", md5="88ecd9d1fa33cb4a2278183b42ffd749"),
    ),
    citation="IXI: Information eXtraction from Images (EPSRC GR/S21533/02), https://brain-development.org/ixi-dataset",
    notes=("the checksums are those TorchIO downloads IXI by; the publisher states none",),
)  # fmt: skip

SOURCE = Source(
    name="ixi",
    title="IXI: head MRI of healthy volunteers",
    licence="CC BY-SA 3.0",
    obtain="https://brain-development.org/ixi-dataset",
    folder="ixi",
    published_images=sum(CONTRASTS.values()),
    published_questions=0,
    published=PUBLISHED,
)

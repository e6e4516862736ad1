"""The tissue table: CT numbers and magnetic resonance properties of every tissue the slices are made of.

CT numbers (HU) are typical clinical values at 120 kV (Bushberg, *The Essential Physics of Medical
Imaging*, ch. 10; organ values as used in everyday reporting). Relaxation times are at 1.5 T: brain
T2, muscle and blood from Stanisz et al. 2005 (Magn Reson Med 54:507), liver, spleen, kidney and marrow
from de Bazelaire et al. 2004 (Radiology 230:652), fat from Gold et al. 2004 (Am J Roentgenol 183:343;
its T2 is set between their 165 ms and the 58 ms of de Bazelaire),
brain and fluid T1 from Rooney et al. 2007 (Magn Reson Med 57:308).
Lesion values are assumptions of this phantom, set between the normal tissues the way lesions look in
practice (blood: early subacute, so bright on T1 and dark on T2; tumour rim: after contrast).
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np


class Tissue(IntEnum):
    """Labels of an anatomy's label map."""

    AIR = 0
    SKIN = 1
    FAT = 2
    MUSCLE = 3
    CORTICAL_BONE = 4
    MARROW = 5
    WHITE_MATTER = 6
    GREY_MATTER = 7
    CSF = 8
    FALX = 9
    LUNG = 10
    LIVER = 11
    SPLEEN = 12
    KIDNEY = 13
    VESSEL = 14
    HEART = 15
    BOWEL = 16
    FLUID = 17
    TABLE = 18
    HAEMORRHAGE = 19
    INFARCT = 20
    OEDEMA = 21
    TUMOUR_RIM = 22
    NECROSIS = 23
    NODULE = 24
    EFFUSION = 25
    LIVER_LESION = 26
    CYST = 27
    STONE = 28
    BLADDER_TUMOUR = 29
    LYTIC_LESION = 30
    VITREOUS = 31


@dataclass(frozen=True)
class Properties:
    """``hu`` / ``hu_sd``: CT number and its spread between people; ``enhanced_hu``: after intravenous
    contrast; ``t1_ms``, ``t2_ms``: relaxation times at 1.5 T; ``proton_density``: relative to water."""

    hu: float
    hu_sd: float
    enhanced_hu: float
    t1_ms: float
    t2_ms: float
    proton_density: float


TISSUES: dict[Tissue, Properties] = {
    Tissue.AIR: Properties(-1000, 0, -1000, 1000, 10, 0.0),
    Tissue.SKIN: Properties(40, 8, 50, 700, 40, 0.65),
    Tissue.FAT: Properties(-100, 6, -100, 288, 110, 0.92),
    Tissue.MUSCLE: Properties(55, 4, 62, 1008, 44, 0.80),
    # Bone protons decay before the echo, and flowing blood leaves the slice: both are signal voids.
    Tissue.CORTICAL_BONE: Properties(950, 120, 950, 300, 1, 0.15),
    Tissue.MARROW: Properties(230, 22, 235, 549, 49, 0.80),
    Tissue.WHITE_MATTER: Properties(28, 1.5, 31, 656, 72, 0.71),
    Tissue.GREY_MATTER: Properties(39, 1.5, 44, 1188, 95, 0.82),
    Tissue.CSF: Properties(5, 1, 5, 4200, 2000, 1.0),
    Tissue.FALX: Properties(52, 4, 60, 900, 35, 0.50),
    Tissue.LUNG: Properties(-840, 30, -830, 1200, 30, 0.12),
    Tissue.LIVER: Properties(60, 3, 110, 586, 46, 0.82),
    Tissue.SPLEEN: Properties(50, 4, 125, 1057, 79, 0.85),
    Tissue.KIDNEY: Properties(34, 4, 185, 966, 87, 0.85),
    Tissue.VESSEL: Properties(44, 4, 200, 1441, 290, 0.12),
    Tissue.HEART: Properties(44, 4, 150, 1030, 40, 0.60),
    Tissue.BOWEL: Properties(32, 8, 45, 900, 70, 0.80),
    Tissue.FLUID: Properties(6, 3, 8, 4000, 1500, 1.0),
    Tissue.TABLE: Properties(160, 80, 160, 1000, 1, 0.0),
    Tissue.HAEMORRHAGE: Properties(70, 3, 70, 420, 42, 0.85),
    Tissue.INFARCT: Properties(16, 1, 16, 1600, 190, 0.92),
    Tissue.OEDEMA: Properties(17, 2, 17, 1400, 150, 0.90),
    Tissue.TUMOUR_RIM: Properties(68, 3, 68, 450, 85, 0.85),
    Tissue.NECROSIS: Properties(16, 3, 16, 2400, 350, 0.95),
    Tissue.NODULE: Properties(45, 6, 70, 1100, 80, 0.80),
    Tissue.EFFUSION: Properties(10, 4, 12, 3500, 800, 1.0),
    Tissue.LIVER_LESION: Properties(12, 2, 42, 1400, 120, 0.88),
    Tissue.CYST: Properties(4, 3, 5, 3800, 1200, 1.0),
    Tissue.STONE: Properties(850, 120, 850, 1000, 1, 0.05),
    Tissue.BLADDER_TUMOUR: Properties(52, 4, 90, 950, 75, 0.82),
    Tissue.LYTIC_LESION: Properties(38, 6, 60, 1300, 130, 0.90),
    Tissue.VITREOUS: Properties(8, 2, 8, 4000, 1200, 1.0),
}


def _column(name: str) -> np.ndarray:
    return np.array([getattr(TISSUES[tissue], name) for tissue in Tissue], dtype=np.float32)


HU, HU_SD, ENHANCED_HU = _column("hu"), _column("hu_sd"), _column("enhanced_hu")
T1_MS, T2_MS, PROTON_DENSITY = _column("t1_ms"), _column("t2_ms"), _column("proton_density")

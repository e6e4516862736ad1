"""The thorax of the chest X-ray phantom: anatomy, its findings, and tissue thicknesses along the beam.

Coordinates are millimetres in the patient: x to the patient's left (the image's right), y towards the
feet, origin on the midline at mid-lung height. The beam runs along z, so every organ is described by
its chord: how many millimetres of it a ray at (x, y) crosses. Ribs are helices on an elliptic cage,
the diaphragm is a paraboloid, the heart a union of ellipsoids.
"""

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

Grid = np.ndarray
"""(size, size) float32 array on the image grid; (patients, size, size) where a reader fits many at once."""

Length = Any
"""A float, or a (patients, 1, 1) float32 array when chords of many patients are wanted at once."""

RIGHT, LEFT = -1, 1
SIDES = {"right": RIGHT, "left": LEFT}


@dataclass(frozen=True)
class Anatomy:
    """One patient without disease; lengths in mm unless said otherwise."""

    half_width: Length  # inner half width of the rib cage
    apex: Length  # y of the lung apices
    dome_right: Length  # y of the right diaphragm dome
    dome_left: Length
    dome_height: Length  # from dome to costophrenic angle
    depth: Length  # front-to-back extent of the cage
    wall: Length  # chest wall thickness at the side
    mediastinum: Length  # half width of the upper mediastinum
    aorta: Length  # radius of the aortic knob
    rib_spacing: Length
    rib_slope: Length  # descent per radian around the cage
    rib_phase: Length  # 0..1
    rib_density: Length  # relative mineral content
    breasts: Length  # thickness, 0 for none
    bubble: Length  # radius of the stomach bubble
    shoulders: Length  # y of the shoulder line
    arms: Length  # gap between trunk and arms; beyond the image when large
    scapulae: Length  # 0 rolled out of the lungs (PA) .. 1 over them (AP)
    rotation: Length  # radians about the vertical axis

    @property
    def angle(self) -> Length:
        """Mean y of the costophrenic angles."""
        return 0.5 * (self.dome_right + self.dome_left) + self.dome_height

    def dome(self, side: int) -> Length:
        return self.dome_left if side == LEFT else self.dome_right


@dataclass(frozen=True)
class Nodule:
    """A soft-tissue ball: centre and radius in mm."""

    side: str
    x: float
    y: float
    radius: float


@dataclass(frozen=True)
class Disease:
    """What is wrong with the patient; absent findings are ``none`` or zero."""

    cardiothoracic_ratio: float
    heart_left_share: float  # share of the heart's width left of the midline
    effusion: str  # none, left, right, both
    effusion_height: float  # mm above the costophrenic angle at the lateral wall
    pneumothorax: str  # none, left, right
    pneumothorax_depth: float  # mm between chest wall and lung edge
    consolidation: str  # none, left, right
    consolidation_zone: str  # none, upper, lower
    consolidation_radius: float
    consolidation_density: float  # 0 air-filled .. 1 airless
    nodules: tuple[Nodule, ...] = ()

    def has_effusion(self, side: str) -> bool:
        return self.effusion in (side, "both")


@dataclass
class Thicknesses:
    """Millimetres of each tissue along the beam; all (size, size) float32, none negative."""

    soft: Grid
    lung: Grid
    bone: Grid


@cache
def unit_grid(size: int) -> tuple[Grid, Grid]:
    """Pixel centres as (x, y) in [-0.5, 0.5], read-only."""
    line = ((np.arange(size) + 0.5) / size - 0.5).astype(np.float32)
    x, y = np.meshgrid(line, line)
    x.flags.writeable = y.flags.writeable = False
    return x, y


def _soft_step(distance: Grid, width: float) -> Grid:
    """0 below, 1 above zero, linear over ``width`` mm: the edge a finite pixel sees."""
    return np.clip(distance / width + 0.5, 0.0, 1.0)


def _chord(squared_radius: Grid) -> Grid:
    """Chord of a unit ellipsoid, 0..1, from the squared normalised distance to its axis."""
    return np.sqrt(np.clip(1.0 - squared_radius, 0.0, None))


def _rise(v: Grid, reach: float, power: float) -> Grid:
    """Superelliptic shoulder: 0 at v=0, 1 from v=reach on."""
    rest = np.clip(1.0 - v / reach, 0.0, 1.0)
    return np.sqrt(np.clip(1.0 - rest**power, 0.0, None)) * (v > 0)


def cavity_edges(anatomy: Anatomy, y: Grid, inset: Length = 0.0) -> tuple[Grid, Grid]:
    """Medial and lateral edge of one pleural cavity at height ``y``, mm from the midline.

    ``inset`` shrinks it from the apex and the side, as a pneumothorax does to the lung.
    """
    apex = anatomy.apex + 1.1 * inset
    v = np.clip((y - apex) / (anatomy.angle - apex), 0.0, 1.3)
    centre = 0.44 * anatomy.half_width
    reach_out = anatomy.half_width - inset - centre
    lateral = centre + reach_out * _rise(v, 0.62, 2.0) * (1.0 - 0.05 * np.clip((v - 0.62) / 0.38, 0, 1) ** 2)
    medial = centre - (centre - anatomy.mediastinum) * _rise(v, 0.22, 2.0)
    return medial, lateral


def cavity_chord(anatomy: Anatomy, side: int, x: Grid, y: Grid, inset: Length = 0.0) -> Grid:
    """Thickness of one pleural cavity above the diaphragm, mm.

    The dome is y = dome + height (u^2 + z^2), so the part of a ray above it is 1 - sqrt of its
    normalised depth below the silhouette: a sharp edge with a faint recess behind it.
    """
    across = side * x
    medial, lateral = cavity_edges(anatomy, y, inset)
    u = (across - medial) / np.maximum(lateral - medial, 1.0)
    outer = _chord(np.clip((u - 0.3) / 0.7, 0.0, None) ** 2)
    inner = 0.55 + 0.45 * np.clip(u / 0.3, 0.0, 1.0)
    inside = _soft_step(across - medial, 5.0) * (u < 1.0)
    top = np.clip((y - anatomy.apex - 1.1 * inset) / (0.45 * (anatomy.angle - anatomy.apex)), 0.0, 1.0) ** 0.4
    dome_centre, dome_half = 0.5 * anatomy.half_width, 0.5 * anatomy.half_width
    from_centre = (across - dome_centre) / dome_half
    fall = np.where(from_centre > 0, np.minimum(from_centre**2, 1.6), 0.25 * from_centre**2)
    silhouette = anatomy.dome(side) + fall * anatomy.dome_height
    below = (y - silhouette) / (1.3 * anatomy.dome_height)
    above = 1.0 - np.sqrt(np.clip(below, 0.0, 1.0))
    return anatomy.depth * 0.82 * top * outer * inner * inside * above


def heart_ellipses(anatomy: Anatomy, ratio: Length, left_share: Length) -> list[tuple[Length, ...]]:
    """The heart as (x, y, long semi-axis, short semi-axis, cos tilt, sin tilt).

    Its whole width is ``ratio`` (cardiothoracic) times the inner width of the rib cage.
    """
    width = ratio * 2.0 * anatomy.half_width
    left = left_share * width
    right = width - left
    tilt = np.asarray(0.85 - 1.1 * (ratio - 0.4), dtype=np.float32)
    cosine, sine = np.cos(tilt), np.sin(tilt)
    long, short = 0.48 * width, 0.31 * width
    extent_x = np.sqrt((long * cosine) ** 2 + (short * sine) ** 2)
    extent_y = np.sqrt((long * sine) ** 2 + (short * cosine) ** 2)
    floor = 0.5 * (anatomy.dome_left + anatomy.dome_right) + 18.0
    ventricle = (left - extent_x, floor - extent_y, long, short, cosine, sine)
    atrium_x, atrium_y = 0.3 * width, 0.36 * width
    atrium = (atrium_x - right, floor - 0.9 * atrium_y - 4.0, atrium_x, atrium_y, 1.0, 0.0)
    waist_y = 0.5 * (floor - 2.0 * extent_y + anatomy.apex + 0.4 * (anatomy.angle - anatomy.apex))
    waist_x = 0.3 * anatomy.mediastinum + 0.04 * width
    trunk = (waist_x, waist_y + 12.0, 0.12 * width + 14.0, 52.0, 1.0, 0.0)
    return [ventricle, atrium, trunk]


def heart_chord(anatomy: Anatomy, ratio: Length, left_share: Length, x: Grid, y: Grid) -> Grid:
    """Thickness of heart, great vessels and aortic knob, mm."""
    chord = np.zeros_like(x)
    for cx, cy, long, short, cosine, sine in heart_ellipses(anatomy, ratio, left_share):
        dx, dy = x - cx, y - cy
        along = (dx * cosine + dy * sine) / long
        across = (dy * cosine - dx * sine) / short
        chord = np.maximum(chord, 0.62 * anatomy.depth * _chord(along**2 + across**2) ** 0.6)
    knob_x, knob_y = anatomy.mediastinum - 2.0, anatomy.apex + 0.33 * (anatomy.angle - anatomy.apex)
    knob = _chord(((x - knob_x) ** 2 + (y - knob_y) ** 2) / anatomy.aorta**2)
    return np.maximum(chord, 3.6 * anatomy.aorta * knob)


def trunk_chord(anatomy: Anatomy, x: Grid, y: Grid) -> Grid:
    """Thickness of the whole body, mm: trunk, neck, shoulders and arms; 0 beside the patient."""
    half = anatomy.half_width + anatomy.wall
    depth = anatomy.depth + 2.0 * 20.0
    beside_neck = np.maximum(np.abs(x) - 42.0, 0.0)
    top = anatomy.shoulders + 0.26 * beside_neck - 75.0 * np.exp(-beside_neck / 24.0)
    chord = depth * _chord(np.abs(x / half) ** 2.6) ** 0.8 * (0.68 + 0.32 * _soft_step(y - anatomy.apex - 35.0, 90.0))
    chord = chord * _soft_step(y - top, 34.0)
    neck = 125.0 * _chord((x / 66.0) ** 2)
    shoulder = 150.0 * _soft_step(y - top, 40.0) * (1.0 - _soft_step(y - anatomy.shoulders - 165.0, 130.0))
    shoulder = shoulder * _soft_step(anatomy.half_width + 120.0 - np.abs(x), 40.0)
    arm_centre = half + anatomy.arms + 40.0
    arm = (
        85.0 * _chord(((np.abs(x) - arm_centre - 0.12 * y) / 42.0) ** 2) * _soft_step(y - anatomy.shoulders - 60.0, 40)
    )
    chord = np.maximum(np.maximum(chord, neck), np.maximum(shoulder, arm))
    for side in (LEFT, RIGHT):
        centre_y = 0.45 * anatomy.dome_right
        squared = ((x - side * 0.58 * anatomy.half_width) / 68.0) ** 2 + ((y - centre_y) / 62.0) ** 2
        chord = chord + anatomy.breasts * _chord(squared)
    return chord


def bubble_chord(anatomy: Anatomy, x: Grid, y: Grid) -> Grid:
    """Gas in the stomach under the left dome, mm."""
    radius = np.maximum(np.asarray(anatomy.bubble, dtype=np.float32), 1.0)
    squared = ((x - 0.48 * anatomy.half_width) / (1.3 * radius)) ** 2
    squared = squared + ((y - anatomy.dome_left - 10.0 - radius) / radius) ** 2
    return 1.6 * anatomy.bubble * _chord(squared)


def bone_chord(anatomy: Anatomy, x: Grid, y: Grid) -> Grid:
    """Thickness of mineralised bone, mm: ribs, spine, clavicles, scapulae, humeral heads."""
    tilt_front, tilt_back = 60.0 * math.sin(anatomy.rotation), -80.0 * math.sin(anatomy.rotation)
    v = (y - anatomy.apex + 12.0) / (anatomy.angle - anatomy.apex + 12.0)
    cage = np.maximum((anatomy.half_width + 4.0) * _rise(np.maximum(v, 0.0), 0.62, 2.0), 1.0)
    bone = np.zeros_like(x)
    for shift, posterior in ((0.5 * tilt_back, True), (0.5 * tilt_front, False)):
        sine = np.clip(np.abs(x - shift) / cage, 0.0, 1.0)
        turn = np.arcsin(sine)
        theta = turn if posterior else np.pi - turn
        phase = (y - anatomy.apex - anatomy.rib_slope * theta) / anatomy.rib_spacing + anatomy.rib_phase
        offset = (phase - np.round(phase)) * anatomy.rib_spacing
        half = 5.5 if posterior else 6.5
        slant = 1.0 / np.maximum(np.cos(turn), 0.35)
        tube = _chord((offset / (half * np.minimum(slant, 1.8))) ** 2)
        index = np.round(phase)
        present = (np.abs(x - shift) < cage) & (index >= 0.0) & (index <= (10.0 if posterior else 7.0))
        if not posterior:
            present &= theta < 2.45
        bone += present * tube * np.minimum(slant, 2.0) * (6.5 if posterior else 4.5)
    spine_x = x - tilt_back
    body = np.clip((y % 25.0) / 25.0, 0.0, 1.0)
    disc = 0.72 + 0.28 * (np.abs(body - 0.5) < 0.38)
    bone += 11.0 * disc * _soft_step(17.0 - np.abs(spine_x), 6.0)
    across = np.abs(x - tilt_front)
    collar = anatomy.apex + 26.0 - 0.26 * across + 7.0 * np.sin(across / 26.0)
    bone += 11.0 * _chord(((y - collar) / 6.5) ** 2) * ((across > 14.0) & (across < anatomy.half_width + 22.0))
    inner = anatomy.half_width * (1.12 - 0.32 * anatomy.scapulae)
    blade = (np.abs(x) - inner - 0.10 * (y - anatomy.apex)) / 36.0
    plate = ((y - anatomy.apex - 75.0) / 75.0) ** 2 + (blade - 0.9) ** 2
    bone += 3.5 * _soft_step(1.0 - plate, 0.15) + 3.5 * _soft_step(0.12 - np.abs(plate - 0.95), 0.1) * (blade < 0.9)
    head = _chord(((np.abs(x) - anatomy.half_width - 45.0) ** 2 + (y - anatomy.apex - 24.0) ** 2) / 25.0**2)
    return anatomy.rib_density * (bone + 18.0 * head)


def vessel_chord(anatomy: Anatomy, side: int, x: Grid, y: Grid, branches: np.ndarray) -> Grid:
    """Thickness of blood vessels fanning out from one hilum, mm.

    ``branches``: (3, 64) random calibres; each octave of distance from the hilum doubles the number
    of branches, as a dividing tree does.
    """
    hilum_x = side * (anatomy.mediastinum + 10.0)
    hilum_y = anatomy.apex + (0.46 if side == LEFT else 0.5) * (anatomy.angle - anatomy.apex)
    dx, dy = side * (x - hilum_x), y - hilum_y
    radius = np.hypot(dx, dy) + 1e-3
    bend = np.arctan2(dy, dx) / (2.0 * np.pi) + 0.5 + 0.012 * np.sin(radius / 17.0)
    chord = 16.0 * np.exp(-((dx / 15.0) ** 2) - (dy / 24.0) ** 2)
    for octave, (near, count) in enumerate(((22.0, 14), (45.0, 26), (75.0, 42))):
        position = bend * count
        which = position.astype(np.int32)
        spread = (position - which - 0.5) * (2.0 * np.pi / count) * radius
        calibre = branches[octave, which % branches.shape[1]]
        strength = np.exp(-(((radius - near) / (0.45 * near + 8.0)) ** 2))
        chord += calibre * strength * np.exp(-((spread / (1.0 + 0.5 * calibre)) ** 2))
    return chord


def consolidation_centre(anatomy: Anatomy, disease: Disease) -> tuple[float, float]:
    """Centre of the consolidated lobe in mm, clear of the costophrenic angle."""
    side = SIDES[disease.consolidation]
    share = 0.28 if disease.consolidation_zone == "upper" else 0.6
    y = anatomy.apex + share * (anatomy.angle - anatomy.apex)
    inset = disease.pneumothorax_depth if disease.pneumothorax == disease.consolidation else 0.0
    return side * (0.58 * anatomy.half_width - 0.5 * inset), y + 0.4 * inset


def project(anatomy: Anatomy, disease: Disease, x: Grid, y: Grid, texture: Grid, branches: np.ndarray) -> Thicknesses:
    """Tissue thicknesses along the beam for one patient.

    ``texture``: (size, size) smooth field of unit variance (parenchyma, patchiness of consolidation);
    ``branches``: (2, 3, 64) vessel calibres in mm, right then left.
    """
    body = trunk_chord(anatomy, x, y)
    beating = x - 50.0 * math.sin(anatomy.rotation)
    heart = heart_chord(anatomy, disease.cardiothoracic_ratio, disease.heart_left_share, beating, y)
    aerated = np.zeros_like(x)
    air = np.zeros_like(x)
    dense = np.zeros_like(x)
    for name, side in SIDES.items():
        cavity = np.maximum(cavity_chord(anatomy, side, x, y) - heart, 0.0)
        lung = cavity
        if disease.pneumothorax == name:
            inset = disease.pneumothorax_depth
            lung = np.minimum(cavity, np.maximum(cavity_chord(anatomy, side, x, y, inset) - heart, 0.0))
            _, lateral = cavity_edges(anatomy, y, inset)
            pleura = np.exp(-(((side * x - lateral) / 2.5) ** 2)) * (y > anatomy.apex + 1.1 * inset)
            air = air + (cavity - lung)
            dense = dense + 0.25 * lung + 9.0 * pleura * (cavity > 0)
        inside = np.minimum(lung / 40.0, 1.0)
        if disease.consolidation == name:
            cx, cy = consolidation_centre(anatomy, disease)
            reach = disease.consolidation_radius
            squared = ((x - cx) / reach) ** 2 + ((y - cy) / (0.9 * reach)) ** 2
            patch = np.clip(1.35 - squared + 0.16 * texture, 0.0, 1.0)
            dense = dense + disease.consolidation_density * patch * lung
        for nodule in disease.nodules:
            if nodule.side == name:
                squared = ((x - nodule.x) ** 2 + (y - nodule.y) ** 2) / nodule.radius**2
                dense = dense + 4.0 * nodule.radius * _chord(squared) * inside
        dense = dense + inside * vessel_chord(anatomy, side, x, y, branches[0 if side == RIGHT else 1])
        dense = dense + inside * np.clip(1.2 * texture, -2.0, 4.0)
        if disease.has_effusion(name):
            medial, lateral = cavity_edges(anatomy, y)
            u = np.clip((side * x - medial) / np.maximum(lateral - medial, 1.0), 0.0, 1.0)
            climb = 0.0 if disease.pneumothorax == name else 1.0  # with air above it the level is flat
            bottom = anatomy.dome(side) + anatomy.dome_height
            level = bottom - disease.effusion_height * (1.0 - 0.4 * climb * (1.0 - u**2))
            fluid = _soft_step(y - level, 9.0)
            air, lung, dense = air * (1.0 - fluid), lung * (1.0 - fluid), dense * (1.0 - fluid)
        aerated = aerated + lung
    windpipe = _soft_step(8.0 - np.abs(x - 20.0 * math.sin(anatomy.rotation)), 5.0)
    air = air + 15.0 * windpipe * (1.0 - _soft_step(y - anatomy.apex - 0.38 * (anatomy.angle - anatomy.apex), 12.0))
    air = air + bubble_chord(anatomy, x, y)
    dense = np.clip(dense, -0.2 * aerated, None)
    lung = np.maximum(aerated - np.maximum(dense, 0.0), 0.0)
    soft = np.where(body > 0, np.maximum(body - lung - air, np.minimum(body, 30.0)), 0.0)
    bone = bone_chord(anatomy, x, y) * np.clip(body / 40.0, 0.0, 1.0)
    return Thicknesses(soft=soft.astype(np.float32), lung=lung.astype(np.float32), bone=bone.astype(np.float32))

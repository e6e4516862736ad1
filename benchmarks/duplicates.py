"""Near-duplicates among a million fingerprints: seconds, memory, and whether any pair is missed.

.venv/bin/python benchmarks/duplicates.py            writes benchmarks/results/duplicates.json
.venv/bin/python benchmarks/duplicates.py --quick    50,000 fingerprints, printed only

Two sets. "uniform": every bit is a coin. "alike": bits as alike as in real modalities: for each of the seven, mean and
covariance of the cosine coefficients of 150 VL-Phantom pictures (a tenth of the covariance moved to its diagonal, so
that it is of full rank), and fingerprints of normal draws from them. In both, a fifth are planted copies of others with
0 to 20 bits changed. Every planted pair within the distance must be found, and every pair that brute force finds in a
sample. Brute force is also the peer: every pair compared, in blocks, timed on the sample and scaled by the number of
pairs. Memory is that of a second search, the fingerprints themselves not counted.
"""

import argparse
import json
import time
import tracemalloc
from typing import Any

import numpy as np
from timing import RESULTS, machine

from healthgpt.data.duplicates import distances, first_rows, near_duplicates
from healthgpt.data.sample_folder import CASE_MAKERS, to_bytes
from healthgpt.imaging import fingerprint
from healthgpt.imaging.fingerprint import NEAR_DISTANCE, WORDS
from healthgpt.phantoms.case import SEED_RANGES

TARGET_SECONDS = 60
FULL, QUICK = 1_000_000, 50_000
SAMPLE = 20_000
COPIES = 0.2
MOST_FLIPS = 20
PICTURES = 150
BITS = 64 * WORDS


def coefficients(modality: str, pictures: int) -> np.ndarray:
    """(pictures, 256): the numbers whose signs make the fingerprint."""
    first = SEED_RANGES["validation"].start
    rows = []
    for seed in range(first, first + pictures):
        pixels = to_bytes(CASE_MAKERS[modality](seed).image)
        rows.append(fingerprint.coefficients(fingerprint.as_grey(pixels)))
    return np.stack(rows)


def uniform(count: int, draw: np.random.Generator) -> np.ndarray:
    return draw.integers(0, 2**64, (count, WORDS), dtype=np.uint64)


def alike(count: int, draw: np.random.Generator, pictures: int = PICTURES) -> np.ndarray:
    """(count, 4) uint64, an equal part of each modality."""
    parts = []
    for number, modality in enumerate(CASE_MAKERS):
        seen = coefficients(modality, pictures)
        covariance = np.cov(seen.T)
        covariance = 0.9 * covariance + 0.1 * np.diag(np.diag(covariance)) + 1e-9 * np.eye(BITS)
        root, mean = np.linalg.cholesky(covariance).astype(np.float32), seen.mean(axis=0).astype(np.float32)
        size = count // len(CASE_MAKERS) + (number < count % len(CASE_MAKERS))
        for start in range(0, size, 50_000):
            normal = draw.standard_normal((min(50_000, size - start), BITS), np.float32)
            signs = mean + normal @ root.T > 0
            parts.append(np.packbits(signs, axis=1, bitorder="little").view(np.uint64))
    return draw.permutation(np.concatenate(parts))


def with_copies(hashes: np.ndarray, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The hashes with their last fifth replaced by changed copies of earlier ones, and the (M, 2) planted pairs."""
    originals = int(len(hashes) * (1 - COPIES))
    copies = np.arange(originals, len(hashes))
    of = draw.integers(0, originals, len(copies))
    hashes[copies] = hashes[of]
    flips = draw.integers(0, MOST_FLIPS + 1, len(copies))
    for turn in range(MOST_FLIPS):
        changed = copies[flips > turn]
        bit = draw.integers(0, BITS, len(changed))
        hashes[changed, bit // 64] ^= np.uint64(1) << (bit % 64).astype(np.uint64)
    return hashes, np.stack([of, copies], axis=1)


def brute_force(hashes: np.ndarray, radius: int, block: int = 64) -> np.ndarray:
    """(M, 2): every pair compared, ``block`` rows at a time with all that follow."""
    found = []
    for start in range(0, len(hashes), block):
        rest = hashes[start:]
        apart = np.zeros((min(block, len(rest)), len(rest)), np.uint16)
        for word in range(hashes.shape[1]):
            apart += np.bitwise_count(rest[: len(apart), word, None] ^ rest[None, :, word])
        one, other = np.nonzero(apart <= radius)
        found.append(np.stack([one, other], axis=1)[other > one] + start)
    return np.concatenate(found)


def as_set(pairs: np.ndarray, hashes: np.ndarray) -> np.ndarray:
    """Pairs of equal value replaced by their first rows, sorted and once each; a hash is not paired with itself."""
    first = first_rows(hashes)[pairs]
    first = np.sort(first[first[:, 0] != first[:, 1]], axis=1)
    return np.unique(first[:, 0] * len(hashes) + first[:, 1])


def measure(hashes: np.ndarray, planted: np.ndarray, sample: int) -> dict[str, Any]:
    """Time and memory of the search on all, its recall of the planted, and agreement with brute force on a sample."""
    started, busy = time.perf_counter(), time.process_time()
    pairs = near_duplicates(hashes, NEAR_DISTANCE)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - busy
    tracemalloc.start()
    near_duplicates(hashes, NEAR_DISTANCE)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    found = as_set(pairs, hashes)
    promised = planted[distances(hashes, planted) <= NEAR_DISTANCE]
    chosen = np.unique(planted[-sample // 2 :])  # originals and copies: a sample with pairs to miss
    started = time.perf_counter()
    peer = brute_force(hashes[chosen], NEAR_DISTANCE)
    peer_seconds = time.perf_counter() - started
    scaled = peer_seconds * (len(hashes) / len(chosen)) ** 2
    of_sample = as_set(chosen[peer], hashes)
    return {
        "fingerprints": len(hashes),
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu_seconds, 2),
        "peak_bytes_a_fingerprint": round(peak / len(hashes)),
        "pairs": len(pairs),
        "pairs_beyond_distance": int((distances(hashes, pairs) > NEAR_DISTANCE).sum()),
        "planted_within_distance": len(promised),
        "planted_recall": float(np.isin(as_set(promised, hashes), found).mean()),
        "sample": len(chosen),
        "sample_pairs_by_brute_force": len(of_sample),
        "sample_pairs_missed": int((~np.isin(of_sample, found)).sum()),
        "brute_force_seconds_on_sample": round(peer_seconds, 2),
        "brute_force_seconds_scaled": round(scaled),
        "times_faster_scaled": round(scaled / seconds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="50,000 fingerprints; writes nothing")
    options = parser.parse_args()
    figures: dict[str, Any] = {
        "machine": machine(), "distance": NEAR_DISTANCE, "bits": BITS, "target_seconds": TARGET_SECONDS,
    }  # fmt: skip
    count = QUICK if options.quick else FULL
    for make in (uniform, alike):
        draw = np.random.default_rng(0)
        hashes, planted = with_copies(make(count, draw), draw)
        figures[make.__name__] = measure(hashes, planted, min(SAMPLE, count // 5))
    text = json.dumps(figures, indent=1)
    print(text)
    if not options.quick:
        (RESULTS / "duplicates.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

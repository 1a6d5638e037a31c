"""The definitions of presentation attack detection as loops over thresholds and scores, in whole numbers."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

LIVE = [0.91, 0.85, 0.80, 0.62, 0.55, 0.30]
PRINT = [0.70, 0.40, 0.20, 0.10]
MASK = [0.66, 0.58, 0.35, 0.05, 0.02]
TEST = (LIVE + PRINT + MASK, [1] * 6 + [0] * 9, ["live"] * 6 + ["print"] * 4 + ["mask"] * 5)
DEV = ([0.95, 0.75, 0.6, 0.45, 0.5, 0.3, 0.2, 0.1], [1] * 4 + [0] * 4)


def made(n=120, seed=0, levels=None, species=3):
    """Scores, labels and species; with few ``levels`` there are many ties."""
    rng = np.random.default_rng(seed)
    live = rng.random(n) < 0.4
    live[:2] = True, False
    kind = rng.integers(0, species, n)
    scores = rng.normal(np.where(live, 1.2, 0.3 * kind - 0.3), 1.0)
    scores = np.round(scores * levels) / levels if levels else scores
    scores[:2] = 2.0, -1.0
    return scores, live, np.array([f"kind{k}" for k in kind])


class Twin:
    """Every rate by counting; every rule by trying all candidates from low to high."""

    def __init__(self, scores, live, pai=None, strict=False):
        self.rows = list(zip(scores, live, pai if pai is not None else ["attack"] * len(scores), strict=True))
        self.strict = strict
        self.candidates = [*sorted({float(s) for s in scores}), float("inf")]
        self.names = sorted({p for _, y, p in self.rows if not y})

    def share(self, chosen, tau, accepted):
        hits = tries = 0
        for s, y, p in self.rows:
            if chosen(y, p):
                tries += 1
                hits += (s > tau if self.strict else s >= tau) == accepted
        return Fraction(hits, tries)

    def apcer(self, tau):
        return {k: self.share(lambda y, p, k=k: not y and p == k, tau, True) for k in self.names}

    def apcer_kind(self, tau, kind):
        pooled = self.share(lambda y, p: not y, tau, True)
        return max(self.apcer(tau).values()) if kind == "max" else pooled

    def bpcer(self, tau):
        return self.share(lambda y, p: y, tau, False)

    def acer(self, tau, kind):
        return (self.apcer_kind(tau, kind) + self.bpcer(tau)) / 2

    def eer(self):
        best = None
        for t in self.candidates:
            gap = abs(self.apcer_kind(t, "pooled") - self.bpcer(t))
            if best is None or gap <= best[0]:
                best = gap, t
        return best[1], (self.apcer_kind(best[1], "pooled") + self.bpcer(best[1])) / 2

    def min_acer(self, kind):
        best = None
        for t in self.candidates:
            if best is None or self.acer(t, kind) <= best[0]:
                best = self.acer(t, kind), t
        return best[1]

    def at_apcer(self, target, kind):
        return next(t for t in self.candidates if self.apcer_kind(t, kind) <= target)

    def at_bpcer(self, target):
        return [t for t in [-float("inf"), *self.candidates] if self.bpcer(t) <= target][-1]

    def tpr(self, target, definition):
        """Of the points of the ROC, (FPR, TPR) from (0, 0) on."""
        points = [(Fraction(0), Fraction(0))]
        points += [(self.apcer_kind(t, "pooled"), 1 - self.bpcer(t)) for t in self.candidates[::-1]]
        if definition == "conservative":
            return float(max(tpr for fpr, tpr in points if fpr <= target))
        if definition == "nearest":
            gaps = [abs(float(fpr) - float(target)) for fpr, _ in points]
            return float(max(tpr for (_, tpr), gap in zip(points, gaps, strict=True) if gap == min(gaps)))
        return float(np.interp(float(target), *zip(*((float(a), float(b)) for a, b in points), strict=True)))

    def auc(self):
        wins = Fraction(0)
        live = [s for s, y, _ in self.rows if y]
        attack = [s for s, y, _ in self.rows if not y]
        for a in live:
            for b in attack:
                wins += Fraction(int(a > b)) + Fraction(int(a == b), 2)
        return float(wins / len(live) / len(attack))

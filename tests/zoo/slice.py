"""A part of the zoo that fits into `make test`, chosen by a seed."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence

from zoo.project import Project


def slice_of(projects: Sequence[Project], count: int, seed: int) -> list[Project]:
    """Return so many projects; the languages take turns."""
    piles: defaultdict[str, list[Project]] = defaultdict(list)
    chance = random.Random(seed)
    for project in chance.sample(list(projects), len(projects)):
        piles[project.language].append(project)
    turns = chance.sample(sorted(piles), len(piles))
    chosen: list[Project] = []
    while len(chosen) < min(count, len(projects)):
        chosen += [piles[language].pop() for language in turns if piles[language]]
    return chosen[:count]

"""From positions on record to what each source of exploration is worth: means over tokens, intervals over problems.

A source is a distribution over S at every position: `pi` (the final layer), `layer_<l>` (an intermediate layer's
readout), the e of `led`, `explore_final` and `explore_base`, `uniform`, and `argmax`. Positions count equally, or by
how often LED would explore there: 1 - p1, or what another coin says. Needs no model.

Shapes: N positions, K candidates, P problems, Q quantities.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from led_rl.records import JsonObject
from led_rl.scores.bootstrap import columns_ci, quantity_rng, without_dust
from led_rl.tasks.countdown_trace import COMPUTATION

FloatArray = NDArray[np.float64]
LAYER = "layer_"
REFERENCES = ("pi", "explore_final", "explore_base", "uniform")


def aggregate(rows: Sequence[JsonObject]) -> list[JsonObject]:
    """Rows of decisions.jsonl: one for each checkpoint, kind of position and source.

    `kind` is `decision` (an operand or operator, several legal), `forced` (one legal word), `again` (another attempt or
    none), `off` (after a mistake) or `all`; the last two have the final layer's row only. An estimate is
    {mean, ci95}, null where there is nothing to average. `legality` is the mass on legal words; `worth` holds, over the
    positions with values, the mean value of a word drawn from the source, and the mass on words that are `good` (value
    above 0), `as_good` (value at least that of the final layer's favourite) and on `alternatives`, good ones other
    than the favourite, and `better_alternatives`, as good ones other than it. `minus` holds paired differences.
    """
    found: list[JsonObject] = []
    for checkpoint, group in groupby(rows, key=lambda row: row["checkpoint"]):
        own = list(group)
        for kind in ("decision", "forced", "again", "off", "all"):
            part = own if kind == "all" else [row for row in own if _kind(row) == kind]
            if part:
                found += _scored(checkpoint, kind, part, own)
    return found


def _kind(row: JsonObject) -> str:
    if not row["legal"]:
        return "off"
    if len(row["legal"]) == 1:
        return "forced"
    return "decision" if row["kind"] in COMPUTATION else "again"


def _scored(
    checkpoint: str, kind: str, part: Sequence[JsonObject], everything: Sequence[JsonObject]
) -> list[JsonObject]:
    identity = ("decisions", checkpoint, kind)
    p1, explores = np.array([row["p1"] for row in part]), _explores(part)
    problems = _numbered(part)
    plain = {
        "p1": p1,
        "explored_rate": explores,
        "entropy_final_nats": np.array([row["entropy_nats"][-1] for row in part]),
        "legal_words": np.array([len(row["legal"]) for row in part], dtype=np.float64),
    }
    common: JsonObject = {
        "checkpoint": checkpoint,
        "rl_step": part[0]["rl_step"],
        "kind": kind,
        "positions": len(part),
        "problems": len(set(problems)),
        "valued_positions": sum(row["value"] is not None for row in part),
        "token_share": len(part) / len(everything),
        "explored_share": float(explores.sum() / _explores(everything).sum()),
        **estimates(plain, np.ones(len(part)), problems, identity),
    }
    sources = _sources(part)
    if kind in ("off", "all"):
        sources = {"pi": sources["pi"]}
    legal = np.array([[word in row["legal"] for word in row["support"]] for row in part], dtype=np.float64)
    legality = {} if kind in ("off", "all") else {name: _legality(w, legal) for name, w in sources.items()}
    valued = np.array([row["value"] is not None for row in part])
    worth: dict[str, dict[str, FloatArray]] = {}
    if valued.any():
        values = np.array([row["value"] for row in part if row["value"] is not None])
        favourite = sources["pi"][valued].argmax(-1)
        worth = {name: _worth(w[valued], values, favourite) for name, w in sources.items()}
    layers = len(part[0]["entropy_nats"])
    found = []
    for source in sources:
        own = layers if source == "pi" else layer_of(source)
        row: JsonObject = {**common, "source": source}
        for name in ("entropy_nats", "mass_on_support"):
            row[name] = None if own is None else float(np.mean([one[name][own - 1] for one in part]))
        against = [name for name in REFERENCES if name in sources and name != source]
        row["minus"] = {name: JsonObject() for name in against}
        for key, table, where in (("legality", legality, slice(None)), ("worth", worth, valued)):
            row[key] = None
            if table:
                who = (*identity, source, key)
                row[key] = _both(table[source], explores[where], problems[where], who)
                for name in against:
                    difference = {metric: table[source][metric] - table[name][metric] for metric in table[source]}
                    row["minus"][name][key] = _both(difference, explores[where], problems[where], (*who, name))
        found.append(row)
    return found


def _explores(rows: Sequence[JsonObject]) -> FloatArray:
    """LED's probability of exploring at each position (N,); older records have the paper's coin alone."""
    return np.array([row.get("explores", 1 - row["p1"]) for row in rows])


def layer_of(source: str) -> int | None:
    """The layer whose readout a source of exploration is, None for one that is no layer's."""
    layer = source.removeprefix(LAYER)
    return int(layer) if layer != source else None


def _numbered(rows: Sequence[JsonObject]) -> NDArray[np.intp]:
    """The problem of each row as a number."""
    names = sorted({row["problem_id"] for row in rows})
    number = {name: index for index, name in enumerate(names)}
    return np.array([number[row["problem_id"]] for row in rows], dtype=np.intp)


def _sources(rows: Sequence[JsonObject]) -> dict[str, FloatArray]:
    """source -> (N, K)."""
    readouts = np.array([row["readouts"] for row in rows])
    pi = readouts[:, -1]
    layers = {f"{LAYER}{layer}": readouts[:, layer - 1] for layer in range(1, readouts.shape[1])}
    e = {name: np.array([row["e"][name] for row in rows]) for name in rows[0]["e"]}
    argmax = np.eye(pi.shape[-1])[pi.argmax(-1)]
    return {"pi": pi, **e, "uniform": np.full_like(pi, 1 / pi.shape[-1]), "argmax": argmax, **layers}


def _legality(weights: FloatArray, legal: FloatArray) -> dict[str, FloatArray]:
    return {"legal_mass": (weights * legal).sum(-1)}


def _worth(weights: FloatArray, values: FloatArray, favourite: NDArray[np.intp]) -> dict[str, FloatArray]:
    """weights, values (N, K), favourite (N,) -> (N,) each."""
    other = np.arange(values.shape[-1]) != favourite[:, None]
    good = values > 0
    as_good = values >= np.take_along_axis(values, favourite[:, None], -1)
    masks = {
        "good_mass": good,
        "as_good_mass": as_good,
        "alternatives_mass": good & other,
        "better_alternatives_mass": good & as_good & other,
    }
    return {"value": (weights * values).sum(-1)} | {name: (weights * mask).sum(-1) for name, mask in masks.items()}


def _both(
    values: Mapping[str, FloatArray], explores: FloatArray, problems: NDArray[np.intp], identity: tuple[str, ...]
) -> JsonObject:
    """Positions count equally, and as often as LED would explore there."""
    return {
        "by_position": estimates(values, np.ones_like(explores), problems, (*identity, "by_position")),
        "by_exploration": estimates(values, explores, problems, (*identity, "by_exploration")),
    }


def estimates(
    values: Mapping[str, FloatArray], weights: FloatArray, problems: NDArray[np.intp], identity: tuple[str, ...]
) -> JsonObject:
    """name -> {mean, ci95}: weighted means over positions, with bootstrap intervals over problems.

    Problems differ in how many positions they have, so a mean over positions is a ratio of sums over problems, n / d.
    What is resampled is its linearisation r + (n_p - r d_p) / mean(d), r = n / d, which agrees to first order.
    """
    if not weights.sum() > 0:
        return {name: {"mean": None, "ci95": None} for name in values}
    stacked = np.stack(list(values.values()), axis=-1)
    _, place = np.unique(problems, return_inverse=True)
    size = np.bincount(place, weights)
    sums = np.stack([np.bincount(place, weights * column) for column in stacked.T], axis=-1)
    ratio = sums.sum(0) / size.sum()
    linear = ratio + (sums - ratio * size[:, None]) / size.mean()
    bounds = columns_ci(linear, quantity_rng(*identity)).tolist() if len(size) > 1 else [None] * len(ratio)
    means = without_dust(ratio).tolist()
    return {name: {"mean": mean, "ci95": ci95} for name, mean, ci95 in zip(values, means, bounds, strict=True)}

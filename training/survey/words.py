"""What a survey found, in words and as JSON. Looks at nothing itself."""

from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Any

from training.pictures.cache import MOST_UNREADABLE
from training.pictures.source import SPLITS
from training.survey.look import Survey

_FEW = 20  # pictures of a class: fewer are copied rather than learned
_NAMED = 5  # examples of what there is more of
_ROWS = 30  # classes in the table


def to_json(found: Survey) -> dict[str, Any]:
    """Plain data: everything but the pictures."""
    heights, widths = ([one.size[side] for one in found.seen] for side in (0, 1))
    return {
        "pictures": len(found.seen),
        "held_out": found.held_out,
        "classes": {
            name: {split: counts[split] for split in SPLITS} for name, counts in _counts(found)
        },
        "splits": dict(Counter(one.split for one in found.seen)),
        "height": _spread(heights),
        "width": _spread(widths),
        "kinds": dict(Counter(one.kind for one in found.seen)),
        "same": _names(found, found.same),
        "nearly_same": None if found.nearly is None else _names(found, found.nearly),
        "rejected": [{"file": name, "reason": why} for name, why in found.rejected],
        "passed_over": list(found.passed_over),
        "captions": _caption_lengths(found),
        "remarks": [*found.remarks, *oddities(found)],
    }


def sentences(found: Survey) -> list[str]:
    """The same for people, a line each."""
    facts = to_json(found)
    splits = " and ".join(f"{count} to {_USES[name]}" for name, count in facts["splits"].items())
    by_hash = f", {found.held_out:.0%} held out by hash" if found.held_out else ""
    lines = [f"{len(found.seen)} pictures: {splits}{by_hash}"]
    if found.seen:
        height, width = facts["height"], facts["width"]
        kinds = ", ".join(f"{count} {kind}" for kind, count in facts["kinds"].items())
        lines.append(f"height {_from_to(height)}, width {_from_to(width)} pixels; {kinds}")
    lines += _class_lines(found)
    if facts["captions"]:
        c = facts["captions"]
        lines.append(
            f"captions of {_from_to(c)} characters, {c['different']} different; "
            f"{c['missing']} pictures have none"
        )
    lines.append(_duplicates("the same, byte for byte", found.same, found))
    if found.nearly is not None:
        lines.append(_duplicates("the same or nearly", found.nearly, found))
    lines += _rejects(found)
    return [line for line in lines if line] + [f"note: {text}" for text in facts["remarks"]]


_USES = {"train": "train on", "test": "judge by"}


def oddities(found: Survey) -> list[str]:
    """What training would do something else with than is meant, probably."""
    odd = []
    count = len(found.rejected) + len(found.seen)
    if len(found.rejected) > MOST_UNREADABLE * count:
        odd.append(
            f"training refuses these: {len(found.rejected)} of {count} files cannot be used, more "
            f"than {MOST_UNREADABLE:.0%}"
        )
    if empty := [name for name, c in _counts(found) if not c.total()]:
        odd.append(
            f"training refuses these: the class {empty[0]!r} has no picture that can be used"
        )
    if found.classes:
        few = [(name, c["train"]) for name, c in _counts(found) if c["train"] < _FEW]
        if few:
            odd.append(
                f"{len(few)} classes have fewer than {_FEW} pictures to train on, for example "
                f"{few[0][0]!r} with {few[0][1]}: they will be copied rather than learned"
            )
    kinds = {one.kind for one in found.seen}
    if len(kinds) > 1:
        transparent = any("transparency" in kind for kind in kinds)
        odd.append(
            "grey and colour are mixed, or some are transparent: all become what data.channels says"
            + (", what is transparent white" if transparent else "")
        )
    across = [group for group in found.same if len({found.seen[i].split for i in group}) > 1]
    if across:
        odd.append(
            f"{len(across)} pictures are in both splits, for example "
            f"{found.seen[across[0][0]].name}: judging by them flatters"
        )
    labels = [group for group in found.same if len({found.seen[i].label for i in group}) > 1]
    if labels:
        of_label = {found.seen[index].label: found.seen[index].name for index in labels[0]}
        odd.append(
            f"{len(labels)} pictures are in two classes, for example "
            f"{' and '.join(list(of_label.values())[:2])}"
        )
    return odd


def _counts(found: Survey) -> list[tuple[str, Counter[str]]]:
    counts = [Counter[str]() for _ in found.classes]
    if found.classes:
        for one in found.seen:
            counts[one.label][one.split] += 1
    return list(zip(found.classes, counts, strict=True))


def _class_lines(found: Survey) -> list[str]:
    counts = _counts(found)
    if not counts:
        return ["no classes"]
    width = max(len(name) for name, _ in counts[:_ROWS])
    lines = [f"{len(counts)} classes:"]
    lines += [
        f"  {name:{width}}  {count['train']:>7} {count['test']:>7}"
        for name, count in counts[:_ROWS]
    ]
    if len(counts) > _ROWS:
        lines.append(f"  and {len(counts) - _ROWS} others")
    return lines


def _caption_lengths(found: Survey) -> dict[str, Any] | None:
    if not found.captions:
        return None
    said = [caption for caption in found.captions if caption]
    return {
        **_spread([len(caption) for caption in said]),
        "different": len(set(said)),
        "missing": len(found.captions) - len(said),
    }


def _spread(values: Sequence[int]) -> dict[str, Any]:
    if not values:
        return {"least": 0, "median": 0, "most": 0}
    return {"least": min(values), "median": int(median(values)), "most": max(values)}


def _from_to(spread: dict[str, Any]) -> str:
    if spread["least"] == spread["most"]:
        return str(spread["least"])
    return f"{spread['least']} to {spread['most']} (median {spread['median']})"


def _duplicates(kind: str, groups: Sequence[Sequence[int]], found: Survey) -> str:
    if not groups:
        return f"no two pictures are {kind}"
    extra = sum(len(group) - 1 for group in groups)
    names = ", ".join(found.seen[index].name for index in groups[0][:3])
    return f"{extra} pictures are {kind}, as others, for example {names}"


def _rejects(found: Survey) -> list[str]:
    lines = []
    if found.rejected:
        lines.append(f"{len(found.rejected)} files are rejected:")
        lines += [f"  {name}: {why}" for name, why in found.rejected[:_NAMED]]
        if len(found.rejected) > _NAMED:
            lines.append(f"  and {len(found.rejected) - _NAMED} others")
    if found.passed_over:
        lines.append(
            f"{len(found.passed_over)} files have no picture's suffix and are passed over, for "
            f"example {found.passed_over[0]}"
        )
    return lines


def _names(found: Survey, groups: Sequence[Sequence[int]]) -> list[list[str]]:
    return [[found.seen[index].name for index in group] for group in groups]

"""The ledger: every claim that notebooks published, under the statements that people make."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence

from artifact.claims import Claim
from artifact.errors import ArtifactError
from artifact.paths import RESULTS, tier_root


def published(tier: str) -> list[tuple[str, Claim]]:
    """The claims that a tier's notebooks published, each with its notebook.

    Raises `ArtifactError` if a verdict on file is not what its evidence says, or a name was used twice.
    """
    files = sorted((tier_root(tier) / RESULTS).glob("*_claims.json"))
    records = [record for file in files for record in json.loads(file.read_text(encoding="utf-8"))]
    claims = [_checked(record) for record in records]
    names = Counter(claim.name for claim in claims)
    if twice := [name for name, times in names.items() if times > 1]:
        raise ArtifactError(f"claims: expected every name once, got {', '.join(twice)} more than once")
    return [(record["notebook"], claim) for record, claim in zip(records, claims, strict=True)]


def ledger(rows: Mapping[str, Sequence[str]], tier: str) -> list[tuple[str, list[tuple[str, Claim]]]]:
    """For each statement, in the order of `rows`, the claims that bear on it, with their notebooks.

    `rows` names for each statement its claims. Raises `ArtifactError` if a row has no claim, a claim is not
    published, or a published one is in no row: a statement without a computed verdict cannot stand.
    """
    found = {claim.name: (notebook, claim) for notebook, claim in published(tier)}
    wanted = {name for names in rows.values() for name in names}
    if empty := [row for row, names in rows.items() if not names]:
        raise ArtifactError(f"rows: expected at least one claim for each, got none for {'; '.join(empty)}")
    if missing := sorted(wanted - set(found)):
        raise ArtifactError(f"rows: expected claims that a notebook publishes, got {', '.join(missing)}")
    if left := sorted(set(found) - wanted):
        raise ArtifactError(f"rows: expected every published claim in a row, {', '.join(left)} is in none")
    return [(row, [found[name] for name in names]) for row, names in rows.items()]


def _checked(record: Mapping) -> Claim:
    claim = Claim.of(record)
    if claim.verdict != record["verdict"]:
        raise ArtifactError(f"claim {claim.name}: expected the verdict of its evidence, got {record['verdict']!r}")
    return claim

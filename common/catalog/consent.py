"""Whether a LoRA of a real person may be used: by the record of the person's consent in the catalog."""

from __future__ import annotations

from datetime import date

from common.catalog.types import Lora


def consent_problem(lora: Lora, *, commercial: bool, today: date) -> str | None:
    """Why a LoRA cannot be used, if so, as far as its person has a say in it."""
    person = lora.person
    if person is None or not person.real:
        return None
    who = f"LoRA `{lora.name}` shows a real person (subject {person.subject})"
    if person.consent is None:
        return f"{who}, and the catalog names no consent; leave it out until its entry has `consent`"
    if person.revoked is not None:
        return f"{who}, whose consent was revoked on {person.revoked}; leave it out"
    if person.expires is not None and person.expires < today:
        return f"{who}, whose consent expired on {person.expires}; leave it out until it is renewed"
    if commercial and "commercial" not in person.scope:
        return f"{who}, whose consent is not for commercial use; this manifest says `use: commercial`"
    return None


def forbids_intimacy(lora: Lora) -> bool:
    """Whether it shows a real person who has not agreed to intimate images."""
    return lora.person is not None and lora.person.real and "intimate" not in lora.person.scope


def revoked(lora: Lora) -> str | None:
    """Why what already waits with a LoRA is not rendered any more, if so."""
    person = lora.person
    if person is None or not person.real or person.revoked is None:
        return None
    return f"the consent of the person of LoRA {lora.name} was revoked on {person.revoked}"

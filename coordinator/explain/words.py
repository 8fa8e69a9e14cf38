"""One line of help for each word of the farm that screens show."""

from __future__ import annotations

from collections.abc import Iterable

WORDS = {
    "class": "memory of a card in GB; shots wait for the smallest that takes them",
    "lane": "which nodes serve a job; nodes serve `public` unless set up otherwise",
    "tickets": "rights to claim a batch that lie on a queue for idle nodes",
    "images/h": "pace of the last two minutes in which images were stored",
    "recipe": "how a model is held on a card: precision, offloading, tiles",
    "delivered": "uploaded, and being checked",
    "unschedulable": "fits no node of this farm; `farm explain JOB` says what would fit",
    "withheld": "marked by a classifier; operators alone see it until one approves it",
    "accepted": "failed, and accepted as permanently missing",
    "rejected": "taken out of the results by a person",
    "parked": "idle, and asking for work",
    "draining": "finishes its batch, then takes no other",
    "quarantined": "failed too often, and gets no work until it passes a self-test",
    "selftest": "renders a known image, which decides whether it gets work",
}


def help_on(words: Iterable[str]) -> list[str]:
    """One line for each of these words that needs one, in the order of `WORDS`.

    >>> help_on(["done", "delivered"])
    ['delivered: uploaded, and being checked']
    """
    shown = {*words}
    return [f"{word}: {told}" for word, told in WORDS.items() if word in shown]

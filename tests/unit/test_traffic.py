from typing import get_args

from common.errors import Reason
from common.messages import Fallback
from coordinator.calls.traffic import Traffic


def told(traffic: Traffic) -> dict[tuple[str, ...], float]:
    """Name and labels to the value of every sample."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for metric in traffic.collect()
        for sample in metric.samples
    }


def test_totals_stay_and_the_last_minute_passes():
    now = [100.0]
    traffic = Traffic(monotonic=lambda: now[0])
    traffic.request("/v1/claims", 200)
    traffic.request("/v1/claims", 200)
    traffic.ticket("public", 8)
    now[0] += 30
    traffic.request("/v1/jobs", 404)
    assert (traffic.requests_per_minute(), traffic.tickets_per_minute()) == (3, 1)
    now[0] += 31
    assert (traffic.requests_per_minute(), traffic.tickets_per_minute()) == (1, 0)
    none = {("farm_refusals_total", reason): 0 for reason in get_args(Reason)}
    none |= {("farm_embedding_fallbacks_total", reason): 0 for reason in get_args(Fallback)}
    none |= {("farm_webhook_posts_total", outcome): 0 for outcome in ("taken", "failed")}
    none |= {("farm_webhook_events_given_up_total",): 0}
    assert told(traffic) == none | {
        ("farm_requests_total", "/v1/claims", "200"): 2,
        ("farm_requests_total", "/v1/jobs", "404"): 1,
        ("farm_tickets_published_total", "public", "8"): 1,
    }


def test_texts_are_counted_by_the_source_of_their_embedding():
    traffic = Traffic()
    traffic.embeddings(3, 2, 5, {"missing": 1, "damaged": 1})
    traffic.embeddings(1, 0, 0, {})
    counted = told(traffic)
    sources = [counted["farm_embeddings_total", source] for source in ("store", "encoder", "ahead")]
    assert sources == [4, 2, 5]
    assert counted["farm_embedding_fallbacks_total", "missing"] == 1
    assert counted["farm_embedding_fallbacks_total", "unfit"] == 0


def test_two_farms_of_one_process_count_apart():
    one, other = Traffic(), Traffic()
    one.refusal("key")
    assert told(one)["farm_refusals_total", "key"] == 1
    assert told(other)["farm_refusals_total", "key"] == 0

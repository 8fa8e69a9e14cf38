from coordinator.traffic import Traffic


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
    assert traffic.requests() == {("/v1/claims", 200): 2, ("/v1/jobs", 404): 1}
    assert traffic.tickets() == {("public", 8): 1}

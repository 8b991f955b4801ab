"""Each fault really does on the wire what it says, and the seed decides which call meets it."""

import json
import time
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from numpy.random import default_rng
from sandbox_market import SIMULATED

from pipeline.errors import ServiceError, UsageError
from pipeline.sandbox.faults import KINDS, RECORD_FAULTS, WIRE_FAULTS, FaultPlan, Faults, Scripted
from pipeline.sandbox.planting import HOSTILE_NAMES, plant
from pipeline.sandbox.server import RunningSandbox

NEW = f"networks/{SIMULATED.network}/new_pools"
INCLUDED = {"include": "base_token,quote_token,dex"}


def scripted(kind: str, times: int = 1, **options: Any) -> FaultPlan:
    return FaultPlan(script=(Scripted("*", kind, times),), **options)


@pytest.fixture
def addresses(client: httpx2.Client) -> list[str]:
    told = [
        record["attributes"]["address"]
        for page in "12"
        for record in client.get(NEW, params={"page": page}).json()["data"]
    ]
    return told[:30]


@pytest.fixture
def multi(addresses: list[str]) -> str:
    return f"networks/{SIMULATED.network}/pools/multi/{','.join(addresses)}"


@pytest.fixture
def busy(client: httpx2.Client, addresses: list[str]) -> str:
    """The path of a pool with many trades."""
    paths = [f"networks/{SIMULATED.network}/pools/{address}" for address in addresses]
    return max(paths, key=lambda path: len(client.get(f"{path}/trades").json()["data"]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "status", "retry_after"),
    [
        ("rate_limited", 429, "30"), ("rate_limited_silently", 429, None), ("error_500", 500, None),
        ("error_502", 502, None), ("error_503", 503, None),
    ],
)  # fmt: skip
def test_refusals_and_server_errors_come_as_such_once_and_are_logged(
    sandbox: RunningSandbox, client: httpx2.Client, kind: str, status: int, retry_after: str | None
) -> None:
    sandbox.control.set_faults(scripted(kind))
    answer, again = client.get(NEW), client.get(NEW)
    assert (answer.status_code, answer.headers.get("retry-after"), again.status_code) == (status, retry_after, 200)
    if status == 429:
        assert answer.json()["status"]["error_code"] == 429
    assert [(call.status, call.fault) for call in sandbox.control.calls()] == [(status, kind), (200, None)]


@pytest.mark.slow
def test_a_drip_comes_in_many_pieces_over_the_time_it_was_given_and_is_whole(
    sandbox: RunningSandbox, client: httpx2.Client
) -> None:
    sound = client.get(NEW).content
    sandbox.control.set_faults(scripted("drip", drip_s=0.3))
    began = time.monotonic()
    with client.stream("GET", NEW) as answer:
        pieces = list(answer.iter_raw())
    assert time.monotonic() - began >= 0.28
    assert len(pieces) > 5
    assert b"".join(pieces) == sound


@pytest.mark.slow
def test_a_stall_gives_half_a_body_and_then_ends_the_connection(sandbox: RunningSandbox, client: httpx2.Client) -> None:
    sound = client.get(NEW).content
    sandbox.control.set_faults(scripted("stall", stall_s=0.2))
    came = bytearray()
    began = time.monotonic()
    with client.stream("GET", NEW) as answer, pytest.raises(httpx2.RemoteProtocolError):  # noqa: PT012 -- it is the loop
        for piece in answer.iter_raw():
            came += piece
    assert time.monotonic() - began >= 0.18
    assert bytes(came) == sound[: len(sound) // 2]
    assert int(answer.headers["content-length"]) == len(sound)


@pytest.mark.slow
def test_a_bomb_is_small_on_the_wire_and_unpacks_to_what_it_was_given(
    sandbox: RunningSandbox, client: httpx2.Client
) -> None:
    sandbox.control.set_faults(scripted("bomb", 2, bomb_bytes=20_000_001))
    with client.stream("GET", NEW) as answer:
        assert sum(map(len, answer.iter_raw())) < 100_000
    with client.stream("GET", NEW) as answer:
        assert answer.headers["content-encoding"] == "gzip"
        assert sum(map(len, answer.iter_bytes())) == 20_000_001


@pytest.mark.slow
def test_a_redirect_leads_to_another_host_and_whoever_follows_is_seen(
    sandbox: RunningSandbox, client: httpx2.Client
) -> None:
    sandbox.control.set_faults(scripted("redirect", 2))
    answer = client.get(NEW)
    assert answer.status_code == 302
    assert urlsplit(answer.headers["location"]).hostname != urlsplit(sandbox.url).hostname
    assert [call.fault for call in sandbox.control.calls()] == ["redirect"]
    assert client.get(NEW, follow_redirects=True).json() == {"data": []}
    assert [call.fault for call in sandbox.control.calls()] == ["redirect", "redirect", "trap"]


@pytest.mark.slow
def test_a_truncated_answer_is_half_a_document_and_a_wrong_type_is_a_page(
    sandbox: RunningSandbox, client: httpx2.Client
) -> None:
    sound = client.get(NEW).content
    sandbox.control.set_faults(FaultPlan(script=(Scripted(NEW, "truncated"), Scripted(NEW, "wrong_type"))))
    cut, page = client.get(NEW), client.get(NEW)
    assert (cut.status_code, cut.content) == (200, sound[: len(sound) // 2])
    with pytest.raises(json.JSONDecodeError):
        cut.json()
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")


@pytest.mark.slow
def test_records_are_duplicated_reordered_and_left_out_and_pages_swapped(
    sandbox: RunningSandbox, client: httpx2.Client, multi: str
) -> None:
    def ids(path: str, **params: str) -> list[str]:
        return [record["id"] for record in client.get(path, params=params).json()["data"]]

    sound, second = ids(NEW), ids(NEW, page="2")
    sandbox.control.set_faults(scripted("duplicated"))
    assert len(ids(NEW)) > len(sound)
    sandbox.control.set_faults(scripted("reordered"))
    shuffled = ids(NEW)
    assert shuffled != sound
    assert sorted(shuffled) == sorted(sound)
    sandbox.control.set_faults(scripted("swapped_page", 2))
    assert (ids(NEW), ids(NEW, page="2")) == (second, sound)
    known = ids(multi)
    sandbox.control.set_faults(scripted("vanished"))
    left = ids(multi)
    assert 0 < len(known) - len(left) <= 3
    planted = [record for record in sandbox.control.planted() if record.planted.kind == "vanished"]
    assert {record.planted.record for record in planted[-3:]} >= set(known) - set(left)


def fields_of(document: Any) -> dict[tuple[str, str], Any]:
    """Every field of every record, as JSON, by the record's name and the field's path."""
    found: dict[tuple[str, str], Any] = {}

    def walk(name: str, path: str, value: Any) -> None:
        found[name, path] = json.dumps(value)
        for key, inner in value.items() if isinstance(value, dict) else ():
            walk(name, f"{path}.{key}" if path else key, inner)

    data = document["data"]
    if isinstance(data, dict) and data["type"] == "ohlcv_request_response":
        bars = data["attributes"]["ohlcv_list"]
        return {(str(bar[0]), str(place)): json.dumps(value) for bar in bars for place, value in enumerate(bar)}
    for record in [*(data if isinstance(data, list) else [data]), *document.get("included", ())]:
        walk(record["id"], "", record["attributes"])
    return found


def is_akin(key: tuple[str, str], note: tuple[str, str]) -> bool:
    """One of the two fields is, or lies in, the other."""
    return key[0] == note[0] and (
        not key[1] or f"{key[1]}.".startswith(f"{note[1]}.") or note[1].startswith(f"{key[1]}.")
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["retyped", "bad_numbers", "hostile_names"])
def test_exactly_the_planted_values_differ_and_each_is_noted_with_its_truth(
    sandbox: RunningSandbox, client: httpx2.Client, kind: str, multi: str, busy: str
) -> None:
    token = client.get(busy).json()["data"]["relationships"]["base_token"]["data"]["id"].partition("_")[2]
    paths = {
        "new_pools": NEW, "pools_multi": multi, "pool": busy, "trades": f"{busy}/trades",
        "ohlcv": f"{busy}/ohlcv/minute", "token_info": f"networks/{SIMULATED.network}/tokens/{token}/info",
        "tokens_recently_updated": "tokens/info_recently_updated",
    }  # fmt: skip
    effects: set[str] = set()
    for path in (paths[endpoint] for endpoint in RECORD_FAULTS[kind]):
        sandbox.control.set_faults(FaultPlan())
        sound = fields_of(client.get(path, params=INCLUDED).json())
        for seed in range(12):
            n_before = len(sandbox.control.planted())
            sandbox.control.set_faults(FaultPlan(seed, {kind: 1.0}))
            told = fields_of(client.get(path, params=INCLUDED).json())
            planted = [record.planted for record in sandbox.control.planted()[n_before:]]
            changed = {key for key in sound.keys() | told.keys() if sound.get(key) != told.get(key)}
            noted = {(p.record, p.field) for p in planted}
            assert noted
            assert {p.kind for p in planted} == {kind}
            # Where a whole dictionary was replaced, everything under it went too, and everything above it changed.
            assert {key for key in changed if not any(is_akin(key, note) for note in noted)} == set()
            # A long decimal in a bar reads as the number that was there before.
            assert noted - changed <= {(p.record, p.field) for p in planted if p.effect == "keep"}
            effects |= {p.effect for p in planted}
    wanted = {"retyped": {"refuse", "either"}, "bad_numbers": {"refuse", "keep"}, "hostile_names": {"keep"}}
    assert effects == wanted[kind]


@pytest.mark.slow
def test_long_decimals_are_valid_and_the_other_bad_numbers_are_not(
    sandbox: RunningSandbox, client: httpx2.Client, busy: str
) -> None:
    for path in (NEW, f"{busy}/ohlcv/minute"):
        for seed in range(40):
            sandbox.control.set_faults(FaultPlan(seed, {"bad_numbers": 1.0}))
            client.get(path)
    planted = [record.planted for record in sandbox.control.planted() if record.planted.kind == "bad_numbers"]
    long = [p for p in planted if p.effect == "keep"]
    assert long
    for p in long:
        text = p.told.strip('"')
        assert len(text.partition(".")[2]) == 80
        assert float(text) == 0 or not text.endswith("0")
        assert float(text) == float(p.truth.strip('"'))
    told = {p.told.strip('"') for p in planted if p.effect == "refuse"}
    assert {"NaN", "Infinity", "-Infinity", "1e400"} <= told
    assert all(float(text) < 0 for text in told - {"NaN", "Infinity", "-Infinity", "1e400"})
    assert len(told) > 6


@pytest.mark.slow
def test_every_hostile_name_is_told_byte_for_byte(sandbox: RunningSandbox, client: httpx2.Client) -> None:
    seen: set[str] = set()
    for seed in range(60):
        sandbox.control.set_faults(FaultPlan(seed, {"hostile_names": 1.0}))
        told = client.get(NEW, params={"include": "base_token"}).json()
        seen |= {token["attributes"]["symbol"] for token in told["included"]}
    assert set(HOSTILE_NAMES) <= seen


@pytest.mark.slow
def test_pools_that_are_gone_are_nowhere(sandbox: RunningSandbox, client: httpx2.Client, multi: str, busy: str) -> None:
    gone = busy.rpartition("/")[2]
    sandbox.control.set_faults(FaultPlan(gone=(gone,)))
    told = [record["attributes"]["address"] for record in client.get(multi).json()["data"]]
    assert gone not in told
    assert len(told) == 29
    assert client.get(busy).status_code == 404
    assert gone not in client.get(NEW).text


@pytest.mark.slow
def test_the_same_seed_gives_the_same_answers_in_whatever_order_calls_arrive(
    sandbox: RunningSandbox, client: httpx2.Client, multi: str
) -> None:
    calls = [(NEW, {"page": str(page)}) for page in range(1, 5)] + [(multi, {}), ("networks/new_pools", {})]
    quiet = dict.fromkeys(RECORD_FAULTS, 0.9 / len(RECORD_FAULTS))

    def answers(seed: int, order: int) -> dict[str, list[bytes]]:
        sandbox.control.set_faults(FaultPlan(seed, quiet))
        found: dict[str, list[bytes]] = {}
        for path, params in [call for call in calls[::order] for _ in range(3)]:
            found.setdefault(f"{path}{params}", []).append(client.get(path, params=params).content)
        return found

    told = answers(5, 1)
    assert told == answers(5, -1)
    assert told != answers(6, 1)
    assert any(len(set(bodies)) > 1 for bodies in told.values()), "the same call asked again meets another fate"


def test_an_order_that_is_planted_is_another_one_and_one_record_alone_has_none() -> None:
    for seed in range(10):
        document = {"data": [{"id": "a"}, {"id": "b"}]}
        assert len(plant("reordered", "new_pools", document, default_rng(seed))) == 1
        assert document == {"data": [{"id": "b"}, {"id": "a"}]}
        assert plant("reordered", "new_pools", {"data": [{"id": "a"}]}, default_rng(seed)) == []
        assert plant("duplicated", "new_pools", {"data": []}, default_rng(seed)) == []


def test_an_even_plan_spoils_its_share_of_the_calls_with_all_kinds_alike() -> None:
    faults = Faults(FaultPlan.evenly(0.5, seed=3))
    drawn = Counter(faults.draw(f"networks/{call}/new_pools", "", "new_pools")[0] for call in range(4000))
    possible = {kind for kind in KINDS if kind in WIRE_FAULTS or "new_pools" in RECORD_FAULTS[kind]}
    assert set(drawn) - {None} == possible
    expected = 4000 * 0.5 / len(KINDS)
    assert all(0.6 * expected < drawn[kind] < 1.5 * expected for kind in possible)
    assert Faults(FaultPlan.evenly(0.0)).draw("networks", "", "networks")[0] is None


def test_a_scripted_fault_waits_for_a_call_it_can_be_done_to_and_counts_down() -> None:
    faults = Faults(FaultPlan(script=(Scripted("*multi*", "vanished", 2), Scripted("networks", "error_500"))))
    new, multi, networks = ("new", "new_pools"), ("networks/eth/pools/multi/a", "pools_multi"), ("networks", "networks")
    met = [faults.draw(path, "", endpoint)[0] for path, endpoint in (new, multi, networks, networks, multi, multi)]
    assert met == [None, "vanished", "error_500", None, "vanished", None]


@pytest.mark.parametrize(
    "told",
    [
        {"probability": {"gremlins": 0.1}}, {"probability": {"drip": 1.5}}, {"probability": {"drip": -0.1}},
        {"probability": {"drip": float("nan")}}, {"script": [{"path": "*", "kind": "drip", "times": 0}]},
        {"script": [{"path": "*"}]}, {"seed": -1}, {"drip_s": -1}, {"bomb_bytes": 10**12},
        {"unknown": 1}, {"seed": "a"},
    ],
)  # fmt: skip
def test_plans_that_make_no_sense_are_refused(told: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        FaultPlan.from_json(told)


def test_a_plan_survives_the_wire() -> None:
    plan = FaultPlan(4, {"drip": 0.25, "bomb": 0.5}, (Scripted("networks/*", "stall", 3),), ("0xaa",), 0.5, 0.25, 1000)
    assert FaultPlan.from_json(json.loads(json.dumps(plan.as_json()))) == plan


@pytest.mark.slow
def test_a_plan_that_makes_no_sense_is_refused_over_the_wire_and_the_old_one_stays(sandbox: RunningSandbox) -> None:
    sandbox.control.set_faults(FaultPlan(9))
    with pytest.raises(ServiceError, match="gremlins"):
        sandbox.control._ask("POST", "/sandbox/faults", {"probability": {"gremlins": 0.1}})
    assert sandbox.control.faults() == FaultPlan(9)

"""message_filters: which messages are matched, for any order of arrival.

Passes unchanged against upstream's package (see conftest.py).
"""

import itertools

import message_filters
from hypothesis import given, settings
from hypothesis import strategies as st
from std_msgs.msg import Header, String

MS = 10**6


class Stamped:
    """The least that a synchroniser needs of a message."""

    def __init__(self, nanoseconds, source=0):
        self.header = Header()
        self.header.stamp.sec, self.header.stamp.nanosec = divmod(nanoseconds, 10**9)
        self.key = (source, nanoseconds)


def feed(make, inputs, arrivals):
    """Sends (source, nanoseconds) in order; returns the matched sets as tuples of stamps."""
    sources = [message_filters.SimpleFilter() for _ in range(inputs)]
    synchroniser = make(sources)
    matched = []
    synchroniser.registerCallback(lambda *msgs: matched.append(tuple(m.key[1] for m in msgs)))
    for source, stamp in arrivals:
        sources[source].signalMessage(Stamped(stamp, source))
    return matched


def approximate(queue_size, slop_ms):
    return lambda sources: message_filters.ApproximateTimeSynchronizer(
        sources, queue_size, slop_ms / 1000
    )


def exact(queue_size):
    return lambda sources: message_filters.TimeSynchronizer(sources, queue_size)


# --- an independent model of the approximate synchroniser: definition, no cleverness ---


def best_match(queues, source, stamp, slop):
    """Of all sets that hold the new message, the first in upstream's order of preference.

    The nearness of the first queue's message counts most, then the second's and so on; of two
    equally near ones the message that came first.
    """
    if stamp not in queues[source]:
        return None
    others = [i for i in range(len(queues)) if i != source]
    valid = []
    for combination in itertools.product(*(queues[i] for i in others)):
        stamps = list(combination)
        stamps.insert(source, stamp)
        spread = max(stamps) - min(stamps)
        if spread < slop and all(abs(s - stamp) <= slop for s in stamps):
            order = [
                (abs(s - stamp), queues[i].index(s))
                for i, s in zip(others, combination, strict=True)
            ]
            valid.append((order, tuple(stamps)))
    return min(valid)[1] if valid else None


def model(inputs, queue_size, slop, arrivals):
    queues = [[] for _ in range(inputs)]
    matched = []
    for source, stamp in arrivals:
        if stamp not in queues[source]:
            queues[source].append(stamp)
        while len(queues[source]) > queue_size:
            queues[source].remove(min(queues[source]))
        found = best_match(queues, source, stamp, slop)
        if found is not None:
            matched.append(found)
            for queue, used in zip(queues, found, strict=True):
                queue.remove(used)
    return matched


@st.composite
def traffic(draw):
    inputs = draw(st.integers(1, 4))
    stamps = st.integers(1, 40).map(lambda tick: tick * MS)
    arrivals = draw(st.lists(st.tuples(st.integers(0, inputs - 1), stamps), max_size=40))
    return inputs, arrivals


@settings(max_examples=400, deadline=None)
@given(traffic(), st.integers(1, 6), st.sampled_from([1, 2, 5, 10, 30]))
def test_approximate_matching_equals_the_definition_for_any_order(given_traffic, queue_size, slop):
    inputs, arrivals = given_traffic
    expected = model(inputs, queue_size, slop * MS, arrivals)
    assert feed(approximate(queue_size, slop), inputs, arrivals) == expected


@settings(max_examples=200, deadline=None)
@given(traffic(), st.integers(1, 6))
def test_exact_matching_gives_only_equal_stamps_and_every_one_once(given_traffic, queue_size):
    inputs, arrivals = given_traffic
    matched = feed(exact(queue_size), inputs, arrivals)
    assert all(len(set(stamps)) == 1 for stamps in matched)
    sent = [stamp for source, stamp in arrivals if source == 0]
    for stamps in matched:
        assert matched.count(stamps) <= sent.count(stamps[0])


def test_exact_matching_waits_for_the_last_input():
    arrivals = [(0, 5), (1, 5), (0, 6), (2, 6), (2, 5), (1, 6)]
    assert feed(exact(10), 3, arrivals) == [(5, 5, 5), (6, 6, 6)]


def test_exact_matching_forgets_the_oldest_beyond_the_queue_size():
    assert feed(exact(2), 2, [(0, 1), (0, 2), (0, 3), (1, 1), (1, 3)]) == [(3, 3)]


def test_approximate_slop_is_exclusive():
    assert feed(approximate(5, 10), 2, [(0, 100 * MS), (1, 110 * MS)]) == []
    inside = [(0, 100 * MS), (1, 110 * MS - 1)]
    assert feed(approximate(5, 10), 2, inside) == [(100 * MS, 110 * MS - 1)]


def test_approximate_prefers_the_nearest():
    arrivals = [(0, 96 * MS), (0, 102 * MS), (1, 100 * MS)]
    assert feed(approximate(5, 10), 2, arrivals) == [(102 * MS, 100 * MS)]


def test_approximate_keeps_the_messages_that_were_not_used():
    arrivals = [(0, 96 * MS), (0, 102 * MS), (1, 100 * MS), (1, 97 * MS)]
    assert feed(approximate(5, 10), 2, arrivals)[1] == (96 * MS, 97 * MS)


def test_four_cameras_with_jitter_and_a_dropped_image_give_all_complete_sets():
    arrivals, expected = [], []
    for number in range(1, 30):
        stamps = [number * 200 * MS + offset * MS for offset in (0, 1, 2, 3)]
        dropped = 2 if number % 7 == 0 else None
        arrivals += [(c, s) for c, s in enumerate(stamps) if c != dropped]
        if dropped is None:
            expected.append(tuple(stamps))
    assert feed(approximate(10, 20), 4, arrivals) == expected


def test_callbacks_get_their_extra_arguments_after_the_messages():
    source, seen = message_filters.SimpleFilter(), []
    source.registerCallback(lambda *args: seen.append(args), "extra", 7)
    source.signalMessage("message")
    assert seen == [("message", "extra", 7)]


def test_approximate_drops_headerless_messages_unless_allowed():
    for allowed in (False, True):
        sources = [message_filters.SimpleFilter(), message_filters.SimpleFilter()]
        synchroniser = message_filters.ApproximateTimeSynchronizer(
            sources, 5, 5.0, allow_headerless=allowed
        )
        matched = []
        synchroniser.registerCallback(lambda *msgs, seen=matched: seen.append(msgs))
        for source in sources:
            source.signalMessage(String(data="x"))
        assert len(matched) == int(allowed)


def test_subscriber_hands_on_what_comes_in(node, spin):
    seen = []
    subscriber = message_filters.Subscriber(node, String, "chatter", qos_profile=5)
    subscriber.registerCallback(seen.append)
    publisher = node.create_publisher(String, "chatter", 5)
    spin(lambda: publisher.get_subscription_count() == 1)
    publisher.publish(String(data="hello"))
    spin(lambda: seen)
    assert seen == [String(data="hello")]
    assert subscriber.getTopic() == "chatter"
    assert subscriber.topic_name.endswith("chatter")  # answers for its subscription too

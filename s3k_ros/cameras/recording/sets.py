"""The sets of images in a recording: the source of a `ReplayRig`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from s3k_ros.cameras.port import Frame, FrameSet
from s3k_ros.cameras.recording.gathering import Gatherer
from s3k_ros.cameras.recording.images import IMAGE, image_of, stamp_of
from s3k_ros.cameras.recording.reader import RecordedMessage, Recording
from s3k_ros.cameras.recording.windows import RecordedWindows
from s3k_ros.errors import ConfigurationError, DataError

# As the rig's own bound, CameraRigParameters.max_skew_s.
SLOP_S = 0.005
_TOPIC = "image_raw"


class RecordedSets:
    """Gives the sets of a recording from the beginning, each time that it is called.

    Args:
        recording: the file.
        cameras: their names; None: all whose images it holds.
        slop_s: largest difference of the exposures of a set.

    Attributes:
        recording: the file.
        cameras: names, in the order of a set.
        topics: of the images, by camera.
        refused: images that could not be read, by camera, counted over all calls.
        late: images behind their set, likewise.

    Raises:
        ConfigurationError: a camera has no images, or several topics with images.
    """

    def __init__(
        self, recording: Recording, cameras: Sequence[str] | None = None, slop_s: float = SLOP_S
    ) -> None:
        self.recording = recording
        self.topics = image_topics(recording, cameras)
        self.cameras = tuple(self.topics)
        self.refused: Counter[str] = Counter()
        self.late = 0
        self._slop_ns = round(1e9 * slop_s)

    def __call__(self) -> Iterator[FrameSet]:
        """The sets, in order of time.

        Raises:
            DataError: the file is damaged.
        """
        names = {topic: camera for camera, topic in self.topics.items()}
        infos = {info_topic(topic): camera for topic, camera in names.items()}
        gatherer, windows = Gatherer(self.cameras, self._slop_ns), RecordedWindows()
        counts: Counter[str] = Counter()
        for message in self.recording.messages(lambda topic: topic in names or topic in infos):
            if message.topic in infos:
                windows.learn(infos[message.topic], self.recording.decode(message))
                continue
            camera = names[message.topic]
            counts[camera] += 1
            frame = self._frame(camera, message, counts[camera], windows)
            if frame is not None:
                yield from gatherer.add(frame)
        yield from gatherer.rest()
        self.late += gatherer.late

    def _frame(
        self, camera: str, message: RecordedMessage, count: int, windows: RecordedWindows
    ) -> Frame | None:
        """None for an image that cannot be read: it costs its view, not the set."""
        decoded = self.recording.decode(message)
        try:
            image = image_of(decoded)
        except DataError as error:
            self.refused[camera] += 1
            if count == 1:  # probably all of them are alike
                raise DataError(f"{self.recording.path}: {message.topic}: {error}") from None
            return None
        # Nobody recorded the error of the stamps; more than this would not have made sets.
        stamp_ns = stamp_of(decoded)
        window = windows.at(camera, stamp_ns)
        return Frame(camera, image, stamp_ns, self._slop_ns, count, window)


def info_topic(image_topic: str) -> str:
    """The topic of the camera_info that belongs to images."""
    return image_topic.rpartition("/")[0] + "/camera_info"


def image_topics(recording: Recording, cameras: Sequence[str] | None = None) -> dict[str, str]:
    """The topic of each camera's images: ``<namespace>/<camera>/image_raw``.

    Raises:
        ConfigurationError: as `RecordedSets`.
    """
    kinds = recording.topics()
    found: dict[str, list[str]] = {}
    for topic, kind in sorted(kinds.items()):
        *_, camera, last = ("", "", *topic.split("/"))
        if kind == IMAGE and last == _TOPIC and camera:
            found.setdefault(camera, []).append(topic)
    wanted = tuple(found if cameras is None else cameras)
    if not found:
        listed = (
            ", ".join(f"{topic} ({kind})" for topic, kind in sorted(kinds.items())) or "nothing"
        )
        raise ConfigurationError(
            f"{recording.path} holds no images <camera>/{_TOPIC} of type {IMAGE}; it holds {listed}"
        )
    for camera in wanted:
        if camera not in found:
            raise ConfigurationError(
                f"{recording.path} has no images of camera {camera!r}; it has {', '.join(found)}"
            )
        if len(found[camera]) > 1:
            raise ConfigurationError(
                f"{recording.path} has several topics of camera {camera!r}: "
                f"{', '.join(found[camera])}"
            )
    return {camera: found[camera][0] for camera in wanted}
